# Makes a CUDA 12 toolkit of NVIDIA's packages for the build of Horovod; used by launch/horovod.sh:
# `link_cuda PACKAGES FOLDER`, with the folder of the packages and a new folder for the toolkit.
#
# TensorFlow brings CUDA 12, whose Python packages have headers, libraries and the assembler ptxas, but no compiler.
# Only the compiler (nvcc, cudafe++, cicc, fatbinary) is that of CUDA 13, so that Horovod works with every driver that
# TensorFlow works with: GPU code that CUDA 13 assembles has a format which only drivers from version 580 on know.
# Horovod calls the runtime of CUDA 12, through TensorFlow.

link_cuda() {
  local packages=$1 tree=$2
  mkdir -p "$tree/bin" "$tree/lib" "$tree/include/crt"
  ln -s "$packages/cu13/nvvm" "$tree/"
  ln -s "$packages"/cu13/bin/* "$tree/bin/"
  ln -s "$packages"/cuda_runtime/lib/* "$packages"/nccl/lib/* "$tree/lib/"
  ln -s lib "$tree/lib64"
  ln -s libcudart.so.12 "$tree/lib/libcudart.so"
  ln -s libnccl.so.2 "$tree/lib/libnccl.so"
  link_headers "$packages" "$tree/include"
  write_assembler "$packages/cuda_nvcc/bin/ptxas" "$tree/bin/ptxas"
  export HOROVOD_CUDA_HOME="$tree" CUDAToolkit_ROOT="$tree" CUDACXX="$tree/bin/nvcc"
  # CUDA 13 compresses GPU code in a way that older drivers do not know.
  export NVCC_APPEND_FLAGS="--compress-mode=none ${NVCC_APPEND_FLAGS:-}"
  export HOROVOD_NCCL_INCLUDE="$packages/nccl/include" HOROVOD_NCCL_LIB="$tree/lib" HOROVOD_NCCL_LINK=SHARED
  export HOROVOD_GPU=CUDA HOROVOD_GPU_OPERATIONS=NCCL HOROVOD_BUILD_CUDA_CC_LIST="${HOROVOD_BUILD_CUDA_CC_LIST:-80,90}"
}

link_headers() {
  local packages=$1 headers=$2
  ln -s "$packages"/cuda_runtime/include/* "$packages"/cuda_nvcc/include/*.h "$headers/"
  ln -s "$packages"/cuda_nvcc/include/crt/* "$headers/crt/"
  ln -s "$packages/cu13/include/cccl" "$headers/"  # also for CUDA 12
  # The compiler writes calls of this header's macros, one of which has a parameter more in CUDA 13.
  ln -sf "$packages/cu13/include/crt/host_runtime.h" "$headers/crt/"
}

# CUDA 12's ptxas, and nvcc calls it with what CUDA 13's compiler wrote: PTX 9.0. Without CUDA 13's new instructions,
# which ptxas would refuse, it differs from 8.8 only in its version line. The file is changed in place, as it is
# embedded in the library, too.
write_assembler() {
  local assembler=$1 wrapper=$2
  rm "$wrapper"
  printf '%s\n' '#!/usr/bin/env bash' 'set -euo pipefail' \
    'for word in "$@"; do [[ $word != *.ptx ]] || sed -i "s/^\.version 9\..*/.version 8.8/" "$word"; done' \
    "exec $(printf %q "$assembler")"' "$@"' >"$wrapper"
  chmod +x "$wrapper"
}

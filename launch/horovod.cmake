# Toolchain file for Horovod 0.28.1's CMake build; launch/setup.sh names it in CMAKE_TOOLCHAIN_FILE.
#
# 1. horovod/tensorflow/xla_mpi_ops.cc includes XLA headers that TensorFlow's wheels no longer ship: it is left out.
# 2. The extension finds TensorFlow's and Open MPI's libraries relative to itself, so that a wheel which was built in
#    one environment (and kept by uv) works in another.
include_guard(GLOBAL)

function(add_library)
  list(FILTER ARGV EXCLUDE REGEX "xla_mpi_ops\\.cc$")
  _add_library(${ARGV})
endfunction()

# From site-packages/horovod/tensorflow/ to site-packages/tensorflow/ and to the environment's lib/.
set(CMAKE_SHARED_LINKER_FLAGS_INIT
    "-Wl,-rpath,'$ORIGIN/../../tensorflow' -Wl,-rpath,'$ORIGIN/../../../../'")
set(CMAKE_MODULE_LINKER_FLAGS_INIT "${CMAKE_SHARED_LINKER_FLAGS_INIT}")

# Toolchain file for Horovod 0.28.1's CMake build; launch/setup.sh names it in CMAKE_TOOLCHAIN_FILE.
#
# 1. horovod/tensorflow/xla_mpi_ops.cc includes XLA headers that TensorFlow's wheels no longer ship: it is left out.
# 2. The extension finds TensorFlow's and Open MPI's libraries relative to itself, so that a wheel which was built in
#    one environment works in another.
# 3. On GPUs: a function which it expects of TensorFlow is added, and NCCL's library is found in the same way.
# 4. Two mistakes in its code that newer compilers refuse are corrected.
# 5. Only what the extension is linked with is compiled, without what a debugger needs, and the longest file first.
include_guard(GLOBAL)

set(MPI_C_COMPILER "$ENV{MPI_HOME}/bin/mpicc")
set(MPI_CXX_COMPILER "$ENV{MPI_HOME}/bin/mpicxx")
set(missing_source "${CMAKE_CURRENT_LIST_DIR}/horovod_stream.cc")

function(add_library)
  if(DEFINED ENV{HOROVOD_GPU} AND "${ARGV}" MATCHES "xla_mpi_ops\\.cc")
    list(APPEND ARGV "${missing_source}")
  endif()
  list(FILTER ARGV EXCLUDE REGEX "xla_mpi_ops\\.cc$")
  if("${ARGV}" MATCHES "[^;]*/tensorflow/mpi_ops\\.cc")
    list(REMOVE_ITEM ARGV "${CMAKE_MATCH_0}")
    list(INSERT ARGV 2 "${CMAKE_MATCH_0}")
  endif()
  _add_library(${ARGV})
  if(ARGV1 STREQUAL "STATIC" OR ARGV0 MATCHES "cuda_kernels$")  # both are there twice, also for another ABI or C++11
    set_target_properties(${ARGV0} PROPERTIES EXCLUDE_FROM_ALL TRUE)
  endif()
endfunction()

# What g++ 13 and newer refuse: a missing header, and an assignment to a constant, which nothing calls.
set(CMAKE_CXX_FLAGS_INIT "-include stdexcept")
set(header "${CMAKE_SOURCE_DIR}/third_party/flatbuffers/include/flatbuffers/stl_emulation.h")
if(EXISTS "${header}")
  file(READ "${header}" text)
  string(REPLACE "const size_type count_;" "size_type count_;" text "${text}")
  file(WRITE "${header}" "${text}")
endif()

foreach(language C CXX CUDA)
  set(CMAKE_${language}_FLAGS_RELWITHDEBINFO "-O3 -DNDEBUG" CACHE STRING "")
endforeach()

# CMake's own search path would name folders of the build in /tmp, where others may put libraries later.
set(CMAKE_SKIP_RPATH TRUE CACHE BOOL "" FORCE)
# From site-packages/horovod/tensorflow/ to site-packages/tensorflow/ and to the environment's lib/.
set(CMAKE_SHARED_LINKER_FLAGS_INIT
    "-Wl,-rpath,'$ORIGIN/../../tensorflow' -Wl,-rpath,'$ORIGIN/../../../../'")
if(DEFINED ENV{HOROVOD_GPU})
  string(APPEND CMAKE_SHARED_LINKER_FLAGS_INIT " -Wl,-rpath,'$ORIGIN/../../nvidia/nccl/lib'")
endif()
set(CMAKE_MODULE_LINKER_FLAGS_INIT "${CMAKE_SHARED_LINKER_FLAGS_INIT}")

// Horovod 0.28.1 asks TensorFlow for the CUDA stream of a device by a function that TensorFlow no longer exports.
// launch/horovod.cmake adds this one to Horovod's extension where it is built for GPUs.
#include "xla/stream_executor/stream.h"

struct CUstream_st;

namespace stream_executor::gpu {
CUstream_st* AsGpuStreamValue(Stream* stream) {
  return static_cast<CUstream_st*>(stream->platform_specific_handle().stream);
}
}  // namespace stream_executor::gpu

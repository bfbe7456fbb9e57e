/* CUDA's runtime library on a GPU that does not exist: what it answers comes from the driver or is made up. */
#define _GNU_SOURCE
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

static int handle;

/* A function of the driver, which this library does not link to. */
static void *driver(const char *name) {
  return dlsym(dlopen("libcuda.so.1", RTLD_NOW), name);
}

cudaError_t cudaGetDevice(int *device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int *count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int *version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int *version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device) {
  int (*get)(int *, int, int) = driver("cuDeviceGetAttribute");
  return get(value, attribute, device);  /* both number the attributes alike */
}
const char *cudaGetErrorString(cudaError_t error) {
  return "an error of the imagined GPU";
}
const char *cudaGetErrorName(cudaError_t error) {
  return "an error of the imagined GPU";
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total) {
  int (*get)(size_t *, size_t *) = driver("cuMemGetInfo_v2");
  return get(free_bytes, total);
}
cudaError_t cudaMalloc(void **memory, size_t bytes) {
  int (*allocate)(void **, size_t) = driver("cuMemAlloc_v2");
  return allocate(memory, bytes);
}
cudaError_t cudaFree(void *memory) {
  int (*release)(void *) = driver("cuMemFree_v2");
  return release(memory);
}
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t on) {
  static const char *names[] = {NULL, "cuMemcpyHtoD_v2", "cuMemcpyDtoH_v2", "cuMemcpyDtoD_v2"};
  if (kind < cudaMemcpyHostToDevice || kind > cudaMemcpyDeviceToDevice) abort();
  int (*copy)(void *, const void *, size_t) = driver(names[kind]);
  return copy(to, from, bytes);
}
cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind) {
  return cudaMemcpyAsync(to, from, bytes, kind, NULL);
}

cudaError_t cudaStreamCreate(cudaStream_t *stream) {
  *stream = (cudaStream_t)&handle;
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags) {
  return cudaStreamCreate(stream);
}
cudaError_t cudaEventCreate(cudaEvent_t *event) {
  *event = (cudaEvent_t)&handle;
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags) {
  return cudaEventCreate(event);
}

cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *attributes, const void *kernel) {
  memset(attributes, 0, sizeof *attributes);
  attributes->maxThreadsPerBlock = 1024;
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const void *kernel, int threads, size_t shared) {
  *blocks = 2;
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *kernel, int threads,
                                                                   size_t shared, unsigned flags) {
  *blocks = 2;
  return cudaSuccess;
}

/* What the compiler puts around kernels. */

void **__cudaRegisterFatBinary(void *kernels) {
  static void *registered;
  return &registered;
}
cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, cudaStream_t *stream) {
  memset(grid, 0, sizeof *grid);
  memset(block, 0, sizeof *block);
  *shared = 0;
  *stream = NULL;
  return cudaSuccess;
}

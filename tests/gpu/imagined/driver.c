/* The driver of a GPU that does not exist. Its memory is the host's, its streams are always done, and its kernels do
 * nothing. It makes all copies, and notes each in the file that IMAGINED_GPU_COPIES names: direction and bytes. It has
 * as many bytes of memory as IMAGINED_GPU_MEMORY says, else an H100's. */
#define _GNU_SOURCE
#include <cuda.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096
#define MEMORY "85031714816"

/* What handles point to. Nothing is read from it. */
static int context, stream, event, module, function, graph;
static CUcontext current;

static size_t all_memory(void) {
  const char *given = getenv("IMAGINED_GPU_MEMORY");
  return strtoull(given ? given : MEMORY, NULL, 10);
}

/* Copies */

static void note(const char *direction, size_t bytes) {
  static int file = -1;
  const char *name = getenv("IMAGINED_GPU_COPIES");
  if (!name) return;
  if (file < 0) file = open(name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  char line[64];
  int length = snprintf(line, sizeof line, "%s %zu\n", direction, bytes);
  /* One write for a line, so that those of several threads do not mix. */
  if (write(file, line, length) != length) abort();
}

static CUresult copy(const char *direction, void *to, const void *from, size_t bytes) {
  note(direction, bytes);
  memmove(to, from, bytes);
  return CUDA_SUCCESS;
}

CUresult cuMemcpyHtoD(CUdeviceptr to, const void *from, size_t bytes) {
  return copy("to_device", (void *)to, from, bytes);
}
CUresult cuMemcpyHtoDAsync(CUdeviceptr to, const void *from, size_t bytes, CUstream on) {
  return copy("to_device", (void *)to, from, bytes);
}
CUresult cuMemcpyDtoH(void *to, CUdeviceptr from, size_t bytes) {
  return copy("to_host", to, (void *)from, bytes);
}
CUresult cuMemcpyDtoHAsync(void *to, CUdeviceptr from, size_t bytes, CUstream on) {
  return copy("to_host", to, (void *)from, bytes);
}
CUresult cuMemcpyDtoD(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  return copy("on_device", (void *)to, (void *)from, bytes);
}
CUresult cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream on) {
  return copy("on_device", (void *)to, (void *)from, bytes);
}
CUresult cuMemsetD8(CUdeviceptr to, unsigned char value, size_t count) {
  memset((void *)to, value, count);
  return CUDA_SUCCESS;
}
CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, CUstream on) {
  return cuMemsetD8(to, value, count);
}
CUresult cuMemsetD32(CUdeviceptr to, unsigned value, size_t count) {
  for (size_t place = 0; place < count; place++) ((unsigned *)to)[place] = value;
  return CUDA_SUCCESS;
}
CUresult cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t count, CUstream on) {
  return cuMemsetD32(to, value, count);
}

/* Memory: zeros, of which the system provides a page when it is written to. What it is is in a page before it. */

struct block {
  size_t bytes;
  CUmemorytype type;
  struct block *next;
};
static struct block *blocks;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *allocate(size_t bytes, CUmemorytype type) {
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  struct block *block = mmap(NULL, PAGE + bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (block == MAP_FAILED) return NULL;
  pthread_mutex_lock(&lock);
  *block = (struct block){bytes, type, blocks};
  blocks = block;
  pthread_mutex_unlock(&lock);
  return (char *)block + PAGE;
}

static void release(void *memory) {
  pthread_mutex_lock(&lock);
  for (struct block **place = &blocks; *place; place = &(*place)->next) {
    struct block *block = *place;
    if ((char *)block + PAGE != memory) continue;
    *place = block->next;
    munmap(block, PAGE + block->bytes);
    break;
  }
  pthread_mutex_unlock(&lock);
}

/* The type of the block that an address is in; 0 for memory that was not allocated here. */
static CUmemorytype type_of(CUdeviceptr address) {
  CUmemorytype type = 0;
  pthread_mutex_lock(&lock);
  for (struct block *block = blocks; block; block = block->next)
    if (address - ((CUdeviceptr)block + PAGE) < block->bytes) type = block->type;
  pthread_mutex_unlock(&lock);
  return type;
}

CUresult cuMemAlloc(CUdeviceptr *memory, size_t bytes) {
  *memory = (CUdeviceptr)allocate(bytes, CU_MEMORYTYPE_DEVICE);
  return *memory ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}
CUresult cuMemFree(CUdeviceptr memory) {
  release((void *)memory);
  return CUDA_SUCCESS;
}
CUresult cuMemHostAlloc(void **memory, size_t bytes, unsigned flags) {
  *memory = allocate(bytes, CU_MEMORYTYPE_HOST);
  return *memory ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}
CUresult cuMemFreeHost(void *memory) {
  release(memory);
  return CUDA_SUCCESS;
}
CUresult cuPointerGetAttribute(void *value, CUpointer_attribute attribute, CUdeviceptr memory) {
  CUmemorytype type = type_of(memory);
  if (!type) return CUDA_ERROR_INVALID_VALUE;
  if (attribute == CU_POINTER_ATTRIBUTE_MEMORY_TYPE)
    *(CUmemorytype *)value = type;
  else if (attribute == CU_POINTER_ATTRIBUTE_IS_MANAGED)
    *(unsigned *)value = 0;
  else
    return CUDA_ERROR_INVALID_VALUE;
  return CUDA_SUCCESS;
}
/* A pool keeps nothing: each tensor has zeros until something is copied to it. */
CUresult cuDeviceGetDefaultMemPool(CUmemoryPool *pool, CUdevice device) {
  *pool = (CUmemoryPool)&module;
  return CUDA_SUCCESS;
}
CUresult cuDeviceGetMemPool(CUmemoryPool *pool, CUdevice device) {
  return cuDeviceGetDefaultMemPool(pool, device);
}
CUresult cuMemPoolCreate(CUmemoryPool *pool, const CUmemPoolProps *properties) {
  return cuDeviceGetDefaultMemPool(pool, 0);
}
CUresult cuMemPoolGetAttribute(CUmemoryPool pool, CUmemPool_attribute attribute, void *value) {
  *(cuuint64_t *)value = 0;
  return CUDA_SUCCESS;
}
CUresult cuMemAllocFromPoolAsync(CUdeviceptr *memory, size_t bytes, CUmemoryPool pool, CUstream on) {
  return cuMemAlloc(memory, bytes);
}
CUresult cuMemAllocAsync(CUdeviceptr *memory, size_t bytes, CUstream on) {
  return cuMemAlloc(memory, bytes);
}
CUresult cuMemFreeAsync(CUdeviceptr memory, CUstream on) {
  return cuMemFree(memory);
}
CUresult cuMemGetInfo(size_t *free_bytes, size_t *total) {
  *total = all_memory();
  *free_bytes = *total - (1UL << 30);
  return CUDA_SUCCESS;
}

/* The device: an H100 */

CUresult cuDriverGetVersion(int *version) {
  *version = 13000;
  return CUDA_SUCCESS;
}
CUresult cuDeviceGetCount(int *count) {
  *count = 1;
  return CUDA_SUCCESS;
}
CUresult cuDeviceGet(CUdevice *device, int number) {
  *device = number;
  return CUDA_SUCCESS;
}
CUresult cuDeviceGetName(char *name, int length, CUdevice device) {
  snprintf(name, length, "imagined H100");
  return CUDA_SUCCESS;
}
CUresult cuDeviceTotalMem(size_t *bytes, CUdevice device) {
  *bytes = all_memory();
  return CUDA_SUCCESS;
}
CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice device) {
  memset(uuid, 7, sizeof *uuid);
  return CUDA_SUCCESS;
}
CUresult cuDeviceGetPCIBusId(char *name, int length, CUdevice device) {
  snprintf(name, length, "0000:00:06.0");
  return CUDA_SUCCESS;
}
CUresult cuDeviceCanAccessPeer(int *can, CUdevice device, CUdevice peer) {
  *can = 0;
  return CUDA_SUCCESS;
}
CUresult cuDeviceGetP2PAttribute(int *value, CUdevice_P2PAttribute attribute, CUdevice from, CUdevice to) {
  *value = 0;
  return CUDA_SUCCESS;
}

static const int attributes[][2] = {
    {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 9},
    {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 0},
    {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 132},
    {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 1024},
    {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X, 1024},
    {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y, 1024},
    {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z, 64},
    {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X, 2147483647},
    {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y, 65535},
    {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z, 65535},
    {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK, 49152},
    {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 232448},
    {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR, 233472},
    {CU_DEVICE_ATTRIBUTE_WARP_SIZE, 32},
    {CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK, 65536},
    {CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR, 65536},
    {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR, 2048},
    {CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR, 32},
    {CU_DEVICE_ATTRIBUTE_CLOCK_RATE, 1980000},
    {CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE, 2619000},
    {CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH, 5120},
    {CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, 52428800},
    {CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, 1},
    {CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED, 1},
};

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
  *value = 0;
  for (size_t row = 0; row < sizeof attributes / sizeof *attributes; row++)
    if (attributes[row][0] == (int)attribute) *value = attributes[row][1];
  return CUDA_SUCCESS;
}

/* Contexts, streams and events: whatever is asked to be done has been done. */

CUresult cuDevicePrimaryCtxRetain(CUcontext *result, CUdevice device) {
  *result = (CUcontext)&context;
  return CUDA_SUCCESS;
}
CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *active) {
  *flags = 0;
  *active = 1;
  return CUDA_SUCCESS;
}
CUresult cuCtxGetCurrent(CUcontext *result) {
  *result = current;
  return CUDA_SUCCESS;
}
CUresult cuCtxSetCurrent(CUcontext chosen) {
  current = chosen;
  return CUDA_SUCCESS;
}
CUresult cuCtxPushCurrent(CUcontext chosen) {
  current = chosen;
  return CUDA_SUCCESS;
}
CUresult cuCtxPopCurrent(CUcontext *result) {
  if (result) *result = current;
  return CUDA_SUCCESS;
}
CUresult cuCtxGetDevice(CUdevice *device) {
  *device = 0;
  return CUDA_SUCCESS;
}
CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest) {
  *least = 0;
  *greatest = -5;
  return CUDA_SUCCESS;
}
CUresult cuStreamCreate(CUstream *result, unsigned flags) {
  *result = (CUstream)&stream;
  return CUDA_SUCCESS;
}
CUresult cuStreamCreateWithPriority(CUstream *result, unsigned flags, int priority) {
  return cuStreamCreate(result, flags);
}
CUresult cuStreamIsCapturing(CUstream on, CUstreamCaptureStatus *status) {
  *status = CU_STREAM_CAPTURE_STATUS_NONE;
  return CUDA_SUCCESS;
}
CUresult cuStreamAddCallback(CUstream on, CUstreamCallback call, void *data, unsigned flags) {
  call(on, CUDA_SUCCESS, data);
  return CUDA_SUCCESS;
}
CUresult cuLaunchHostFunc(CUstream on, CUhostFn call, void *data) {
  call(data);
  return CUDA_SUCCESS;
}
CUresult cuEventCreate(CUevent *result, unsigned flags) {
  *result = (CUevent)&event;
  return CUDA_SUCCESS;
}
CUresult cuEventElapsedTime(float *milliseconds, CUevent begin, CUevent end) {
  *milliseconds = 0.01f;
  return CUDA_SUCCESS;
}

/* Kernels */

CUresult cuModuleLoadFatBinary(CUmodule *result, const void *image) {
  *result = (CUmodule)&module;
  return CUDA_SUCCESS;
}
CUresult cuModuleLoadData(CUmodule *result, const void *image) {
  return cuModuleLoadFatBinary(result, image);
}
CUresult cuModuleLoadDataEx(CUmodule *result, const void *image, unsigned count, CUjit_option *options, void **values) {
  return cuModuleLoadFatBinary(result, image);
}
CUresult cuModuleGetFunction(CUfunction *result, CUmodule of, const char *name) {
  *result = (CUfunction)&function;
  return CUDA_SUCCESS;
}
CUresult cuModuleGetGlobal(CUdeviceptr *memory, size_t *bytes, CUmodule of, const char *name) {
  static char values[1 << 16] __attribute__((aligned(PAGE)));
  *memory = (CUdeviceptr)values;
  if (bytes) *bytes = sizeof values;
  return CUDA_SUCCESS;
}
CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction of) {
  *value = attribute == CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK ? 1024 : 0;
  return CUDA_SUCCESS;
}
CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction of, int threads, size_t shared_bytes) {
  *blocks = 2;
  return CUDA_SUCCESS;
}
CUresult cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, CUfunction of, int threads,
                                                              size_t shared_bytes, unsigned flags) {
  *blocks = 2;
  return CUDA_SUCCESS;
}

/* Graphs of kernels and of copies on the device. None is executed, as the kernels would have made what is copied. */

CUresult cuGraphCreate(CUgraph *result, unsigned flags) {
  *result = (CUgraph)&graph;
  return CUDA_SUCCESS;
}
CUresult cuGraphInstantiate(CUgraphExec *result, CUgraph of, unsigned long long flags) {
  *result = (CUgraphExec)&graph;
  return CUDA_SUCCESS;
}
static CUresult graph_copy(const CUDA_MEMCPY3D *how) {
  if (how->srcMemoryType != CU_MEMORYTYPE_DEVICE || how->dstMemoryType != CU_MEMORYTYPE_DEVICE) {
    fprintf(stderr, "a graph's copy between host and device is not imagined\n");
    abort();
  }
  return CUDA_SUCCESS;
}
CUresult cuGraphAddMemcpyNode(CUgraphNode *node, CUgraph to, const CUgraphNode *after, size_t count,
                              const CUDA_MEMCPY3D *how, CUcontext in) {
  return graph_copy(how);
}
CUresult cuGraphExecMemcpyNodeSetParams(CUgraphExec of, CUgraphNode node, const CUDA_MEMCPY3D *how, CUcontext in) {
  return graph_copy(how);
}
CUresult cuGraphLaunch(CUgraphExec of, CUstream on) {
  return CUDA_SUCCESS;
}

/* Errors, and the driver's functions by name */

CUresult cuGetErrorName(CUresult error, const char **text) {
  *text = "an error of the imagined GPU";
  return CUDA_SUCCESS;
}
CUresult cuGetErrorString(CUresult error, const char **text) {
  return cuGetErrorName(error, text);
}
CUresult cuGetProcAddress(const char *name, void **address, int version, cuuint64_t flags,
                          CUdriverProcAddressQueryResult *status) {
  char newer[200];
  snprintf(newer, sizeof newer, "%s_v2", name);
  void *self = dlopen("libcuda.so.1", RTLD_NOLOAD | RTLD_NOW);
  *address = dlsym(self, newer);
  if (!*address) *address = dlsym(self, name);
  if (status) *status = *address ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
  return *address ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}
CUresult cuGetExportTable(const void **table, const CUuuid *which) {
  return CUDA_ERROR_INVALID_VALUE;
}

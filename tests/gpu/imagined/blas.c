/* cuBLAS on a GPU that does not exist. */
#include <cublas_v2.h>

static int handle;

cublasStatus_t cublasCreate(cublasHandle_t *result) {
  *result = (cublasHandle_t)&handle;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasGetVersion(cublasHandle_t of, int *version) {
  *version = CUBLAS_VERSION;
  return CUBLAS_STATUS_SUCCESS;
}

/* The management library of a GPU that does not exist: TensorFlow asks it for the driver's version. */
#include <stdio.h>

int nvmlInit(void) {
  return 0;
}
int nvmlInit_v2(void) {
  return 0;
}
int nvmlShutdown(void) {
  return 0;
}
int nvmlDeviceGetCount_v2(unsigned *count) {
  *count = 1;
  return 0;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned number, void **device) {
  *device = &*device;
  return 0;
}
int nvmlSystemGetDriverVersion(char *version, unsigned length) {
  snprintf(version, length, "580.00.00");
  return 0;
}
int nvmlSystemGetCudaDriverVersion(int *version) {
  *version = 13000;
  return 0;
}
int nvmlSystemGetCudaDriverVersion_v2(int *version) {
  *version = 13000;
  return 0;
}
const char *nvmlErrorString(int error) {
  return "an error of the imagined GPU";
}

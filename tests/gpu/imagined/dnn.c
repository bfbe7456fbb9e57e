/* cuDNN on a GPU that does not exist: for every graph of operations it has one engine, without knobs and notes, that
 * needs no workspace and computes nothing. */
#include <cudnn.h>

static int handle;

cudnnStatus_t cudnnCreate(cudnnHandle_t *result) {
  *result = (cudnnHandle_t)&handle;
  return CUDNN_STATUS_SUCCESS;
}
size_t cudnnGetVersion(void) {
  return CUDNN_VERSION;
}
size_t cudnnGetCudartVersion(void) {
  return CUDART_VERSION;
}
const char *cudnnGetErrorString(cudnnStatus_t status) {
  return "a status of the imagined GPU";
}
cudnnStatus_t cudnnGetProperty(libraryPropertyType which, int *value) {
  static const int version[] = {CUDNN_MAJOR, CUDNN_MINOR, CUDNN_PATCHLEVEL};
  *value = version[which];
  return CUDNN_STATUS_SUCCESS;
}

/* Graphs of operations. Descriptors hold nothing: what is asked about them has the same answer for all. */

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *result) {
  *result = (cudnnBackendDescriptor_t)&handle;
  return CUDNN_STATUS_SUCCESS;
}

/* How many values an attribute has. */
static int64_t count_of(cudnnBackendAttributeName_t name) {
  switch (name) {
    case CUDNN_ATTR_ENGINE_KNOB_INFO:
    case CUDNN_ATTR_ENGINE_NUMERICAL_NOTE:
    case CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE:
    case CUDNN_ATTR_ENGINECFG_KNOB_CHOICES:
      return 0;
    default:
      return 1;
  }
}

/* Gives numbers; where descriptors are asked for, the caller has made them already. */
cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t of, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t room, int64_t *count, void *values) {
  if (count) *count = count_of(name);
  if (values && room && type == CUDNN_TYPE_INT64)
    *(int64_t *)values = name == CUDNN_ATTR_OPERATIONGRAPH_ENGINE_GLOBAL_COUNT ? 1 : 0;
  return CUDNN_STATUS_SUCCESS;
}

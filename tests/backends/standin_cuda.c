/* A stand-in for libcuda.so.1, the library of NVIDIA's driver: it is none. Device memory is host memory, so that the
 * stand-in for TensorRT can compute in it. Copies to the host happen as late as they may, when the stream is waited for.
 * Declarations: NVIDIA, CUDA Driver API. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int CUresult;
typedef unsigned long long CUdeviceptr;

static struct { void *to; const void *from; size_t size; } pending[64];
static int waiting, stream;

CUresult cuInit(unsigned flags) { return flags || getenv("STANDIN_NO_GPU") ? 100 : 0; }
CUresult cuDeviceGetCount(int *count) { *count = 1; return 0; }
CUresult cuDeviceGet(int *device, int ordinal) { *device = 7; return ordinal; }
CUresult cuDeviceGetName(char *name, int size, int device) {
    if (device != 7) return 101;
    snprintf(name, size, "Stand-in, no GPU");
    return 0;
}
CUresult cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)8 << 30; return device != 7; }
CUresult cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 8 : attribute == 76 ? 7 : -1;
    return device != 7;
}
CUresult cuDriverGetVersion(int *version) { *version = 12060; return 0; }
CUresult cuDevicePrimaryCtxRetain(void **context, int device) { *context = &stream; return device != 7; }
CUresult cuCtxSetCurrent(void *context) { return context != &stream; }
CUresult cuMemAlloc_v2(CUdeviceptr *pointer, size_t size) {
    const char *limit = getenv("STANDIN_LIMIT");
    if (limit && size > strtoull(limit, NULL, 10)) return 2;
    *pointer = (CUdeviceptr)(size_t)malloc(size);
    return 0;
}
CUresult cuMemFree_v2(CUdeviceptr pointer) { free((void *)(size_t)pointer); return 0; }
CUresult cuStreamCreate(void **handle, unsigned flags) { *handle = &stream; return flags; }
CUresult cuStreamDestroy_v2(void *handle) { return handle != &stream; }
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t size, void *handle) {
    memcpy((void *)(size_t)to, from, size);
    return handle != &stream;
}
CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t size, void *handle) {
    if (waiting == 64) return 2;
    pending[waiting].to = to, pending[waiting].from = (void *)(size_t)from, pending[waiting++].size = size;
    return handle != &stream;
}
CUresult cuStreamSynchronize(void *handle) {
    for (int i = 0; i < waiting; i++) memcpy(pending[i].to, pending[i].from, pending[i].size);
    waiting = 0;
    return handle != &stream;
}
CUresult cuGetErrorString(CUresult status, const char **text) {
    *text = status == 2 ? "out of memory" : status == 100 ? "no CUDA-capable device is detected" : "invalid argument";
    return 0;
}

// The part of onnxruntime's C API that a loader and the runner of phones use, for machines where no package brings the real header.
// The library promises that a function keeps its place in OrtApi, which the real header of version 29 has here, too:
// checked on 2026-11-27 with offsetof. ORT_UNUSED stands for functions that neither calls.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define ORT_API_VERSION 20
#define ORTCHAR_T char
#define ORT_UNUSED(from, to) void* unused_##from[(to) - (from)]

typedef enum ONNXTensorElementDataType {
  ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64
} ONNXTensorElementDataType;

typedef enum OrtLoggingLevel { ORT_LOGGING_LEVEL_WARNING = 2 } OrtLoggingLevel;
typedef enum OrtAllocatorType { OrtArenaAllocator = 1 } OrtAllocatorType;
typedef enum OrtMemType { OrtMemTypeDefault = 0 } OrtMemType;

typedef struct OrtAllocator OrtAllocator;
typedef struct OrtEnv OrtEnv;
typedef struct OrtIoBinding OrtIoBinding;
typedef struct OrtMemoryInfo OrtMemoryInfo;
typedef struct OrtRunOptions OrtRunOptions;
typedef struct OrtSession OrtSession;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtStatus OrtStatus;
typedef struct OrtTensorTypeAndShapeInfo OrtTensorTypeAndShapeInfo;
typedef struct OrtValue OrtValue;

typedef struct OrtApi {
  ORT_UNUSED(0, 2);
  const char* (*GetErrorMessage)(const OrtStatus*);
  OrtStatus* (*CreateEnv)(OrtLoggingLevel, const char* name, OrtEnv**);
  ORT_UNUSED(4, 7);
  OrtStatus* (*CreateSession)(const OrtEnv*, const ORTCHAR_T* path, const OrtSessionOptions*, OrtSession**);
  ORT_UNUSED(8, 9);
  OrtStatus* (*Run)(OrtSession*, const OrtRunOptions*, const char* const* inputs, const OrtValue* const* given,
                    size_t count, const char* const* outputs, size_t wanted, OrtValue** found);
  OrtStatus* (*CreateSessionOptions)(OrtSessionOptions**);
  ORT_UNUSED(11, 14);
  OrtStatus* (*EnableProfiling)(OrtSessionOptions*, const ORTCHAR_T* prefix);
  ORT_UNUSED(15, 22);
  OrtStatus* (*SetSessionLogSeverityLevel)(OrtSessionOptions*, int level);
  ORT_UNUSED(23, 24);
  OrtStatus* (*SetIntraOpNumThreads)(OrtSessionOptions*, int threads);
  ORT_UNUSED(25, 49);
  OrtStatus* (*CreateTensorWithDataAsOrtValue)(const OrtMemoryInfo*, void* data, size_t bytes, const int64_t* shape,
                                               size_t rank, ONNXTensorElementDataType, OrtValue**);
  ORT_UNUSED(50, 51);
  OrtStatus* (*GetTensorMutableData)(OrtValue*, void** data);
  ORT_UNUSED(52, 60);
  OrtStatus* (*GetTensorElementType)(const OrtTensorTypeAndShapeInfo*, ONNXTensorElementDataType*);
  OrtStatus* (*GetDimensionsCount)(const OrtTensorTypeAndShapeInfo*, size_t* rank);
  OrtStatus* (*GetDimensions)(const OrtTensorTypeAndShapeInfo*, int64_t* shape, size_t rank);
  ORT_UNUSED(63, 64);
  OrtStatus* (*GetTensorShapeElementCount)(const OrtTensorTypeAndShapeInfo*, size_t* count);
  OrtStatus* (*GetTensorTypeAndShape)(const OrtValue*, OrtTensorTypeAndShapeInfo**);
  ORT_UNUSED(66, 69);
  OrtStatus* (*CreateCpuMemoryInfo)(OrtAllocatorType, OrtMemType, OrtMemoryInfo**);
  ORT_UNUSED(70, 76);
  OrtStatus* (*AllocatorFree)(OrtAllocator*, void*);
  ORT_UNUSED(77, 78);
  OrtStatus* (*GetAllocatorWithDefaultOptions)(OrtAllocator**);
  ORT_UNUSED(79, 92);
  void (*ReleaseEnv)(OrtEnv*);
  void (*ReleaseStatus)(OrtStatus*);
  void (*ReleaseMemoryInfo)(OrtMemoryInfo*);
  void (*ReleaseSession)(OrtSession*);
  void (*ReleaseValue)(OrtValue*);
  ORT_UNUSED(97, 99);
  void (*ReleaseTensorTypeAndShapeInfo)(OrtTensorTypeAndShapeInfo*);
  void (*ReleaseSessionOptions)(OrtSessionOptions*);
  ORT_UNUSED(101, 110);
  OrtStatus* (*SessionEndProfiling)(OrtSession*, OrtAllocator*, char** path);
  ORT_UNUSED(111, 125);
  OrtStatus* (*GetAvailableProviders)(char*** names, int* count);
  OrtStatus* (*ReleaseAvailableProviders)(char** names, int count);
  ORT_UNUSED(127, 130);
  OrtStatus* (*AddSessionConfigEntry)(OrtSessionOptions*, const char* key, const char* value);
  ORT_UNUSED(131, 133);
  OrtStatus* (*RunWithBinding)(OrtSession*, const OrtRunOptions*, const OrtIoBinding*);
  OrtStatus* (*CreateIoBinding)(OrtSession*, OrtIoBinding**);
  void (*ReleaseIoBinding)(OrtIoBinding*);
  OrtStatus* (*BindInput)(OrtIoBinding*, const char* name, const OrtValue*);
  ORT_UNUSED(137, 138);
  OrtStatus* (*BindOutputToDevice)(OrtIoBinding*, const char* name, const OrtMemoryInfo*);
  ORT_UNUSED(139, 216);
  OrtStatus* (*SessionOptionsAppendExecutionProvider)(OrtSessionOptions*, const char* provider, const char* const* keys,
                                                      const char* const* values, size_t count);
} OrtApi;

typedef struct OrtApiBase {
  const OrtApi* (*GetApi)(uint32_t version);
  const char* (*GetVersionString)(void);
} OrtApiBase;

#ifdef __cplusplus
extern "C"
#endif
const OrtApiBase* OrtGetApiBase(void);

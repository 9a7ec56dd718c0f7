// One engine, opened by onnxruntime's C API, whose library is loaded when the runner says so.
#pragma once

#include <dlfcn.h>
#include <onnxruntime_c_api.h>

#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "npz.hpp"

namespace engine {

// The first version of the C API that has all that is called here; newer libraries have it, too.
constexpr std::uint32_t api_version = 16;

struct Library {
  void* handle = nullptr;
  const OrtApi* api = nullptr;
  std::string version;

  explicit Library(const std::string& path) {
    handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) throw std::runtime_error(std::string("The library does not load: ") + dlerror() + ".");
    const auto base = reinterpret_cast<const OrtApiBase* (*)()>(dlsym(handle, "OrtGetApiBase"));
    if (base == nullptr) throw std::runtime_error("The library is not onnxruntime's: it has no OrtGetApiBase.");
    version = base()->GetVersionString();
    api = base()->GetApi(api_version);
    if (api == nullptr) throw std::runtime_error("onnxruntime " + version + " is too old: it has no API version 16.");
  }

  void need(OrtStatus* status) const {
    if (status == nullptr) return;
    const std::string message = api->GetErrorMessage(status);
    api->ReleaseStatus(status);
    throw std::runtime_error(message);
  }

  std::vector<std::string> providers() const {
    char** names = nullptr;
    int count = 0;
    need(api->GetAvailableProviders(&names, &count));
    const std::vector<std::string> found(names, names + count);
    need(api->ReleaseAvailableProviders(names, count));
    return found;
  }
};

template <typename T>
using Owned = std::unique_ptr<T, void (*)(T*)>;
using Entries = std::vector<std::pair<std::string, std::string>>;

// How an engine is opened. `attempts`: session configurations, the first that opens is taken.
struct Plan {
  std::string model, provider = "cpu";
  int threads = 0;  // the runtime's own choice
  std::vector<Entries> attempts;
  std::vector<std::string> inputs, outputs;
};

struct Type {
  const char* name;
  ONNXTensorElementDataType code;
};
constexpr Type types[] = {
    {"f4", ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT},  {"f8", ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE},
    {"f2", ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16}, {"b1", ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL},
    {"i1", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8},   {"i2", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16},
    {"i4", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32},  {"i8", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64},
    {"u1", ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8},  {"u2", ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16},
    {"u4", ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32}, {"u8", ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64},
};

class Session {
 public:
  // `profile`: where a file of the runtime's profile begins; empty takes none.
  Session(const Library& library, const Plan& plan, const std::string& profile = "")
      : library_(library), api_(*library.api), plan_(plan), session_(nullptr, api_.ReleaseSession),
        memory_(nullptr, api_.ReleaseMemoryInfo), binding_(nullptr, api_.ReleaseIoBinding) {
    OrtMemoryInfo* memory = nullptr;
    need(api_.CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
    memory_.reset(memory);
    for (std::size_t index = 0; index < plan.attempts.size(); ++index) {
      try {
        open(plan.attempts[index], profile);
        return;
      } catch (const std::runtime_error&) {
        if (index + 1 == plan.attempts.size()) throw;
      }
    }
  }

  npz::Arrays run(const npz::Arrays& feed) {
    std::vector<Owned<OrtValue>> given = values(feed);
    std::vector<const OrtValue*> in;
    for (const auto& value : given) in.push_back(value.get());
    std::vector<OrtValue*> out(plan_.outputs.size(), nullptr);
    const std::vector<const char*> inputs = names(plan_.inputs), outputs = names(plan_.outputs);
    need(api_.Run(session_.get(), nullptr, inputs.data(), in.data(), in.size(), outputs.data(), out.size(), out.data()));
    std::vector<Owned<OrtValue>> answers;
    for (OrtValue* value : out) answers.emplace_back(value, api_.ReleaseValue);
    npz::Arrays found;
    for (std::size_t index = 0; index < out.size(); ++index) found[plan_.outputs[index]] = array(out[index]);
    return found;
  }

  // What `call` runs from now on: inputs handed over once, outputs that stay in the runtime's memory.
  void bind(npz::Arrays feed) {
    binding_.reset();
    bound_.clear();
    fed_ = std::move(feed);
    OrtIoBinding* binding = nullptr;
    need(api_.CreateIoBinding(session_.get(), &binding));
    binding_.reset(binding);
    bound_ = values(fed_);
    for (std::size_t index = 0; index < bound_.size(); ++index) {
      need(api_.BindInput(binding, plan_.inputs[index].c_str(), bound_[index].get()));
    }
    for (const std::string& name : plan_.outputs) need(api_.BindOutputToDevice(binding, name.c_str(), memory_.get()));
  }

  void call() { need(api_.RunWithBinding(session_.get(), nullptr, binding_.get())); }

  // Ends the profile; returns its file.
  std::string profiled() {
    OrtAllocator* allocator = nullptr;
    char* path = nullptr;
    need(api_.GetAllocatorWithDefaultOptions(&allocator));
    need(api_.SessionEndProfiling(session_.get(), allocator, &path));
    const std::string found = path;
    need(api_.AllocatorFree(allocator, path));
    return found;
  }

 private:
  void need(OrtStatus* status) const { library_.need(status); }

  static std::vector<const char*> names(const std::vector<std::string>& texts) {
    std::vector<const char*> found;
    for (const std::string& text : texts) found.push_back(text.c_str());
    return found;
  }

  // One environment for all sessions; it is never released, as the process ends with it.
  const OrtEnv* environment() const {
    static const OrtEnv* const shared = [this] {
      OrtEnv* made = nullptr;
      need(api_.CreateEnv(ORT_LOGGING_LEVEL_WARNING, "edgepress", &made));
      return made;
    }();
    return shared;
  }

  void open(const Entries& entries, const std::string& profile) {
    OrtSessionOptions* options = nullptr;
    need(api_.CreateSessionOptions(&options));
    const Owned<OrtSessionOptions> held(options, api_.ReleaseSessionOptions);
    need(api_.SetSessionLogSeverityLevel(options, 3));  // errors: warnings are about the runtime's own internals
    for (const auto& [key, value] : entries) need(api_.AddSessionConfigEntry(options, key.c_str(), value.c_str()));
    if (!profile.empty()) need(api_.EnableProfiling(options, profile.c_str()));
    provide(options);
    OrtSession* session = nullptr;
    need(api_.CreateSession(environment(), plan_.model.c_str(), options, &session));
    session_.reset(session);
  }

  // Threads, and who computes before the CPU does.
  void provide(OrtSessionOptions* options) const {
    int threads = plan_.threads;
    if (plan_.provider == "xnnpack") {
      // It has threads of its own, beside which those of the runtime would fight for the cores: onnxruntime's page on
      // XNNPACK gives it all and leaves the runtime one.
      const std::string count = std::to_string(threads > 0 ? threads : 1);
      const char* const key = "intra_op_num_threads";
      const char* const value = count.c_str();
      need(api_.SessionOptionsAppendExecutionProvider(options, "XNNPACK", &key, &value, 1));
      threads = 1;
    } else if (plan_.provider == "nnapi") {
      const auto append = reinterpret_cast<OrtStatus* (*)(OrtSessionOptions*, std::uint32_t)>(
          dlsym(library_.handle, "OrtSessionOptionsAppendExecutionProvider_Nnapi"));
      if (append == nullptr) throw std::runtime_error("this library has no NNAPI execution provider");
      need(append(options, 0));
    } else if (plan_.provider != "cpu") {
      throw std::runtime_error("the runner knows no provider " + plan_.provider);
    }
    if (threads > 0) need(api_.SetIntraOpNumThreads(options, threads));
  }

  std::vector<Owned<OrtValue>> values(const npz::Arrays& feed) const {
    std::vector<Owned<OrtValue>> found;
    for (const std::string& name : plan_.inputs) {
      if (feed.count(name) == 0) throw std::runtime_error("the feed has no input '" + name + "'");
      found.push_back(value(feed.at(name)));
    }
    if (feed.size() != plan_.inputs.size()) throw std::runtime_error("the feed has inputs that the engine has not");
    return found;
  }

  Owned<OrtValue> value(const npz::Array& array) const {
    for (const Type& type : types) {
      if (array.type != type.name) continue;
      OrtValue* made = nullptr;  // the inputs are read, never written
      need(api_.CreateTensorWithDataAsOrtValue(memory_.get(), const_cast<char*>(array.data.data()), array.data.size(),
                                               array.shape.data(), array.shape.size(), type.code, &made));
      return Owned<OrtValue>(made, api_.ReleaseValue);
    }
    throw std::runtime_error("an input has the type " + array.type + ", which the runner does not know");
  }

  npz::Array array(OrtValue* value) const {
    OrtTensorTypeAndShapeInfo* made = nullptr;
    need(api_.GetTensorTypeAndShape(value, &made));
    const Owned<OrtTensorTypeAndShapeInfo> info(made, api_.ReleaseTensorTypeAndShapeInfo);
    ONNXTensorElementDataType code = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
    std::size_t rank = 0;
    need(api_.GetTensorElementType(made, &code));
    need(api_.GetDimensionsCount(made, &rank));
    npz::Array found;
    found.shape.resize(rank);
    need(api_.GetDimensions(made, found.shape.data(), rank));
    for (const Type& type : types) {
      if (type.code == code) found.type = type.name;
    }
    if (found.type.empty()) throw std::runtime_error("an output has a type that the runner does not know");
    void* data = nullptr;
    need(api_.GetTensorMutableData(value, &data));
    const char* const bytes = static_cast<const char*>(data);
    if (found.count() > 0) found.data.assign(bytes, bytes + found.count() * found.item());
    return found;
  }

  const Library& library_;
  const OrtApi& api_;
  const Plan plan_;
  // Released in the opposite order: the binding before the session that it is of.
  npz::Arrays fed_;
  Owned<OrtSession> session_;
  Owned<OrtMemoryInfo> memory_;
  std::vector<Owned<OrtValue>> bound_;
  Owned<OrtIoBinding> binding_;
};

}  // namespace engine

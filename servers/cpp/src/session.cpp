#include "session.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>

namespace fieldtune {
namespace {

constexpr std::uint32_t kApi = 17;  // what is used of the header was there then

#ifndef FIELDTUNE_ONNXRUNTIME
#define FIELDTUNE_ONNXRUNTIME ""
#endif

std::vector<std::string> places(const std::string& library) {
  if (!library.empty()) return {library};
  const char* wanted = std::getenv("FIELDTUNE_ONNXRUNTIME");
  if (wanted != nullptr && *wanted != '\0') return {wanted};
  std::vector<std::string> found;
  if (*FIELDTUNE_ONNXRUNTIME != '\0') found.emplace_back(FIELDTUNE_ONNXRUNTIME);
  found.insert(found.end(), {"libonnxruntime.so.1", "libonnxruntime.so"});
  return found;
}

std::string message(const OrtApi& api, OrtStatus* status) {
  const std::string text = api.GetErrorMessage(status);
  api.ReleaseStatus(status);
  return text;
}

}  // namespace

Runtime::Runtime(const std::string& library) {
  void* opened = nullptr;
  std::string trouble;
  for (const auto& place : places(library)) {
    opened = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (opened != nullptr) break;
    trouble = dlerror();
  }
  if (opened == nullptr)
    throw PolicyError("ONNX Runtime cannot be opened (" + trouble +
                      "): name its libonnxruntime.so, of 1.17 or later, in FIELDTUNE_ONNXRUNTIME");
  const auto base = reinterpret_cast<const OrtApiBase* (*)()>(dlsym(opened, "OrtGetApiBase"));
  if (base == nullptr) throw PolicyError("the library that was opened is not ONNX Runtime's");
  version_ = base()->GetVersionString();
  api_ = base()->GetApi(kApi);
  if (api_ == nullptr)
    throw PolicyError("ONNX Runtime is " + version_ + ", expected 1.17 or later: update it");
  OrtStatus* status = api_->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "fieldtune", &environment_);
  if (status == nullptr)
    status = api_->CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &memory_);
  if (status != nullptr) {
    if (environment_ != nullptr) api_->ReleaseEnv(environment_);
    throw PolicyError("ONNX Runtime does not start: " + message(*api_, status));
  }
  // The library stays: what it started may outlive its last user.
}

Runtime::~Runtime() {
  api_->ReleaseMemoryInfo(memory_);
  api_->ReleaseEnv(environment_);
}

Graph::Graph(std::shared_ptr<Runtime> runtime, const std::string& where, const std::string& name,
             const std::string& onnx, const Signature& signature, std::int64_t rows, int threads)
    : runtime_(std::move(runtime)),
      where_(where),
      name_(name),
      signature_(signature),
      rows_(rows),
      inputs_(signature.inputs.size()),
      outputs_(signature.outputs.size()) {
  const OrtApi& api = runtime_->api();
  OrtSessionOptions* options = nullptr;
  try {
    // As export/sessions.py has them: one thread, which sleeps when idle.
    require(api.CreateSessionOptions(&options), "");
    require(api.SetIntraOpNumThreads(options, threads), "");
    require(api.SetInterOpNumThreads(options, 1), "");
    for (const char* key : {"session.intra_op.allow_spinning", "session.inter_op.allow_spinning"})
      require(api.AddSessionConfigEntry(options, key, "0"), "");
    // As export/sessions.py: graphs of fieldtune 0.1.0 say IR 10, of which they use nothing, and
    // ONNX Runtime 1.17 reads those up to 9.
    std::string readable = onnx;
    if (readable.rfind("\x08\x0a", 0) == 0) readable[1] = '\x09';
    require(api.CreateSessionFromArray(runtime_->environment(), readable.data(), readable.size(),
                                       options, &session_),
            "");
    require(api.CreateIoBinding(session_, &binding_), "");
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      const auto& [input, width] = signature_.inputs[i];
      require(api.BindInput(binding_, input.c_str(), bind(inputs_[i], width)), "");
    }
    for (std::size_t i = 0; i < outputs_.size(); ++i) {
      const auto& [output, width] = signature_.outputs[i];
      require(api.BindOutput(binding_, output.c_str(), bind(outputs_[i], width)), "");
    }
  } catch (...) {
    if (options != nullptr) api.ReleaseSessionOptions(options);
    release();
    throw;
  }
  api.ReleaseSessionOptions(options);
}

Graph::~Graph() { release(); }

void Graph::release() {
  const OrtApi& api = runtime_->api();
  if (binding_ != nullptr) api.ReleaseIoBinding(binding_);
  for (OrtValue* value : values_) api.ReleaseValue(value);
  if (session_ != nullptr) api.ReleaseSession(session_);
}

OrtValue* Graph::bind(std::vector<float>& memory, std::int64_t width) {
  memory.assign(std::size_t(rows_ * width), 0.0f);
  const std::int64_t shape[] = {rows_, width};
  OrtValue* value = nullptr;
  require(runtime_->api().CreateTensorWithDataAsOrtValue(
              runtime_->memory(), memory.data(), memory.size() * sizeof(float), shape, 2,
              ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &value),
          "");
  values_.push_back(value);
  return value;
}

void Graph::require(OrtStatus* status, const char* what) const {
  if (status == nullptr) return;
  const std::string text = message(runtime_->api(), status);
  throw PolicyError(*what == '\0' ? where_ + name_ + ": " + text : name_ + what + text);
}

void Graph::set(std::size_t input, View values) {
  const auto& [name, width] = signature_.inputs[input];
  if (std::size_t(width) != values.size)
    throw PolicyError(name_ + ": input '" + name + "' is " + std::to_string(values.size) +
                      " wide, expected " + std::to_string(width));
  float* place = inputs_[input].data();
  for (std::size_t k = 0; k < values.size; ++k) place[k] = static_cast<float>(values[k]);
  for (std::int64_t row = 1; row < rows_; ++row)
    std::copy(place, place + width, place + row * width);
}

void Graph::set_rows(std::size_t input, View values) {
  float* place = inputs_[input].data();
  for (std::size_t k = 0; k < inputs_[input].size(); ++k) place[k] = static_cast<float>(values[k]);
}

void Graph::run() {
  require(runtime_->api().RunWithBinding(session_, nullptr, binding_), " cannot be run: ");
}

}  // namespace fieldtune

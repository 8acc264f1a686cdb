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
             const std::string& onnx, const Signature& signature,
             const std::vector<std::int64_t>& batches, int threads)
    : runtime_(std::move(runtime)),
      where_(where),
      name_(name),
      signature_(signature),
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
    const std::int64_t most = *std::max_element(batches.begin(), batches.end());
    for (std::size_t i = 0; i < inputs_.size(); ++i)
      inputs_[i].assign(std::size_t(most * signature_.inputs[i].second), 0.0f);
    for (std::size_t i = 0; i < outputs_.size(); ++i)
      outputs_[i].assign(std::size_t(most * signature_.outputs[i].second), 0.0f);
    for (const std::int64_t rows : batches) bind(batches_.emplace_back(Batch{rows, nullptr}));
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
  for (const Batch& batch : batches_)
    if (batch.binding != nullptr) api.ReleaseIoBinding(batch.binding);
  for (OrtValue* value : values_) api.ReleaseValue(value);
  if (session_ != nullptr) api.ReleaseSession(session_);
}

void Graph::bind(Batch& batch) {
  const OrtApi& api = runtime_->api();
  require(api.CreateIoBinding(session_, &batch.binding), "");
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    const auto& [input, width] = signature_.inputs[i];
    OrtValue* value = over(inputs_[i], batch.rows, width);
    require(api.BindInput(batch.binding, input.c_str(), value), "");
  }
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    const auto& [output, width] = signature_.outputs[i];
    OrtValue* value = over(outputs_[i], batch.rows, width);
    require(api.BindOutput(batch.binding, output.c_str(), value), "");
  }
}

OrtValue* Graph::over(std::vector<float>& memory, std::int64_t rows, std::int64_t width) {
  const std::int64_t shape[] = {rows, width};
  OrtValue* value = nullptr;
  require(runtime_->api().CreateTensorWithDataAsOrtValue(
              runtime_->memory(), memory.data(), std::size_t(rows * width) * sizeof(float), shape,
              2, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &value),
          "");
  values_.push_back(value);
  return value;
}

void Graph::require(OrtStatus* status, const char* what) const {
  if (status == nullptr) return;
  const std::string text = message(runtime_->api(), status);
  throw PolicyError(*what == '\0' ? where_ + name_ + ": " + text : name_ + what + text);
}

void Graph::take(std::int64_t rows) {
  const auto has = [&](const Batch& batch) { return batch.rows == rows; };
  const auto found = std::find_if(batches_.begin(), batches_.end(), has);
  if (found == batches_.end())
    throw PolicyError(name_ + " has no room for " + std::to_string(rows) + " rows");
  taken_ = std::size_t(found - batches_.begin());
}

void Graph::set(std::size_t input, View values) {
  const auto& [name, width] = signature_.inputs[input];
  if (std::size_t(width) != values.size)
    throw PolicyError(name_ + ": input '" + name + "' is " + std::to_string(values.size) +
                      " wide, expected " + std::to_string(width));
  float* place = inputs_[input].data();
  for (std::size_t k = 0; k < values.size; ++k) place[k] = static_cast<float>(values[k]);
  for (std::int64_t row = 1; row < batches_[taken_].rows; ++row)
    std::copy(place, place + width, place + row * width);
}

void Graph::set_rows(std::size_t input, View values) {
  float* place = inputs_[input].data();
  for (std::size_t k = 0; k < values.size; ++k) place[k] = static_cast<float>(values[k]);
}

void Graph::run() {
  require(runtime_->api().RunWithBinding(session_, nullptr, batches_[taken_].binding), " cannot be run: ");
}

}  // namespace fieldtune

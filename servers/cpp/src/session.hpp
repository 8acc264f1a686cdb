// One graph, run by ONNX Runtime's C API over memory that is bound once. The library is opened at
// run time, so that the one in Python's wheel serves, which has no name that a linker would find.
// Must not know what a graph means.
#pragma once

#include <onnxruntime_c_api.h>

#include <memory>
#include <string>
#include <vector>

#include "fieldtune/bundle.hpp"
#include "fieldtune/views.hpp"

namespace fieldtune {

class Runtime {
 public:
  // Raises PolicyError: not found, or older than 1.17.
  explicit Runtime(const std::string& library);
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  const OrtApi& api() const { return *api_; }
  OrtEnv* environment() const { return environment_; }
  const OrtMemoryInfo* memory() const { return memory_; }
  const std::string& version() const { return version_; }

 private:
  const OrtApi* api_ = nullptr;
  OrtEnv* environment_ = nullptr;
  OrtMemoryInfo* memory_ = nullptr;
  std::string version_;
};

class Graph {
 public:
  // `batches` are the numbers of rows that a run may have; until `take` it has the first of them.
  Graph(std::shared_ptr<Runtime> runtime, const std::string& where, const std::string& name,
        const std::string& onnx, const Signature& signature,
        const std::vector<std::int64_t>& batches, int threads);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  // How many rows the runs to come have: one of `batches`. Write the inputs anew after it.
  void take(std::int64_t rows);
  // Write one input, the same in every row. Raises PolicyError for another width.
  void set(std::size_t input, View values);
  // Write one input row by row, of as many rows as there are of `values`.
  void set_rows(std::size_t input, View values);
  void run();
  // (row, width), row by row.
  const float* output(std::size_t index) const { return outputs_[index].data(); }

 private:
  void require(OrtStatus* status, const char* what) const;
  struct Batch {
    std::int64_t rows;
    OrtIoBinding* binding;
  };
  OrtValue* over(std::vector<float>& memory, std::int64_t rows, std::int64_t width);
  void bind(Batch& batch);
  void release();

  std::shared_ptr<Runtime> runtime_;
  std::string where_, name_;
  Signature signature_;
  OrtSession* session_ = nullptr;
  std::vector<Batch> batches_;  // over the same memory, which has room for the most rows
  std::size_t taken_ = 0;
  std::vector<std::vector<float>> inputs_, outputs_;
  std::vector<OrtValue*> values_;
};

}  // namespace fieldtune

// Which parts of ONNX fieldtune writes: fields by number, as in onnx.proto3, types and operators.
#pragma once

#include "protobuf.hpp"

namespace fieldtune::graph {

using protobuf::kBytes;
using protobuf::kFixed32;
using protobuf::kVarint;
using protobuf::Table;

inline constexpr std::uint64_t kFloat32 = 1;

// export/graph.py's OPERATORS; a test compares them.
inline constexpr char kOperators[] =
    "Abs Add And Cast Ceil Clip Concat Constant Cos Div Elu Equal Erf Exp Flatten Floor "
    "Gather Gemm Greater GreaterOrEqual HardSigmoid Identity LayerNormalization LeakyRelu "
    "Less LessOrEqual Log LogSoftmax MatMul Max Min Mul Neg Not Or PRelu Pow Reciprocal "
    "ReduceMax ReduceMean ReduceMin ReduceSum Relu Reshape Round Selu Sigmoid Sign Sin Slice "
    "Softmax Softplus Softsign Split Sqrt Squeeze Sub Tanh Transpose Unsqueeze Where "
    "QuantizeLinear DequantizeLinear CastLike HardSwish Mish SequenceAt SplitToSequence";

inline const std::map<std::string, std::vector<std::size_t>> kFixedInputs = {
    {"DequantizeLinear", {1, 2}},
    {"Gather", {1}},
    {"QuantizeLinear", {1, 2}},
    {"ReduceMax", {1}},
    {"ReduceMean", {1}},
    {"ReduceMin", {1}},
    {"ReduceSum", {1}},
    {"Reshape", {1}},
    {"SequenceAt", {1}},
    {"Slice", {1, 2, 3, 4}},
    {"Split", {1}},
    {"SplitToSequence", {1}},
    {"Squeeze", {1}},
    {"Unsqueeze", {1}},
};
inline const std::map<std::uint64_t, std::uint64_t> kItemBytes = {
    {kFloat32, 4}, {2, 1}, {3, 1}, {6, 4}, {7, 8}, {9, 1}, {10, 2}, {11, 8}};
inline const std::map<std::uint64_t, std::string> kAttributeTypes = {
    {1, "f"}, {2, "i"}, {4, "t"}, {6, "floats"}, {7, "ints"}};

inline const Table kTensor{"tensor",
                           {{1, {"dims", kVarint, true}},
                            {2, {"data_type", kVarint}},
                            {8, {"name", kBytes, false, true}},
                            {9, {"raw_data"}},
                            {13, {"external_data", kBytes, true}},
                            {14, {"data_location", kVarint}}}};
inline const Table kDimension{"dimension",
                              {{1, {"value", kVarint}}, {2, {"parameter", kBytes, false, true}}}};
inline const Table kShape{"shape", {{1, {"dims", kBytes, true, false, &kDimension}}}};
inline const Table kTensorType{
    "tensor type", {{1, {"elem_type", kVarint}}, {2, {"shape", kBytes, false, false, &kShape}}}};
inline const Table kType{"type", {{1, {"tensor", kBytes, false, false, &kTensorType}}}};
inline const Table kValue{
    "value", {{1, {"name", kBytes, false, true}}, {2, {"type", kBytes, false, false, &kType}}}};
inline const Table kAttribute{"attribute",
                              {{1, {"name", kBytes, false, true}},
                               {2, {"f", kFixed32}},
                               {3, {"i", kVarint}},
                               {5, {"t", kBytes, false, false, &kTensor}},
                               {6, {"g"}},
                               {7, {"floats", kFixed32, true}},
                               {8, {"ints", kVarint, true}},
                               {11, {"graphs", kBytes, true}},
                               {20, {"type", kVarint}},
                               {22, {"sparse_tensor"}},
                               {23, {"sparse_tensors", kBytes, true}}}};
inline const Table kNode{"node",
                         {{1, {"input", kBytes, true, true}},
                          {2, {"output", kBytes, true, true}},
                          {3, {"name", kBytes, false, true}},
                          {4, {"op_type", kBytes, false, true}},
                          {5, {"attribute", kBytes, true, false, &kAttribute}},
                          {7, {"domain", kBytes, false, true}}}};
inline const Table kGraph{"graph",
                          {{1, {"node", kBytes, true, false, &kNode}},
                           {2, {"name", kBytes, false, true}},
                           {5, {"initializer", kBytes, true, false, &kTensor}},
                           {11, {"input", kBytes, true, false, &kValue}},
                           {12, {"output", kBytes, true, false, &kValue}},
                           {15, {"sparse_initializer", kBytes, true}}}};
inline const Table kOpset{"operator set",
                          {{1, {"domain", kBytes, false, true}}, {2, {"version", kVarint}}}};
inline const Table kModel{"model",
                          {{1, {"ir_version", kVarint}},
                           {2, {"producer_name", kBytes, false, true}},
                           {3, {"producer_version", kBytes, false, true}},
                           {7, {"graph", kBytes, false, false, &kGraph}},
                           {8, {"opset_import", kBytes, true, false, &kOpset}},
                           {20, {"training_info", kBytes, true}},
                           {25, {"functions", kBytes, true}}}};

}  // namespace fieldtune::graph

#include "graph.hpp"

#include <algorithm>
#include <set>
#include <sstream>

#include "graph_tables.hpp"
#include "text.hpp"

namespace fieldtune::graph {
namespace {

using protobuf::Message;
using text::quoted;
using Names = std::set<std::string>;

constexpr std::int64_t kMostFields = 200'000;
constexpr std::size_t kMostDims = 8;
constexpr std::uint64_t kLargestDim = (std::uint64_t(1) << 31) - 1;

const Names& operators() {
  static const Names known = [] {
    Names made;
    std::istringstream words(kOperators);
    for (std::string word; words >> word;) made.insert(word);
    return made;
  }();
  return known;
}

void check_tensor(const Message& tensor) {
  const std::string name = quoted(tensor.text("name"));
  if (tensor.has("external_data") || tensor.has("data_location"))
    throw GraphError("weight " + name +
                     " lives in an external file: export with the weights inside the graph");
  const auto item = kItemBytes.find(tensor.number("data_type"));
  if (item == kItemBytes.end())
    throw GraphError("weight " + name + " is of type " +
                     std::to_string(tensor.number("data_type")) + ": export floats");
  std::uint64_t wanted = item->second, largest = 0;
  bool empty = false;
  std::string shape;
  const auto& dims = tensor.all("dims");
  for (const auto& dim : dims) {
    largest = std::max(largest, dim.number);
    empty = empty || dim.number == 0;
    shape += (shape.empty() ? "" : ", ") + std::to_string(dim.number);
    // More than any file holds is as wrong as anything larger.
    wanted = std::min<std::uint64_t>(dim.number, 1u << 30) *
             std::min<std::uint64_t>(wanted, std::uint64_t(1) << 33);
  }
  if (dims.size() > kMostDims || largest > kLargestDim)
    throw GraphError("weight " + name + " has a shape that no weight has: export it anew");
  if (empty) wanted = 0;
  const std::size_t size = tensor.has("raw_data") ? tensor.all("raw_data").front().bytes.size() : 0;
  if (size != wanted)
    throw GraphError("weight " + name + " is " + std::to_string(size) + " bytes, its shape (" +
                     shape + (dims.size() == 1 ? ",)" : ")") + " asks for others");
}

void check_attribute(const std::string& op, const Message& attribute) {
  const auto holds = [&](const char* name) {
    return attribute.has(name) && !attribute.all(name).front().bytes.empty();
  };
  if (holds("g") || attribute.has("graphs"))
    throw GraphError("operator " + op + " holds a subgraph attribute: export without");
  if (holds("sparse_tensor") || attribute.has("sparse_tensors"))
    throw GraphError("operator " + op + " holds a sparse attribute: export without");
  const auto kind = kAttributeTypes.find(attribute.number("type"));
  std::vector<std::string> held;
  for (const auto& [number, key] : kAttributeTypes)
    if (attribute.has(key)) held.push_back(key);
  std::sort(held.begin(), held.end());
  const bool known = kind != kAttributeTypes.end();
  if (!known ||
      std::any_of(held.begin(), held.end(), [&](auto& key) { return key != kind->second; }))
    throw GraphError("operator " + op + ", attribute " + quoted(attribute.text("name")) +
                     ": its type " + std::to_string(attribute.number("type")) + " and its values " +
                     text::listed(held) + " do not belong together");
  if (attribute.has("t")) check_tensor(attribute.inside("t"));
}

void check_node(const Message& node) {
  const std::string word = node.text("op_type"), op = quoted(word), domain = node.text("domain");
  if (domain != "" && domain != "ai.onnx")
    throw GraphError("operator " + op + " is of the custom domain " + quoted(domain));
  if (operators().count(word) == 0)
    throw GraphError("operator " + op +
                     " is not one that a robot runs: export without "
                     "(export/graph.py lists those it does)");
  std::vector<std::string> names;
  for (const auto& attribute : node.all("attribute"))
    names.push_back(attribute.inside.front().text("name"));
  std::sort(names.begin(), names.end());
  if (std::adjacent_find(names.begin(), names.end()) != names.end())
    throw GraphError("operator " + op + " holds an attribute twice: " + text::listed(names));
  for (const auto& attribute : node.all("attribute")) check_attribute(op, attribute.inside.front());
}

// Every value is made once, before its use, and shapes and places come from constants.
void check_flow(const Message& graph) {
  Names known, constant;
  const auto make = [&](const std::string& name, bool fixed) {
    if (name.empty() || !known.insert(name).second)
      throw GraphError("makes the value " + quoted(name) + " twice, or without a name");
    if (fixed) constant.insert(name);
  };
  for (const auto& value : graph.all("input")) make(value.inside.front().text("name"), false);
  for (const auto& tensor : graph.all("initializer"))
    make(tensor.inside.front().text("name"), true);
  for (const auto& one : graph.all("node")) {
    const Message& node = one.inside.front();
    const std::string op = node.text("op_type");
    std::vector<std::string> inputs;
    for (const auto& input : node.all("input")) inputs.emplace_back(input.bytes);
    bool fixed = true;
    for (const auto& name : inputs) {
      if (name.empty()) continue;
      if (known.count(name) == 0)
        throw GraphError("operator " + quoted(op) + " uses " + quoted(name) + " before it is made");
      fixed = fixed && constant.count(name) != 0;
    }
    if (const auto places = kFixedInputs.find(op); places != kFixedInputs.end())
      for (const std::size_t place : places->second)
        if (place < inputs.size() && !inputs[place].empty() && constant.count(inputs[place]) == 0)
          throw GraphError("operator " + quoted(op) + " takes a shape or a place from " +
                           quoted(inputs[place]) + ", which is not constant: export without");
    for (const auto& output : node.all("output"))
      if (!output.bytes.empty()) make(std::string(output.bytes), fixed);
  }
  for (const auto& value : graph.all("output")) {
    const std::string name = value.inside.front().text("name");
    if (known.count(name) == 0) throw GraphError("never makes its output " + quoted(name));
  }
}

// Name and width of a float32 value of shape (batch, width).
std::pair<std::string, std::int64_t> value_of(const Message& item,
                                              std::optional<std::int64_t> batch) {
  const std::string name = quoted(item.text("name"));
  const Message& tensor = item.inside("type").inside("tensor");
  if (!tensor.has("shape")) throw GraphError(name + " is not a tensor of known shape");
  if (tensor.number("elem_type") != kFloat32) throw GraphError(name + " is not float32");
  const auto& dims = tensor.inside("shape").all("dims");
  const auto is_batch = [&](const Message& dim) {
    return dim.has("value") == batch.has_value() &&
           (!batch || dim.number("value") == std::uint64_t(*batch));
  };
  if (dims.size() != 2 || !is_batch(dims[0].inside.front()))
    throw GraphError(name + " is not (batch, width) with " +
                     (batch ? "a batch of " + std::to_string(*batch) : "a free batch"));
  const Message& width = dims[1].inside.front();
  if (width.fields.size() != 1 || !width.has("value"))
    throw GraphError(name + " has no fixed width");
  return {item.text("name"), std::int64_t(width.number("value"))};
}

std::string describe(const Signature::Values& values) {
  std::string all;
  for (const auto& [name, width] : values)
    all += (all.empty() ? "" : ", ") + name + " (batch, " + std::to_string(width) + ")";
  return all.empty() ? "none" : all;
}

void check_values(const std::string& what, const Message& graph, const Signature::Values& wanted,
                  std::optional<std::int64_t> batch) {
  Signature::Values found;
  for (const auto& item : graph.all(what)) found.push_back(value_of(item.inside.front(), batch));
  if (found != wanted)
    throw GraphError(what + "s are " + describe(found) + ", the manifest's fields ask for " +
                     describe(wanted));
}

void check_operator_set(const Message& model) {
  std::vector<std::pair<std::string, std::uint64_t>> sets;
  for (const auto& one : model.all("opset_import")) {
    const Message& set = one.inside.front();
    const std::string domain = set.text("domain");
    const auto same = [&](auto& other) { return other.first == domain; };
    const auto earlier = std::find_if(sets.begin(), sets.end(), same);
    if (earlier == sets.end())
      sets.emplace_back(domain, set.number("version"));
    else
      earlier->second = set.number("version");
  }
  if (sets.size() == 1 && model.all("opset_import").size() == 1 && sets[0].first.empty() &&
      (sets[0].second == 17 || sets[0].second == 18))
    return;
  std::string said;
  for (const auto& [domain, version] : sets)
    said += (said.empty() ? "" : ", ") + quoted(domain) + ": " + std::to_string(version);
  throw GraphError("uses operator sets {" + said + "}, expected ONNX's own, 17 or 18");
}

}  // namespace

void check(std::string_view data, const Signature& expected) {
  Message model;
  try {
    model = protobuf::read(data, kModel, kMostFields);
  } catch (const protobuf::FormError& error) {
    throw GraphError(std::string(error.what()) + ": it is no graph of fieldtune's");
  }
  if (model.has("training_info"))
    throw GraphError("holds training information: export a plain inference graph");
  if (model.has("functions")) throw GraphError("holds functions: export a plain inference graph");
  check_operator_set(model);
  if (!model.has("graph")) throw GraphError("holds no graph");
  const Message& graph = model.inside("graph");
  if (graph.has("sparse_initializer")) throw GraphError("holds sparse weights: export dense ones");
  for (const auto& tensor : graph.all("initializer")) check_tensor(tensor.inside.front());
  for (const auto& node : graph.all("node")) check_node(node.inside.front());
  check_values("input", graph, expected.inputs, expected.batch);
  check_values("output", graph, expected.outputs, expected.batch);
  check_flow(graph);
}

}  // namespace fieldtune::graph

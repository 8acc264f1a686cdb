// Looking into an ONNX graph's bytes before a runtime loads them: the same list of fields and
// operators, and the same words, as fieldtune.export.graph. Does not judge what a graph computes.
#pragma once

#include <stdexcept>
#include <string_view>

#include "fieldtune/bundle.hpp"

namespace fieldtune::graph {

// The bytes are not a graph that fieldtune writes; the text says what is in the way.
class GraphError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Refuse anything but a flat, self-contained graph of known operators with this signature.
void check(std::string_view data, const Signature& expected);

}  // namespace fieldtune::graph

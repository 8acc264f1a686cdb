// What the parts of a manifest must be to each other, once each is of its type.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "fieldtune/bundle.hpp"

namespace fieldtune::manifest {

using Names = std::set<std::string>;

// What is judged by its width, before it is flattened.
struct Rows {
  std::vector<std::vector<double>> embeddings, particles;
  std::vector<double> change_variance;
  bool has_change = false, has_seen = false;
};

// Raises ManifestError. `parity` and `conversions` are the outputs that each names.
void check(const Manifest& known, const Rows& rows, const Names& parity,
           const std::vector<Names>& conversions);

}  // namespace fieldtune::manifest

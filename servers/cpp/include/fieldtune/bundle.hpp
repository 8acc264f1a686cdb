// The policy bundle, read and verified before anything is loaded from it (docs/bundle.md).
// The same checks, in the same order and with the same words, as fieldtune.export.bundle. It must
// not know an inference engine.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fieldtune/errors.hpp"

namespace fieldtune {

// One ordered group of components; `low` and `high` have a number each, infinite where unbounded.
struct Field {
  std::string name, unit;
  std::vector<double> low, high;
  std::size_t width() const { return low.size(); }
};

// What one graph takes and gives, in order: name and width, float32 (batch, width).
struct Signature {
  using Values = std::vector<std::pair<std::string, std::int64_t>>;
  Values inputs, outputs;
  std::optional<std::int64_t> batch;  // none where it is free
};

// What z is inferred by: `particles` is (count, latent_size), row by row.
struct Likelihood {
  std::vector<double> particles;
  std::size_t count = 0;
  double reward_variance = 0, temper = 1, unlike_below = 0;
};

struct File {
  std::string sha256;
  std::int64_t size = 0;
};

struct Manifest {
  std::int64_t schema_version = 0;
  std::string family, robot;
  std::vector<Field> observation_fields, action_fields, observation_seen;
  double period_s = 0;
  std::int64_t horizon = 0;
  std::size_t latent_size = 0;
  bool context_has_next_observation = false, sparse_reward = false, prior_factor = true;
  std::vector<double> task_embeddings;  // (task, latent_size), row by row
  std::optional<Likelihood> likelihood;
  std::map<std::string, File> files;
  bool fixed_batch = false;  // whether it was converted to `static`
  std::string text;          // the JSON itself, for what is not named here

  std::size_t observation_width() const;
  std::size_t action_width() const;
  // By graph, in the archive's order.
  std::vector<std::pair<std::string, Signature>> signatures() const;
};

struct Bundle {
  std::string id;  // sha256, 64 hex digits
  Manifest manifest;
  std::map<std::string, std::string> graphs;  // ONNX bytes by name
};

// Raises BundleError: missing, cut, altered, oversized, of an unknown version, or inconsistent.
// `expected_id`, where not empty, is the only bundle that is taken.
Bundle read_bundle(const std::string& path, const std::string& expected_id = "");

// The same for a bundle that is in memory; `source` names it in errors.
Bundle parse_bundle(const std::string& data, const std::string& source,
                    const std::string& expected_id = "");

}  // namespace fieldtune

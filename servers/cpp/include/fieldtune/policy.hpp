// One bundle, ready to run: acts, decodes a reward, says what one transition tells of the task.
// Numbers are double, in physical units; the graphs are float32. It must not know where
// observations come from, nor how z is chosen.
//
// All memory is taken on construction: the calls below allocate nothing of their own (what ONNX
// Runtime allocates inside one is its own; servers/cpp/README.md has the figure). One thread at a
// time may use a Policy.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "fieldtune/bundle.hpp"
#include "fieldtune/posterior.hpp"
#include "fieldtune/refinement.hpp"
#include "fieldtune/views.hpp"

namespace fieldtune {

struct Options {
  // libonnxruntime.so, 1.17 or later, of a release, a distribution or Python's wheel. Where empty:
  // $FIELDTUNE_ONNXRUNTIME, the one that CMake found, or the system's.
  std::string library;
  int threads = 1;
};

// A rewarded step. `next_observation` is left aside where the bundle's context has none.
struct Transition {
  View observation, action;
  double reward = 0;
  View next_observation;
};

class Policy {
 public:
  // Loads all graphs. Raises PolicyError: no ONNX Runtime, or it refuses a graph.
  explicit Policy(Bundle bundle, const Options& options = {});
  ~Policy();
  Policy(Policy&&) noexcept;
  Policy& operator=(Policy&&) noexcept;

  const Manifest& manifest() const;
  const std::string& bundle_id() const;
  const std::string& runtime_version() const;
  View low() const;  // of actions, (action,)
  View high() const;

  // The mean action: centre + half_range * tanh(mean).
  void act(View observation, View z, Numbers action);

  // A drawn one: centre + half_range * tanh(mean + noise * exp(log_std) * normal), with `normal`
  // standard normal numbers, (action,).
  void act(View observation, View z, View normal, double noise, Numbers action);

  // Before squashing: what policy.onnx itself gives, each (action,).
  void distribution(View observation, View z, Numbers mean, Numbers log_std);

  // The reward that the task `z` would give.
  double decode(View observation, View action, View z);

  // One transition's Gaussian factor, each (latent,). `next_observation` is left aside where the
  // bundle's context has none, here and below.
  void encode(View observation, View action, double reward, View next_observation, Numbers mean,
              Numbers variance);

  // log p of one transition under each particle, up to a constant, (particle,).
  void log_likelihood(View observation, View action, double reward, View next_observation,
                      Numbers found);

  // A posterior of this bundle's with one more transition.
  void update(ParticlePosterior& posterior, View observation, View action, double reward,
              View next_observation);
  void update(GaussianPosterior& posterior, View observation, View action, double reward,
              View next_observation);

  // The posterior with places between its particles, in the stead of those it had before: for after
  // an episode, and not in a control loop, since all of the context, every rewarded transition so
  // far, is weighed there. False, and as it was, where rewards are -1 or 0 (docs/inference.md), or
  // there is no transition or more than kMost. Raises PolicyError, and changes nothing: the
  // posterior is of another number of transitions, or a place cannot be weighed.
  bool refine(ParticlePosterior& posterior, const std::vector<Transition>& context);

  // Run all graphs on one observation, moving nothing. Raises PolicyError where anything that
  // comes out is no number, or no Gaussian.
  void dry_run(View observation);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace fieldtune

#include "fieldtune/policy.hpp"

#include <algorithm>
#include <cmath>

#include "session.hpp"
#include "text.hpp"

namespace fieldtune {
namespace {

// std::min and std::max that keep what is no number, as numpy's do.
double clipped(double value, double low, double high) {
  if (value < low) return low;
  return value > high ? high : value;
}

void require_place(const Numbers& place, std::size_t width, const char* what) {
  if (place.size != width)
    throw PolicyError(std::string("the place for ") + what + " is " + std::to_string(place.size) +
                      " wide, expected " + std::to_string(width));
}

void copy(const float* found, Numbers place) {
  for (std::size_t i = 0; i < place.size; ++i) place[i] = found[i];
}

}  // namespace

struct Policy::Parts {
  Parts(Bundle given, const Options& options)
      : bundle(std::move(given)), runtime(std::make_shared<Runtime>(options.library)) {
    const Manifest& manifest = bundle.manifest;
    for (const auto& field : manifest.action_fields) {
      low.insert(low.end(), field.low.begin(), field.low.end());
      high.insert(high.end(), field.high.begin(), field.high.end());
    }
    for (std::size_t i = 0; i < low.size(); ++i) {
      centre.push_back((high[i] + low[i]) / 2);
      half_range.push_back((high[i] - low[i]) / 2);
    }
    const std::string where = "bundle " + bundle.id.substr(0, 12) + ", ";
    for (const auto& [name, signature] : manifest.signatures()) {
      const bool weighs = name == "likelihood.onnx";
      graphs.push_back(std::make_unique<Graph>(
          runtime, where, name, bundle.graphs.at(name), signature,
          weighs ? rows_weighed() : std::vector<std::int64_t>{1}, options.threads));
    }
    bundle.graphs.clear();  // sessions have their own
    mean.resize(manifest.latent_size);
    variance.resize(manifest.latent_size);
    if (!manifest.likelihood) return;
    weighed.resize(manifest.likelihood->count + kPlaces);
    between.resize(kPlaces * manifest.latent_size);
    total.resize(kPlaces);
  }

  // How many z are weighed at once: the particles, places between them, or both.
  std::vector<std::int64_t> rows_weighed() const {
    const auto count = std::int64_t(bundle.manifest.likelihood->count);
    if (bundle.manifest.fixed_batch) return {count};
    return {count, std::int64_t(kPlaces), count + std::int64_t(kPlaces)};
  }

  void set_transition(Graph& graph, const Transition& seen) const {
    graph.set(0, seen.observation);
    graph.set(1, seen.action);
    graph.set(2, {&seen.reward, 1});
    if (bundle.manifest.context_has_next_observation) graph.set(3, seen.next_observation);
  }

  // log p of one transition under each z, (place, latent), in as many runs as fixed shapes ask for.
  Numbers weigh(const Transition& seen, View z) {
    Graph& graph = likelihood();
    const Manifest& manifest = bundle.manifest;
    const std::size_t latent = manifest.latent_size, places = z.size / latent;
    const std::size_t at_once = manifest.fixed_batch ? manifest.likelihood->count : places;
    const std::size_t last = manifest.context_has_next_observation ? 4 : 3;
    graph.take(std::int64_t(at_once));
    set_transition(graph, seen);
    for (std::size_t begin = 0; begin < places; begin += at_once) {
      const std::size_t some = std::min(at_once, places - begin);
      graph.set_rows(last, {z.data + begin * latent, some * latent});
      graph.run();
      copy(graph.output(0), {weighed.data() + begin, some});
    }
    return {weighed.data(), places};
  }

  void squash(View observation, View z, const double* normal, double noise, Numbers action) {
    require_place(action, low.size(), "the action");
    policy().set(0, observation);
    policy().set(1, z);
    policy().run();
    const float* found = policy().output(0);
    const float* log_std = policy().output(1);
    for (std::size_t i = 0; i < low.size(); ++i) {
      double before = found[i];
      if (normal != nullptr) before = before + noise * std::exp(double(log_std[i])) * normal[i];
      action[i] = clipped(centre[i] + half_range[i] * std::tanh(before), low[i], high[i]);
    }
  }

  Graph& policy() const { return *graphs[0]; }
  Graph& encoder() const { return *graphs[1]; }
  Graph& decoder() const { return *graphs[2]; }
  Graph& likelihood() const {
    if (graphs.size() < 4)
      throw PolicyError("bundle " + bundle.id.substr(0, 12) +
                        " has no particles: it infers by the encoder");
    return *graphs[3];
  }

  Bundle bundle;
  std::shared_ptr<Runtime> runtime;
  std::vector<std::unique_ptr<Graph>> graphs;
  std::vector<double> low, high, centre, half_range, mean, variance, weighed, between, total;
};

Policy::Policy(Bundle bundle, const Options& options)
    : parts_(std::make_unique<Parts>(std::move(bundle), options)) {}
Policy::~Policy() = default;
Policy::Policy(Policy&&) noexcept = default;
Policy& Policy::operator=(Policy&&) noexcept = default;

const Manifest& Policy::manifest() const { return parts_->bundle.manifest; }
const std::string& Policy::bundle_id() const { return parts_->bundle.id; }
const std::string& Policy::runtime_version() const { return parts_->runtime->version(); }
View Policy::low() const { return parts_->low; }
View Policy::high() const { return parts_->high; }

void Policy::act(View observation, View z, Numbers action) {
  parts_->squash(observation, z, nullptr, 0, action);
}

void Policy::act(View observation, View z, View normal, double noise, Numbers action) {
  if (normal.size != parts_->low.size())
    throw PolicyError("the normal numbers are " + std::to_string(normal.size) + " wide, expected " +
                      std::to_string(parts_->low.size()));
  parts_->squash(observation, z, normal.data, noise, action);
}

void Policy::distribution(View observation, View z, Numbers mean, Numbers log_std) {
  require_place(mean, parts_->low.size(), "the mean");
  require_place(log_std, parts_->low.size(), "log_std");
  Graph& policy = parts_->policy();
  policy.set(0, observation);
  policy.set(1, z);
  policy.run();
  copy(policy.output(0), mean);
  copy(policy.output(1), log_std);
}

double Policy::decode(View observation, View action, View z) {
  Graph& decoder = parts_->decoder();
  decoder.set(0, observation);
  decoder.set(1, action);
  decoder.set(2, z);
  decoder.run();
  return *decoder.output(0);
}

void Policy::encode(View observation, View action, double reward, View next_observation,
                    Numbers mean, Numbers variance) {
  require_place(mean, manifest().latent_size, "the mean");
  require_place(variance, manifest().latent_size, "the variance");
  parts_->set_transition(parts_->encoder(), {observation, action, reward, next_observation});
  parts_->encoder().run();
  copy(parts_->encoder().output(0), mean);
  copy(parts_->encoder().output(1), variance);
}

void Policy::log_likelihood(View observation, View action, double reward, View next_observation,
                            Numbers found) {
  parts_->likelihood();  // or it says that there is none
  require_place(found, manifest().likelihood->count, "the log-likelihoods");
  const View z = manifest().likelihood->particles;
  const View weighed = parts_->weigh({observation, action, reward, next_observation}, z);
  std::copy(weighed.data, weighed.data + weighed.size, found.data);
}

void Policy::update(ParticlePosterior& posterior, View observation, View action, double reward,
                    View next_observation) {
  posterior.update(parts_->weigh({observation, action, reward, next_observation}, posterior.z()));
}

bool Policy::refine(ParticlePosterior& posterior, const std::vector<Transition>& context) {
  if (context.size() != posterior.transitions())
    throw PolicyError("a context of " + std::to_string(context.size()) +
                      " transitions, and a posterior of " +
                      std::to_string(posterior.transitions()) + ": expected the same");
  if (manifest().sparse_reward || context.empty() || context.size() > kMost) return false;
  places(posterior, parts_->between);
  std::fill(parts_->total.begin(), parts_->total.end(), 0.0);
  for (const Transition& seen : context) {
    const View weighed = parts_->weigh(seen, parts_->between);
    for (std::size_t i = 0; i < kPlaces; ++i) parts_->total[i] += weighed[i];
  }
  posterior.join(parts_->between, parts_->total);
  return true;
}

void Policy::update(GaussianPosterior& posterior, View observation, View action, double reward,
                    View next_observation) {
  encode(observation, action, reward, next_observation, parts_->mean, parts_->variance);
  posterior.update(parts_->mean, parts_->variance);
}

void Policy::dry_run(View observation) {
  const View z(manifest().task_embeddings.data(), manifest().latent_size);
  std::vector<double> action(low().size), mean(low().size), log_std(low().size);
  const auto require_numbers = [](const char* what, View values) {
    for (std::size_t i = 0; i < values.size; ++i)
      if (!std::isfinite(values[i]))
        throw PolicyError(std::string(what) + " " + text::brief(values[i]) + ": expected numbers");
  };
  act(observation, z, action);
  distribution(observation, z, mean, log_std);
  for (double& value : log_std) value = std::exp(value);
  const double reward = decode(observation, action, z);
  require_numbers("policy.onnx gives the action", action);
  require_numbers("policy.onnx gives the spread", log_std);
  require_numbers("decoder.onnx gives the reward", {&reward, 1});
  GaussianPosterior factor(manifest());
  update(factor, observation, action, reward, observation);
  if (manifest().likelihood) {
    ParticlePosterior weighed(manifest());
    update(weighed, observation, action, reward, observation);
  }
}

}  // namespace fieldtune

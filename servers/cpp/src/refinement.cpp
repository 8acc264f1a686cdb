#include "fieldtune/refinement.hpp"

#include <algorithm>
#include <cmath>
#include <string>

namespace fieldtune {
namespace {

constexpr double kScales[] = {1.0, 0.5, 0.25};  // of the way between two particles, in turn

// A place for each of kPlaces, drawn by weight: systematic resampling.
void resample(const ParticlePosterior& posterior, Numbers found) {
  const View log_weights = posterior.log_weights();
  const double* last = log_weights.data + log_weights.size;
  const double most = *std::max_element(log_weights.data, last);
  double total = 0;
  for (std::size_t i = 0; i < log_weights.size; ++i) total += std::exp(log_weights[i] - most);
  std::size_t parent = 0;
  double passed = std::exp(log_weights[0] - most);
  for (std::size_t i = 0; i < kPlaces; ++i) {
    const double wanted = (double(i) + 0.5) / double(kPlaces) * total;
    while (passed < wanted) passed += std::exp(log_weights[++parent] - most);
    const View z = posterior.particle(parent);
    std::copy(z.data, z.data + z.size, found.data + i * z.size);
  }
}

}  // namespace

void places(const ParticlePosterior& posterior, Numbers found) {
  const std::size_t latent = posterior.latent(), own = posterior.own();
  if (found.size != kPlaces * latent)
    throw PolicyError("the place for places is " + std::to_string(found.size) +
                      " wide, expected " + std::to_string(kPlaces * latent));
  resample(posterior, found);
  const View log_weights = posterior.log_weights();
  const double* last = log_weights.data + log_weights.size;
  const auto differs = [&](double weight) { return weight != log_weights[0]; };
  if (std::none_of(log_weights.data, last, differs)) return;
  for (std::size_t i = 0; i < kPlaces; ++i) {
    const View first = posterior.particle(i % own);
    const View second = posterior.particle((i + (own + 1) / 2) % own);
    const double scale = kScales[i % 3] / std::sqrt(2.0);  // of a difference of two
    for (std::size_t k = 0; k < latent; ++k)
      found[i * latent + k] += scale * (first[k] - second[k]);
  }
  const std::size_t best = std::size_t(std::max_element(log_weights.data, last) - log_weights.data);
  if (best >= own) {  // it would be lost with the places before
    const View likeliest = posterior.particle(best);
    std::copy(likeliest.data, likeliest.data + latent, found.data);
  }
  for (std::size_t k = 0; k < latent; ++k) {
    double low = posterior.particle(0)[k], high = low;
    for (std::size_t i = 1; i < own; ++i) {
      low = std::min(low, posterior.particle(i)[k]);
      high = std::max(high, posterior.particle(i)[k]);
    }
    for (std::size_t i = 0; i < kPlaces; ++i)
      found[i * latent + k] = std::clamp(found[i * latent + k], low, high);
  }
}

}  // namespace fieldtune

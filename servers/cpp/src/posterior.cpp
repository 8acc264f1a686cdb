#include "fieldtune/posterior.hpp"

#include <algorithm>
#include <cmath>
#include <string>

namespace fieldtune {
namespace {

void require(std::size_t found, std::size_t wanted, const char* what) {
  if (found != wanted)
    throw PolicyError(std::string(what) + " is " + std::to_string(found) + " wide, expected " +
                      std::to_string(wanted));
}

}  // namespace

ParticlePosterior::ParticlePosterior(const Manifest& manifest) : latent_(manifest.latent_size) {
  if (!manifest.likelihood)
    throw PolicyError("the bundle has no particles: it infers by the encoder");
  unlike_below_ = manifest.likelihood->unlike_below;
  z_ = manifest.likelihood->particles;
  log_weights_.assign(manifest.likelihood->count, 0.0);
}

void ParticlePosterior::reset() {
  std::fill(log_weights_.begin(), log_weights_.end(), 0.0);
  transitions_ = 0;
}

void ParticlePosterior::update(View log_likelihood) {
  if (log_likelihood.size != size())
    throw PolicyError("log-likelihoods of shape (" + std::to_string(log_likelihood.size) +
                      ",): expected one for each of " + std::to_string(size()) + " particles");
  for (std::size_t i = 0; i < size(); ++i)
    if (!std::isfinite(log_likelihood[i]))
      throw PolicyError("a transition's log-likelihoods are not finite: expected numbers");
  for (std::size_t i = 0; i < size(); ++i) log_weights_[i] += log_likelihood[i];
  ++transitions_;
}

double ParticlePosterior::largest() const {
  return *std::max_element(log_weights_.begin(), log_weights_.end());
}

double ParticlePosterior::total_share() const {
  const double most = largest();
  double total = 0;
  for (const double weight : log_weights_) total += std::exp(weight - most);
  return total;
}

void ParticlePosterior::weights(Numbers found) const {
  require(found.size, size(), "the place for weights");
  const double most = largest();
  double total = 0;
  for (std::size_t i = 0; i < size(); ++i) total += found[i] = std::exp(log_weights_[i] - most);
  for (std::size_t i = 0; i < size(); ++i) found[i] /= total;
}

void ParticlePosterior::mean(Numbers found) const {
  require(found.size, latent_, "the place for z");
  const double most = largest();
  const double total = total_share();
  std::fill(found.data, found.data + latent_, 0.0);
  for (std::size_t i = 0; i < size(); ++i) {
    const double weight = std::exp(log_weights_[i] - most) / total;
    for (std::size_t k = 0; k < latent_; ++k) found[k] += weight * z_[i * latent_ + k];
  }
}

void ParticlePosterior::variance(Numbers found) const {
  require(found.size, latent_, "the place for z");
  const double most = largest();
  const double total = total_share();
  for (std::size_t k = 0; k < latent_; ++k) {
    double centre = 0, spread = 0;
    for (std::size_t i = 0; i < size(); ++i)
      centre += std::exp(log_weights_[i] - most) / total * z_[i * latent_ + k];
    for (std::size_t i = 0; i < size(); ++i) {
      const double away = z_[i * latent_ + k] - centre;
      spread += std::exp(log_weights_[i] - most) / total * away * away;
    }
    found[k] = spread;
  }
}

View ParticlePosterior::likeliest() const {
  const auto best = std::max_element(log_weights_.begin(), log_weights_.end());
  return particle(std::size_t(best - log_weights_.begin()));
}

View ParticlePosterior::sample(double uniform) const {
  if (!(uniform >= 0 && uniform < 1))
    throw PolicyError("uniform is " + std::to_string(uniform) + ", expected a number in [0, 1)");
  const double most = largest();
  const double wanted = uniform * total_share();
  double passed = 0;
  for (std::size_t i = 0; i + 1 < size(); ++i) {
    passed += std::exp(log_weights_[i] - most);
    if (passed > wanted) return particle(i);
  }
  return particle(size() - 1);
}

View ParticlePosterior::decide(double uniform) const {
  const auto differs = [&](double weight) { return weight != log_weights_.front(); };
  return std::any_of(log_weights_.begin(), log_weights_.end(), differs) ? likeliest()
                                                                        : sample(uniform);
}

double ParticlePosterior::effective() const {
  const double most = largest();
  const double total = total_share();
  double squares = 0;
  for (const double weight : log_weights_) {
    const double normalised = std::exp(weight - most) / total;
    squares += normalised * normalised;
  }
  return 1.0 / squares;
}

std::optional<double> ParticlePosterior::explained() const {
  if (transitions_ == 0) return std::nullopt;
  return largest() / double(transitions_);
}

bool ParticlePosterior::unlike() const {
  const auto found = explained();
  return found && *found < unlike_below_;
}

GaussianPosterior::GaussianPosterior(const Manifest& manifest)
    : prior_factor_(manifest.prior_factor),
      precision_(manifest.latent_size),
      precision_mean_(manifest.latent_size) {
  reset();
}

void GaussianPosterior::reset() {
  gives_way_ = !prior_factor_;
  std::fill(precision_.begin(), precision_.end(), 1.0);
  std::fill(precision_mean_.begin(), precision_mean_.end(), 0.0);
}

void GaussianPosterior::update(View mean, View variance) {
  require(mean.size, precision_.size(), "a factor's mean");
  require(variance.size, precision_.size(), "a factor's variance");
  for (std::size_t k = 0; k < precision_.size(); ++k)
    if (!std::isfinite(mean[k]) || !std::isfinite(variance[k]) || !(variance[k] > 0))
      throw PolicyError(
          "a context factor is no Gaussian: expected finite values and variances above 0");
  for (std::size_t k = 0; k < precision_.size(); ++k) {
    const double inverse = 1.0 / variance[k];
    precision_[k] = gives_way_ ? inverse : precision_[k] + inverse;
    precision_mean_[k] = gives_way_ ? mean[k] * inverse : precision_mean_[k] + mean[k] * inverse;
  }
  gives_way_ = false;
}

void GaussianPosterior::mean(Numbers found) const {
  require(found.size, precision_.size(), "the place for z");
  for (std::size_t k = 0; k < precision_.size(); ++k) found[k] = precision_mean_[k] / precision_[k];
}

void GaussianPosterior::variance(Numbers found) const {
  require(found.size, precision_.size(), "the place for z");
  for (std::size_t k = 0; k < precision_.size(); ++k) found[k] = 1.0 / precision_[k];
}

void GaussianPosterior::sample(View normal, Numbers found) const {
  require(normal.size, precision_.size(), "the normal numbers");
  require(found.size, precision_.size(), "the place for z");
  for (std::size_t k = 0; k < precision_.size(); ++k)
    found[k] = precision_mean_[k] / precision_[k] + std::sqrt(1.0 / precision_[k]) * normal[k];
}

}  // namespace fieldtune

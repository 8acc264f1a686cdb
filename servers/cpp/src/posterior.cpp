#include "fieldtune/posterior.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "fieldtune/refinement.hpp"

namespace fieldtune {
namespace {

void require(std::size_t found, std::size_t wanted, const char* what) {
  if (found != wanted)
    throw PolicyError(std::string(what) + " is " + std::to_string(found) + " wide, expected " +
                      std::to_string(wanted));
}

void require_finite(View values, const char* what) {
  for (std::size_t i = 0; i < values.size; ++i)
    if (!std::isfinite(values[i]))
      throw PolicyError(std::string(what) + " are not finite: expected numbers");
}

}  // namespace

ParticlePosterior::ParticlePosterior(const Manifest& manifest) : latent_(manifest.latent_size) {
  if (!manifest.likelihood)
    throw PolicyError("the bundle has no particles: it infers by the encoder");
  unlike_below_ = manifest.likelihood->unlike_below;
  own_ = manifest.likelihood->count;
  z_.reserve((own_ + kPlaces) * latent_);
  log_weights_.reserve(own_ + kPlaces);
  const std::vector<double>& particles = manifest.likelihood->particles;
  z_.assign(particles.begin(), particles.end());
  log_weights_.assign(own_, 0.0);
}

void ParticlePosterior::reset() {
  z_.resize(own_ * latent_);
  log_weights_.resize(own_);
  std::fill(log_weights_.begin(), log_weights_.end(), 0.0);
  transitions_ = 0;
}

void ParticlePosterior::update(View log_likelihood) {
  if (log_likelihood.size != size())
    throw PolicyError("log-likelihoods of shape (" + std::to_string(log_likelihood.size) +
                      ",): expected one for each of " + std::to_string(size()) + " particles");
  require_finite(log_likelihood, "a transition's log-likelihoods");
  for (std::size_t i = 0; i < size(); ++i) log_weights_[i] += log_likelihood[i];
  ++transitions_;
}

void ParticlePosterior::join(View z, View log_weights) {
  require(z.size, kPlaces * latent_, "the places' z");
  require(log_weights.size, kPlaces, "their log-weights");
  require_finite(z, "places");
  require_finite(log_weights, "log-likelihoods of the places added");
  z_.resize(own_ * latent_);
  z_.insert(z_.end(), z.data, z.data + z.size);
  log_weights_.resize(own_);
  log_weights_.insert(log_weights_.end(), log_weights.data, log_weights.data + kPlaces);
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
  const View own(log_weights_.data(), own_);
  const double most = *std::max_element(own.data, own.data + own_);
  double total = 0, squares = 0;
  for (std::size_t i = 0; i < own_; ++i) total += std::exp(own[i] - most);
  for (std::size_t i = 0; i < own_; ++i) {
    const double normalised = std::exp(own[i] - most) / total;
    squares += normalised * normalised;
  }
  return 1.0 / squares;
}

std::optional<double> ParticlePosterior::explained() const {
  if (transitions_ == 0) return std::nullopt;
  const double* own = log_weights_.data();
  return *std::max_element(own, own + own_) / double(transitions_);
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

// The posterior over the task embedding z, one transition at a time: weights of particles, or the
// encoder's product of Gaussians. The algebra of fieldtune.robot.policy's particles.py and
// posterior.py. It must not know networks. Nothing here allocates after construction.
//
// Random numbers come from outside: `uniform` is in [0, 1), as numpy's `Generator.random()`, with
// which a particle is the one that `Generator.choice(n, p=weights)` draws; `normal` are standard
// normal numbers, as `Generator.standard_normal(latent)`.
#pragma once

#include <optional>
#include <vector>

#include "fieldtune/bundle.hpp"
#include "fieldtune/views.hpp"

namespace fieldtune {

// p(z_i | context) ~ prod p(transition | z_i), every particle as likely before any. Its places are
// the bundle's particles and, once it was refined, as many as refinement.hpp says that lie between
// those, at the end.
class ParticlePosterior {
 public:
  // Before any transition. Raises PolicyError for a bundle without particles.
  explicit ParticlePosterior(const Manifest& manifest);

  std::size_t size() const { return log_weights_.size(); }  // places
  std::size_t own() const { return own_; }                   // of them particles of the bundle
  std::size_t latent() const { return latent_; }
  View particle(std::size_t index) const { return {z_.data() + index * latent_, latent_}; }
  View z() const { return z_; }  // (place, latent)
  View log_weights() const { return log_weights_; }
  std::size_t transitions() const { return transitions_; }

  // One more transition, whose log p under each place is told, (place,). Raises PolicyError, and
  // changes nothing, for another number of places, or what is not finite.
  void update(View log_likelihood);
  // Other places between the particles in the stead of those there were, (kPlaces, latent), and the
  // sum of log p of the same transitions under each. Raises PolicyError as `update`.
  void join(View z, View log_weights);
  void reset();  // to the particles, before any transition

  void weights(Numbers found) const;        // (place,), adding up to 1
  void mean(Numbers found) const;           // (latent,)
  void variance(Numbers found) const;       // (latent,)
  View likeliest() const;                   // (latent,), the first of several
  View sample(double uniform) const;        // (latent,), by weight
  View decide(double uniform) const;        // the likeliest; drawn while all are as likely
  double effective() const;                 // 1 / sum w^2 of the bundle's own, among themselves
  std::optional<double> explained() const;  // mean log p a transition of the likeliest of these
  bool unlike() const;                      // worse explained than any training task's context

 private:
  double total_share() const;  // of exp(log weight - the largest)
  double largest() const;      // log weight
  std::size_t latent_, own_, transitions_ = 0;
  double unlike_below_;
  std::vector<double> z_, log_weights_;
};

// q(z | context) = N(0, I) prod N(mean_i, variance_i), diagonal; without the prior's factor where
// the manifest says so.
class GaussianPosterior {
 public:
  explicit GaussianPosterior(const Manifest& manifest);

  // One more factor. Raises PolicyError, and changes nothing, for what is no Gaussian.
  void update(View mean, View variance);
  void reset();

  void mean(Numbers found) const;                 // (latent,), also the likeliest z
  void variance(Numbers found) const;             // (latent,)
  void sample(View normal, Numbers found) const;  // one z
 private:
  bool prior_factor_, gives_way_;
  std::vector<double> precision_, precision_mean_;
};

}  // namespace fieldtune

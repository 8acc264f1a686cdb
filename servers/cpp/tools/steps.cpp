// Runs a bundle over steps from a file of doubles, and writes what comes out:
//   fieldtune_steps BUNDLE STEPS OUT
// A step is observation, z, normal, action, reward, next observation, uniform. What comes out of
// one is mean, log_std, the mean action, a drawn action, the decoded reward, the encoder's mean and
// variance, the Gaussian posterior's mean; and with particles, log-weights, weights, the particle
// that `uniform` draws, the likeliest one, mean, variance and effective number.
#include <fstream>
#include <iostream>
#include <vector>

#include "doubles.hpp"
#include "fieldtune/policy.hpp"

using fieldtune::Numbers;
using fieldtune::View;

int main(int count, char** words) try {
  if (count != 4) {
    std::cerr << "usage: fieldtune_steps BUNDLE STEPS OUT\n";
    return 2;
  }
  fieldtune::Policy policy(fieldtune::read_bundle(words[1]));
  const auto& manifest = policy.manifest();
  const std::size_t seen = manifest.observation_width(), moved = manifest.action_width();
  const std::size_t latent = manifest.latent_size, wide = 2 * seen + latent + 2 * moved + 2;
  const std::vector<double> steps = read_doubles(words[2]);

  std::ofstream out(words[3], std::ios::binary);
  const auto put = [&](View values) { write_doubles(out, values); };
  std::vector<double> a(moved), b(moved), m(latent), v(latent);
  fieldtune::GaussianPosterior gaussian(manifest);
  std::optional<fieldtune::ParticlePosterior> particles;
  if (manifest.likelihood) particles.emplace(manifest);
  std::vector<double> weights(particles ? particles->size() : 0);
  policy.dry_run({steps.data(), seen});
  for (const double* at = steps.data(); at + wide <= steps.data() + steps.size(); at += wide) {
    const double* place = at;
    const auto take = [&](std::size_t size) {
      place += size;
      return View(place - size, size);
    };
    const View observation = take(seen), z = take(latent), normal = take(moved);
    const View action = take(moved);
    const double reward = take(1)[0];
    const View next = take(seen);
    const double uniform = take(1)[0];
    policy.distribution(observation, z, a, b);
    put(a), put(b);
    policy.act(observation, z, a);
    put(a);
    policy.act(observation, z, normal, 0.5, a);
    put(a);
    const double decoded = policy.decode(observation, action, z);
    put({&decoded, 1});
    policy.encode(observation, action, reward, next, m, v);
    put(m), put(v);
    policy.update(gaussian, observation, action, reward, next);
    gaussian.mean(m);
    put(m);
    if (!particles) continue;
    policy.update(*particles, observation, action, reward, next);
    particles->weights(weights);
    put(particles->log_weights()), put(weights);
    put(particles->sample(uniform)), put(particles->likeliest());
    particles->mean(m), particles->variance(v);
    put(m), put(v);
    const double effective = particles->effective();
    put({&effective, 1});
  }
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}

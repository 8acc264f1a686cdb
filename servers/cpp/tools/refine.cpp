// Adapts over steps from a file of doubles, a half of them at a time, refining after each:
//   fieldtune_refine BUNDLE STEPS OUT
// A step is observation, action, reward, next observation. What comes out of a half is every place's
// z and log-weight, the likeliest place, and the effective number and mean log-likelihood of the
// bundle's own particles.
#include <fstream>
#include <iostream>
#include <vector>

#include "doubles.hpp"
#include "fieldtune/policy.hpp"

using fieldtune::View;

int main(int count, char** words) try {
  if (count != 4) {
    std::cerr << "usage: fieldtune_refine BUNDLE STEPS OUT\n";
    return 2;
  }
  fieldtune::Policy policy(fieldtune::read_bundle(words[1]));
  const std::size_t seen = policy.manifest().observation_width();
  const std::size_t moved = policy.manifest().action_width(), wide = 2 * seen + moved + 1;
  const std::vector<double> steps = read_doubles(words[2]);
  std::ofstream out(words[3], std::ios::binary);
  const auto put = [&](View values) { write_doubles(out, values); };

  fieldtune::ParticlePosterior posterior(policy.manifest());
  std::vector<fieldtune::Transition> context;
  const std::size_t many = steps.size() / wide, half = many / 2;
  for (std::size_t step = 0; step < many; ++step) {
    const double* at = steps.data() + step * wide;
    context.push_back({{at, seen}, {at + seen, moved}, at[seen + moved], {at + wide - seen, seen}});
    const auto& last = context.back();
    policy.update(posterior, last.observation, last.action, last.reward, last.next_observation);
    if (step + 1 != half && step + 1 != many) continue;
    if (!policy.refine(posterior, context)) throw fieldtune::PolicyError("it was not refined");
    const double told[] = {posterior.effective(), *posterior.explained()};
    put(posterior.z()), put(posterior.log_weights()), put(posterior.likeliest()), put({told, 2});
  }
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}

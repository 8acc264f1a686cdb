// Times control steps beside the policy's graph alone: fieldtune_pace BUNDLE LIMITS CYCLES OUT.
// Every 4 ms one of either, in turn; OUT gets their nanoseconds, as doubles, pair by pair. A step
// is checking an observation, acting and limiting.
#include <time.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <stdexcept>

#include "../src/session.hpp"
#include "fieldtune/limits.hpp"
#include "fieldtune/policy.hpp"

namespace {

constexpr long kSecond = 1'000'000'000, kPeriod = kSecond / 250;

long now_ns() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * kSecond + time.tv_nsec;
}

void wait_until(long at_ns) {
  const timespec time{at_ns / kSecond, at_ns % kSecond};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nullptr) != 0) {
  }
}

}  // namespace

int main(int count, char** words) try {
  if (count != 5) {
    std::cerr << "usage: fieldtune_pace BUNDLE LIMITS CYCLES OUT\n";
    return 2;
  }
  const fieldtune::Bundle bundle = fieldtune::read_bundle(words[1]);
  const fieldtune::Limits limits = fieldtune::read_limits(words[2]);
  fieldtune::require_fit(limits, bundle.manifest);
  const long cycles = std::atol(words[3]);
  if (cycles < 1) throw std::runtime_error(std::string("CYCLES is ") + words[3] + ": at least 1");
  const auto [name, signature] = bundle.manifest.signatures().front();
  fieldtune::Graph alone(std::make_shared<fieldtune::Runtime>(""), "", name, bundle.graphs.at(name),
                         signature, {1}, 1);
  fieldtune::Policy policy(bundle);
  const std::size_t moved = limits.low.size(), seen = limits.fault_low.size();
  const std::vector<double> z(bundle.manifest.latent_size, 0.1);
  std::vector<double> observation(seen), action(moved), allowed(moved), previous(moved),
      before(moved);
  std::vector<double> found;
  found.reserve(std::size_t(2 * cycles));
  const long begins = now_ns() + kPeriod;
  for (long cycle = 0; cycle < 2 * cycles; ++cycle) {
    for (std::size_t i = 0; i < seen; ++i)
      observation[i] = std::clamp(0.1 * double((std::size_t(cycle) * 31 + i * 17) % 97) / 97,
                                  limits.fault_low[i], limits.fault_high[i]);
    wait_until(begins + cycle * kPeriod);
    const long started = now_ns();
    if (cycle % 2 == 0) {
      fieldtune::check_observation(observation, 0, limits, {}, limits.period_s, 0);
      policy.act(observation, z, action);
      fieldtune::allow(action, previous, before, observation, limits, allowed);
      before.swap(previous);
      previous.swap(allowed);
    } else {
      alone.run();
    }
    found.push_back(double(now_ns() - started));
  }
  std::ofstream out(words[4], std::ios::binary);
  out.write(reinterpret_cast<const char*>(found.data()),
            std::streamsize(found.size() * sizeof(double)));
  if (!out.flush()) throw std::runtime_error(std::string(words[4]) + " cannot be written");
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}

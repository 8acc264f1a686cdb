// Applies limits to commands from a file of doubles: fieldtune_limits LIMITS STEPS OUT.
// A step is a command and an observation; what comes out is the allowed action and the rules that
// changed it. The first step begins an episode.
#include "fieldtune/limits.hpp"

#include <fstream>
#include <iostream>
#include <iterator>

int main(int count, char** words) try {
  if (count != 4) {
    std::cerr << "usage: fieldtune_limits LIMITS STEPS OUT\n";
    return 2;
  }
  const fieldtune::Limits limits = fieldtune::read_limits(words[1]);
  const std::size_t moved = limits.low.size(), seen = limits.fault_low.size();
  std::ifstream file(words[2], std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  std::vector<double> steps(bytes.size() / sizeof(double));
  std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char*>(steps.data()));
  std::ofstream out(words[3], std::ios::binary);
  std::vector<double> action(moved), previous, before, found(moved + 1);
  std::vector<double> stood(moved);
  for (std::size_t at = 0; at + moved + seen <= steps.size(); at += moved + seen) {
    const fieldtune::View command(&steps[at], moved), observation(&steps[at + moved], seen);
    const unsigned rules = fieldtune::allow(command, previous, before, observation, limits, action);
    if (previous.empty()) {
      fieldtune::staying(observation, limits, stood);
      before = stood;
    } else {
      before = previous;
    }
    previous = action;
    std::copy(action.begin(), action.end(), found.begin());
    found[moved] = rules;
    out.write(reinterpret_cast<const char*>(found.data()),
              std::streamsize(found.size() * sizeof(double)));
  }
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}

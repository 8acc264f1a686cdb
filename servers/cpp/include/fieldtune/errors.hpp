// What goes wrong, by kind. Each message names the file, the field or the number, and the cure.
#pragma once

#include <stdexcept>
#include <string>

namespace fieldtune {

// A bundle cannot be trusted or used.
class BundleError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A graph cannot be loaded or run, or gives what no policy may give.
class PolicyError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Something that must not be acted on: bring the robot to rest. The text is fixed when it is
// thrown, and throwing is the one thing in a control loop that allocates.
class LimitFault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace fieldtune

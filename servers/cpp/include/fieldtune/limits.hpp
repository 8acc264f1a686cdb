// The robot's limits as pure functions of command, state, limits and period: the rules, the order
// and the numbers of fieldtune.robot.safety, for robots whose joints do not wrap. The numbers come
// from `fieldtune-robot bundle limits`, which builds them from the robot's config and the bundle as
// the daemon does. Nothing here allocates but a fault that is thrown.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fieldtune/bundle.hpp"
#include "fieldtune/errors.hpp"
#include "fieldtune/views.hpp"

namespace fieldtune {

// Where a group's joints are in a vector; value * factor is in rad, m, seconds, N m, N.
struct Reading {
  std::size_t start = 0;
  double factor = 1.0;
  double of(View vector, std::size_t joint) const { return vector[start + joint] * factor; }
};

enum class Command { kNone, kPosition, kVelocity, kDisplacement, kEffort };

// One group of joints: a number a joint, infinite where nothing is limited.
struct JointLimits {
  std::vector<std::string> names;
  std::vector<double> low, high, max_velocity, max_acceleration, effort_low, effort_high;
  std::vector<double> reach_low, reach_high;  // empty where nothing else bounds commanded positions
  std::optional<Reading> position, velocity, effort, command;
  Command kind = Command::kNone;

  bool moves() const { return command && kind != Command::kEffort; }
};

// Everything that is allowed, in physical units. `range` is what the policy was made for: outside
// is a fault; `low` and `high` the allowed part of it: outside is clamped.
struct Limits {
  double period_s = 0;
  std::vector<std::string> action_names, observation_names;
  std::vector<double> range_low, range_high, low, high, rate;
  std::vector<double> fault_low, fault_high, box_low, box_high;
  std::vector<std::int64_t> box_action;  // what a box holds, -1 for none
  double observation_age_s = 0;
  std::int64_t frozen_periods = 0;  // 0: for ever
  std::vector<JointLimits> joints;
};

// What `fieldtune-robot bundle limits` wrote. Raises BundleError.
Limits read_limits(const std::string& path);

// Raises BundleError unless the limits were written for a bundle with these actions and
// observations, by name and in this order, and with this period.
void require_fit(const Limits& limits, const Manifest& manifest);

// Which rules changed a command.
enum Rule : unsigned {
  kRange = 1,
  kRate = 2,
  kAcceleration = 4,
  kVelocity = 8,
  kPosition = 16,
  kEffort = 32,
  kBox = 64,
};

// Raises LimitFault unless the observation may be acted on: numbers, within its range, no older
// than is allowed, not frozen, and every joint within its limits by 5 %.
// `earlier` is the observation before, `elapsed_s` ago (a period at least); empty at the start.
// `repeats` says how often in a row it has been the same to the last bit.
void check_observation(View observation, double age_s, const Limits& limits, View earlier,
                       double elapsed_s, std::int64_t repeats);

// The allowed action nearest to `command` into `action`; gives the rules that changed it.
// `previous` and `before` are the actions allowed one and two periods ago: `previous` empty at an
// episode's start, `before` then too, and in the second period what `staying` said about the
// first observation. Raises LimitFault for a command that is no number or outside the range that
// the policy was made for.
unsigned allow(View command, View previous, View before, View observation, const Limits& limits,
               Numbers action);

// The command that leaves each joint where it is.
void staying(View observation, const Limits& limits, Numbers action);

}  // namespace fieldtune

#include "fieldtune/limits.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "text.hpp"

namespace fieldtune {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kRounding = 1e-6;  // of a range: a command this far outside is not a broken policy
constexpr double kFar = 1e12;       // rad or m: where a joint has no end
constexpr double kFaultMargin = 0.05;  // observed: joints rest a little past their stops
using text::brief;

std::string between(double low, double high) { return "[" + brief(low) + ", " + brief(high) + "]"; }

// One number and the rules that changed it.
class Asked {
 public:
  Asked(double value, unsigned& rules) : value_(value), rules_(rules) {}
  void keep(double low, double high, Rule rule) {
    const double inside = std::min(std::max(value_, low), high);
    if (inside != value_) rules_ |= rule;
    value_ = inside;
  }
  double value() const { return value_; }

 private:
  double value_;
  unsigned& rules_;
};

// The highest speed for one period after which braking still ends before `distance`:
// v = 2 distance / (T + sqrt(T^2 + 2 distance / a)).
double approach(double distance, double acceleration, double period_s) {
  const double room = 2 * std::min(std::max(distance, 0.0), kFar);
  return room / (period_s + std::sqrt(period_s * period_s + room / acceleration));
}

void require(const char* what, double value, double low, double high, const JointLimits& joints,
             std::size_t joint) {
  if (value < low || value > high)
    throw LimitFault("joint " + joints.names[joint] + ": " + what + " " + brief(value) +
                     " observed, outside " + between(low, high) +
                     ": look at what moved it before re-arming");
}

void check_joint(View observation, View earlier, double elapsed_s, const JointLimits& joints,
                 std::size_t k) {
  const double more = 1 + kFaultMargin;
  if (joints.position) {
    const double span = joints.high[k] - joints.low[k];
    const double margin = std::isfinite(span) ? kFaultMargin * span : 0.0;
    require("position", joints.position->of(observation, k), joints.low[k] - margin,
            joints.high[k] + margin, joints, k);
  }
  if (joints.effort)
    require("effort", joints.effort->of(observation, k), more * joints.effort_low[k],
            more * joints.effort_high[k], joints, k);
  const double fastest = more * joints.max_velocity[k];
  if (joints.velocity)
    require("velocity", joints.velocity->of(observation, k), -fastest, fastest, joints, k);
  else if (joints.position && earlier.size != 0)
    require("velocity",
            (joints.position->of(observation, k) - joints.position->of(earlier, k)) / elapsed_s,
            -fastest, fastest, joints, k);
  if (joints.velocity && earlier.size != 0 && !joints.moves()) {
    const double change = joints.velocity->of(observation, k) - joints.velocity->of(earlier, k);
    const double most = more * joints.max_acceleration[k];
    require("acceleration", change / elapsed_s, -most, most, joints, k);
  }
}

// A command that says where to be or how fast to go, in the command's own terms.
void keep_motion(Asked& asked, View previous, View before, View observation,
                 const JointLimits& joints, std::size_t k, double period_s) {
  const Reading& command = *joints.command;
  double scale = joints.kind == Command::kVelocity ? 1.0 : period_s, offset = 0, last = 0;
  double here = joints.position ? joints.position->of(observation, k) : 0;
  if (joints.kind == Command::kPosition) {
    offset = previous.size != 0 ? command.of(previous, k) : here;
    if (previous.size != 0 && before.size != 0) last = (offset - command.of(before, k)) / period_s;
    here = offset;
  } else if (previous.size != 0) {
    last = command.of(previous, k) / scale;
  }
  const auto keep = [&](double low, double high, Rule rule) {
    asked.keep((offset + low * scale) / command.factor, (offset + high * scale) / command.factor,
               rule);
  };
  const double acceleration = joints.max_acceleration[k], change = acceleration * period_s;
  keep(last - change, last + change, kAcceleration);
  keep(-joints.max_velocity[k], joints.max_velocity[k], kVelocity);
  if (!joints.position) return;
  double down = approach(here - joints.low[k], acceleration, period_s);
  double up = approach(joints.high[k] - here, acceleration, period_s);
  if (!joints.reach_low.empty()) {
    down = std::min(down, approach(offset - joints.reach_low[k], acceleration, period_s));
    up = std::min(up, approach(joints.reach_high[k] - offset, acceleration, period_s));
  }
  keep(-down, up, kPosition);
}

// What the motor may do, and nothing outwards at a limit of motion.
void keep_effort(Asked& asked, View observation, const JointLimits& joints, std::size_t k) {
  const double factor = joints.command->factor;
  asked.keep(joints.effort_low[k] / factor, joints.effort_high[k] / factor, kEffort);
  const auto stop = [&](const std::optional<Reading>& reading, double low, double high, Rule rule) {
    if (!reading) return;
    const double now = reading->of(observation, k);
    asked.keep(now <= low ? 0.0 : -kInfinity, now >= high ? 0.0 : kInfinity, rule);
  };
  stop(joints.velocity, -joints.max_velocity[k], joints.max_velocity[k], kVelocity);
  stop(joints.position, joints.low[k], joints.high[k], kPosition);
}

// Raises where a joint stands so far outside the range of its target that it would jump there.
void require_in_range(View observation, const Limits& limits) {
  for (const auto& joints : limits.joints) {
    if (joints.kind != Command::kPosition || !joints.command || !joints.position) continue;
    for (std::size_t k = 0; k < joints.names.size(); ++k) {
      const std::size_t i = joints.command->start + k;
      const double factor = joints.command->factor;
      const double here = joints.position->of(observation, k) / factor;
      const double away = std::max(limits.low[i] - here, here - limits.high[i]);
      double step = std::min(limits.rate[i], joints.max_velocity[k] / factor) * limits.period_s;
      if (!std::isfinite(step)) step = kFaultMargin * (limits.high[i] - limits.low[i]);
      if (away > step)
        throw LimitFault("joint " + joints.names[k] + " stands at " + brief(here) +
                         ", and may only be told " + brief(limits.low[i]) + " to " +
                         brief(limits.high[i]) + ": it would jump by " + brief(away) +
                         " in one period: bring it there by hand, home it there, or let the range "
                         "of the action (robot.limits.action_range) hold where it stands");
    }
  }
}

void require_sound(View command, const Limits& limits) {
  for (std::size_t i = 0; i < command.size; ++i)
    if (!std::isfinite(command[i]))
      throw LimitFault("the policy's action " + limits.action_names[i] + " is " +
                       brief(command[i]));
  for (std::size_t i = 0; i < command.size; ++i) {
    const double low = limits.range_low[i], high = limits.range_high[i];
    const double slack = kRounding * (high - low);
    if (command[i] < low - slack || command[i] > high + slack)
      throw LimitFault("the policy's action " + limits.action_names[i] + " is " +
                       brief(command[i]) + ", outside " + between(low, high));
  }
}

bool says_motion(const Limits& limits, std::size_t action) {
  for (const auto& joints : limits.joints)
    if (joints.moves() && action >= joints.command->start &&
        action < joints.command->start + joints.names.size())
      return true;
  return false;
}

}  // namespace

void check_observation(View observation, double age_s, const Limits& limits, View earlier,
                       double elapsed_s, std::int64_t repeats) {
  if (observation.size != limits.fault_low.size())
    throw LimitFault("the observation has shape (" + std::to_string(observation.size) +
                     ",), expected (" + std::to_string(limits.fault_low.size()) + ",)");
  for (std::size_t i = 0; i < observation.size; ++i) {
    const double value = observation[i], low = limits.fault_low[i], high = limits.fault_high[i];
    if (value >= low && value <= high) continue;  // false for what is no number too
    const std::string said = "observation " + limits.observation_names[i] + " is " + brief(value);
    throw LimitFault(std::isfinite(value) ? said + ", outside " + between(low, high) : said);
  }
  if (!(age_s <= limits.observation_age_s))
    throw LimitFault("the observation is " + brief(age_s) + " s old, at most " +
                     brief(limits.observation_age_s) +
                     " s are allowed: check the sensors' link, or the load of this machine");
  if (age_s < -limits.observation_age_s)
    throw LimitFault("the observation was sensed " + brief(-age_s) +
                     " s from now: times must be of this robot's monotonic clock");
  if (limits.frozen_periods != 0 && repeats >= limits.frozen_periods)
    throw LimitFault("the observation has been the same to the last bit for " +
                     std::to_string(repeats) +
                     " periods: check the sensors; where they may stand still, raise "
                     "robot.limits.frozen_periods");
  for (const auto& joints : limits.joints)
    for (std::size_t k = 0; k < joints.names.size(); ++k)
      check_joint(observation, earlier, elapsed_s, joints, k);
}

unsigned allow(View command, View previous, View before, View observation, const Limits& limits,
               Numbers action) {
  const std::size_t width = limits.low.size();
  if (command.size != width || action.size != width)
    throw LimitFault("the policy's action has shape (" + std::to_string(command.size) +
                     ",), not (" + std::to_string(width) + ",)");
  const bool first = previous.size == 0;
  if (first) require_in_range(observation, limits);
  require_sound(command, limits);
  unsigned rules = 0;
  if (first) staying(observation, limits, action);  // what a first command starts from
  for (std::size_t i = 0; i < width; ++i) {
    Asked asked(command[i], rules);
    asked.keep(limits.low[i], limits.high[i], kRange);
    if (std::isfinite(limits.rate[i]) && (!first || says_motion(limits, i))) {
      const double start = first ? action[i] : previous[i], step = limits.rate[i] * limits.period_s;
      asked.keep(start - step, start + step, kRate);
    }
    action[i] = asked.value();
  }
  for (const auto& joints : limits.joints) {
    if (!joints.command) continue;
    for (std::size_t k = 0; k < joints.names.size(); ++k) {
      double& place = action[joints.command->start + k];
      Asked asked(place, rules);
      if (joints.moves())
        keep_motion(asked, previous, before, observation, joints, k, limits.period_s);
      else
        keep_effort(asked, observation, joints, k);
      place = asked.value();
    }
  }
  for (std::size_t i = 0; i < observation.size; ++i) {
    if (limits.box_action[i] < 0) continue;
    double& place = action[std::size_t(limits.box_action[i])];
    Asked asked(place, rules);
    asked.keep(observation[i] <= limits.box_low[i] ? 0.0 : -kInfinity,
               observation[i] >= limits.box_high[i] ? 0.0 : kInfinity, kBox);
    place = asked.value();
  }
  for (std::size_t i = 0; i < width; ++i) {
    Asked asked(action[i], rules);
    asked.keep(limits.low[i], limits.high[i], kRange);
    action[i] = asked.value();
  }
  return rules;
}

void staying(View observation, const Limits& limits, Numbers action) {
  std::fill(action.data, action.data + action.size, 0.0);
  for (const auto& joints : limits.joints) {
    if (joints.kind != Command::kPosition || !joints.command || !joints.position) continue;
    for (std::size_t k = 0; k < joints.names.size(); ++k)
      action[joints.command->start + k] =
          joints.position->of(observation, k) / joints.command->factor;
  }
}

}  // namespace fieldtune

// Serves two simulated joints that follow velocity commands: the example to start from.
//
//   make && build/serve_joints --address tcp://127.0.0.1:5790
//
// Time runs for real: a joint whose command is not renewed goes on turning until it is held.
// ../serve_joints.py is the same robot.

#include <csignal>

#include "hardware_server.hpp"

namespace {

constexpr double kStopRad = 2.9;
constexpr double kFastestRadS = 1.0;
constexpr double kHomingRadS = 0.2;
constexpr std::size_t kJoints = 2;

hardware::Description describe() {
  const double infinity = std::numeric_limits<double>::infinity();
  const auto both = [](double value) { return std::vector<double>(kJoints, value); };
  hardware::Description description;
  description.robot = "joints";
  description.period_s = 0.02;
  description.max_lease_s = 0.5;
  description.observation = {{"position", "rad", both(-kStopRad), both(kStopRad)},
                             {"velocity", "rad/s", both(-infinity), both(infinity)}};
  description.action = {{"velocity", "rad/s", both(-kFastestRadS), both(kFastestRadS)}};
  return description;
}

// Integrators between two stops.
class Joints : public hardware::Plant {
 public:
  // Turn towards up to 0.2 rad, by the seed's bytes.
  void home(std::uint64_t seed) override {
    advance();
    homing_ = true;
    for (std::size_t i = 0; i < kJoints; ++i) goal_[i] = 0.2 * double(seed >> 8 * i & 0xFF) / 255;
  }

  bool homed() override {
    advance();
    return !homing_;
  }

  hardware::Sensed sense() override {
    advance();
    hardware::Sensed sensed;
    sensed.values = {position_[0], position_[1], velocity_[0], velocity_[1]};
    sensed.sense_ns = at_ns_;
    return sensed;
  }

  // Turn at these velocities from now on; none at a stop and outwards.
  std::vector<double> apply(const std::vector<double>& action) override {
    advance();
    homing_ = false;
    for (std::size_t i = 0; i < kJoints; ++i) {
      const bool outwards = position_[i] * action[i] > 0;
      velocity_[i] = std::abs(position_[i]) >= kStopRad && outwards ? 0.0 : action[i];
    }
    return {velocity_[0], velocity_[1]};
  }

  void hold() override {
    advance();
    homing_ = false;
    for (double& velocity : velocity_) velocity = 0.0;
  }

 private:
  void advance() {
    const std::int64_t now = hardware::now_ns();
    const double elapsed_s = double(now - at_ns_) / 1e9;
    at_ns_ = now;
    if (homing_) {
      turn_home(elapsed_s);
      return;
    }
    for (std::size_t i = 0; i < kJoints; ++i) {
      const double position = position_[i] + velocity_[i] * elapsed_s;
      position_[i] = std::clamp(position, -kStopRad, kStopRad);
      if (std::abs(position) >= kStopRad && position * velocity_[i] > 0) velocity_[i] = 0.0;
    }
  }

  void turn_home(double elapsed_s) {
    const double most = kHomingRadS * elapsed_s;
    bool there = true;
    for (std::size_t i = 0; i < kJoints; ++i) {
      const double left = goal_[i] - position_[i];
      position_[i] += std::clamp(left, -most, most);
      velocity_[i] = 0.0;
      there = there && std::abs(left) <= most;
    }
    if (there) homing_ = false;
  }

  double position_[kJoints] = {}, velocity_[kJoints] = {}, goal_[kJoints] = {};
  bool homing_ = false;
  std::int64_t at_ns_ = hardware::now_ns();
};

std::atomic<bool> stopping{false};

}  // namespace

int main(int count, char** arguments) {
  std::string address = "tcp://127.0.0.1:5790";
  hardware::Keys keys;
  for (int i = 1; i < count; i += 2) {
    const std::string option = arguments[i];
    if (i + 1 == count || (option != "--address" && option != "--key" && option != "--allow")) {
      std::cerr << "usage: serve_joints [--address ADDRESS] [--key FILE --allow PUBLIC_KEY ...]\n";
      return 2;
    }
    const std::string value = arguments[i + 1];
    if (option == "--address") address = value;
    if (option == "--key") keys.secret_file = value;
    if (option == "--allow") keys.allowed.push_back(value);
  }
  for (int number : {SIGINT, SIGTERM}) std::signal(number, [](int) { stopping = true; });
  try {
    Joints joints;
    hardware::Server(joints, describe(), address, keys).run(stopping);
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << std::endl;
    return 1;
  }
  return 0;
}

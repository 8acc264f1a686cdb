// Who may move the hardware, and for how long: the rules that a hardware server keeps.
//
// Turns a frame into an answer and knows no sockets; docs/drivers.md tells the rules, and
// ../hardware_rules.py is the same in Python.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <map>
#include <random>

#include "hardware_frames.hpp"

namespace hardware {

// The hardware. Every call should return well within a control period; any may throw.
struct Plant {
  virtual ~Plant() = default;
  // Set out for the start of an episode; `seed` picks among allowed starts.
  virtual void home(std::uint64_t seed) = 0;
  // Whether the start is reached. Asked often while homing.
  virtual bool homed() = 0;
  virtual Sensed sense() = 0;
  // Command one action, finite and within its bounds; return what was really sent.
  virtual std::vector<double> apply(const std::vector<double>& action) = 0;
  // Enter the safe state: stop where it is, whatever it was doing, homing included. Called again
  // and again where it throws.
  virtual void hold() = 0;
};

inline std::int64_t now_ns() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

// One plant under one session at a time. Call `watch` at least every few milliseconds: it is what
// brings the hardware to rest.
class Rules {
 public:
  Rules(Plant& plant, Description description)
      : plant_(plant), description_(std::move(description)) {
    for (const Field& field : description_.action) {
      low_.insert(low_.end(), field.low.begin(), field.low.end());
      high_.insert(high_.end(), field.high.begin(), field.high.end());
    }
  }

  // Bring the hardware to rest if what moves it has expired; notice that homing is done.
  void watch() {
    if (!unheld_.empty()) hold();
    if (state_ == State::Homing) {
      try {
        if (plant_.homed()) state_ = State::Ready;
      } catch (const std::exception& error) {
        rest(std::string("homing failed: ") + error.what());
        return;
      }
    }
    if (moving() && now_ns() >= expiry_ns_)
      rest(std::string("the lease ran out while ") + name(state_));
  }

  // Bring the hardware to its safe state; only homing leads out of it.
  void rest(const std::string& why) {
    hold();
    if (state_ != State::Resting) std::cerr << "at rest: " << why << std::endl;
    state_ = State::Resting;
    why_ = why;
  }

  // The answer to one frame; empty for bytes that are no frame.
  std::string handle(const char* data, std::size_t size) {
    const std::int64_t received_ns = now_ns();
    watch();
    const auto who = sender(data, size);
    if (!who) {
      tell("noise", std::to_string(size) + " bytes that are no frame");
      return {};
    }
    Answer answer;
    try {
      answer = this->answer(read_request(data, size, low_.size()));
    } catch (const Refused& refused) {
      const std::string code = std::to_string(unsigned(refused.code));
      tell(code, "refused (" + code + "): " + refused.what());
      answer = {Say::Refused, write_refusal(refused.code, refused.what())};
    }
    const std::int64_t replied_ns = now_ns();
    if (answer.say == Say::Observation) {
      observed_ = who->sequence;
      observed_ns_ = replied_ns;
    }
    return write_reply(answer.say, *who, received_ns, replied_ns, answer.body);
  }

  // Log, but no more than a line of a kind in ten seconds: strangers must not fill a disk.
  void tell(const std::string& kind, const std::string& message) {
    const std::int64_t now = now_ns();
    const auto told = told_.find(kind);
    if (told != told_.end() && now - told->second < 10'000'000'000) return;
    told_[kind] = now;
    std::cerr << message << std::endl;
  }

 private:
  struct Answer {
    Say say{};
    std::string body;
  };

  void hold() {
    try {
      plant_.hold();
      unheld_.clear();
    } catch (const std::exception& error) {
      unheld_ = std::string("the plant cannot hold: ") + error.what();
      tell("hold", unheld_ + ": tried again until it does");
    }
  }

  void require_held() const {
    if (!unheld_.empty()) throw Refused(Code::Hardware, unheld_);
  }

  Answer answer(const Request& request) {
    if (request.ask == Ask::Hello)
      return {Say::Description, write_description(description_, hello(request))};
    if (session_ == 0 || request.session != session_)
      throw Refused(Code::Session, "this session does not hold the robot: say hello");
    take_sequence(request);
    try {
      return carry_out(request);
    } catch (const Refused&) {
      throw;
    } catch (const std::exception& error) {
      rest(std::string("the hardware failed: ") + error.what());
      throw Refused(Code::Hardware, error.what());
    }
  }

  Answer carry_out(const Request& request) {
    switch (request.ask) {
      case Ask::Sense:
        if (state_ == State::Homing && expiry(request) > now_ns()) expiry_ns_ = expiry(request);
        return {Say::Observation, sense()};
      case Ask::Hold:
        rest("asked to hold");
        require_held();
        return {Say::Held, {}};
      case Ask::Home:
        require_held();
        require_fresh(request);
        state_ = State::Homing;
        expiry_ns_ = expiry(request);
        plant_.home(request.seed);
        return {Say::Homing, {}};
      default:
        break;
    }
    if (state_ != State::Ready && state_ != State::Driven)
      throw Refused(Code::State, std::string("the robot is ") + name(state_) + ": " + why_);
    require_sound(request.action);
    require_fresh(request);
    state_ = State::Driven;
    expiry_ns_ = expiry(request);
    const std::vector<double> applied = plant_.apply(request.action);
    if (applied.size() != low_.size())
      throw std::runtime_error("the plant says that it applied another number of components");
    std::string body;
    put_numbers(body, applied);
    return {Say::Applied, body};
  }

  // The session granted. The same hello again changes nothing; another one takes over.
  std::uint64_t hello(const Request& request) {
    if (session_ != 0 && request.session == nonce_) {
      take_sequence(request);
      return session_;
    }
    if (moving())
      throw Refused(Code::Session, "another session moves the robot: wait until it has ended");
    rest("another session took over");
    std::random_device chance;
    nonce_ = request.session;
    session_ = (std::uint64_t(chance()) << 32 | chance()) | 1;
    sequence_ = request.sequence;
    observed_ = 0;
    return session_;
  }

  void take_sequence(const Request& request) {
    if (request.sequence <= sequence_)
      throw Refused(Code::Sequence, "sequence " + std::to_string(request.sequence) +
                                        " came after " + std::to_string(sequence_));
    sequence_ = request.sequence;
  }

  bool moving() const { return state_ == State::Homing || state_ == State::Driven; }

  // When a request ends to act: its lease counts from the observation that it answers.
  std::int64_t expiry(const Request& request) const {
    if (observed_ == 0 || request.answers != observed_) return 0;
    const auto most = std::uint64_t(std::llround(description_.max_lease_s * 1e9));
    return observed_ns_ + std::int64_t(std::min(request.lease_ns, most));
  }

  void require_fresh(const Request& request) const {
    if (observed_ == 0 || request.answers != observed_)
      throw Refused(Code::Late, "answers observation " + std::to_string(request.answers) +
                                    ", the latest is " + std::to_string(observed_));
    const std::int64_t now = now_ns();
    if (now >= expiry(request)) {
      char text[120];
      std::snprintf(text, sizeof text,
                    "the observation it answers left %.3f s ago, longer than its lease",
                    double(now - observed_ns_) / 1e9);
      throw Refused(Code::Late, text);
    }
  }

  void require_sound(const std::vector<double>& action) const {
    for (std::size_t i = 0; i < action.size(); ++i)
      if (!(low_[i] <= action[i] && action[i] <= high_[i])) {  // also false for NaN
        char text[120];
        std::snprintf(text, sizeof text, "action component %zu is %g, outside [%g, %g]", i,
                      action[i], low_[i], high_[i]);
        throw Refused(Code::Value, text);
      }
  }

  std::string sense() {
    const Sensed sensed = plant_.sense();
    if (sensed.values.size() != Description::width(description_.observation) ||
        (!sensed.signals.empty() &&
         sensed.signals.size() != Description::width(description_.signals)))
      throw std::runtime_error("the plant senses other widths than are described");
    return write_observation(sensed, state_);
  }

  static const char* name(State state) {
    static const char* const names[] = {"resting", "homing", "ready", "driven"};
    return names[unsigned(state)];
  }

  Plant& plant_;
  const Description description_;
  std::vector<double> low_, high_;
  State state_ = State::Resting;
  std::string why_ = "nobody has homed it";
  std::string unheld_;  // why the plant could not hold when it had to
  std::uint64_t nonce_ = 0, session_ = 0, sequence_ = 0;
  std::uint64_t observed_ = 0;  // the latest observation given out: its sequence, and when
  std::int64_t observed_ns_ = 0, expiry_ns_ = 0;
  std::map<std::string, std::int64_t> told_;
};

}  // namespace hardware

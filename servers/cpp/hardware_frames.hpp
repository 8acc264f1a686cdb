// The frames between Fieldtune's `zmq` driver and a hardware server: their layout, server's side.
//
// docs/drivers.md describes every byte; ../hardware_frames.py is the same in Python. Nothing here
// knows the rules, sockets or hardware. Needs C++17 and a little-endian machine.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "frames are little-endian: swap bytes in put() and get() for this machine"
#endif

namespace hardware {

constexpr char kMagic[4] = {'F', 'T', 'H', 'W'};
constexpr std::uint16_t kVersion = 1;
constexpr std::size_t kMaxFrameBytes = 64 * 1024;
constexpr std::size_t kMaxTextBytes = 512;
constexpr std::size_t kStartBytes = 24;    // magic, version, kind, session, sequence: every version
constexpr std::size_t kRequestBytes = 40;

enum class Ask : std::uint16_t { Hello = 1, Sense, Home, Command, Hold };
enum class Say : std::uint16_t { Description = 101, Observation, Homing, Applied, Held, Refused };
enum class Code : std::uint32_t {
  Version = 1, Malformed, Session, Sequence, Late, State, Value, Hardware
};
enum class State : std::uint32_t {
  Resting,  // at rest until somebody homes it
  Homing,   // on its way to a start
  Ready,    // at its start, waiting for a first command
  Driven,   // under a command that has not expired
};

// One named, ordered group of numbers; `low` and `high` have one entry a component.
struct Field {
  std::string name, unit;
  std::vector<double> low, high;
};

// What the hardware offers. No command acts for longer than `max_lease_s`.
struct Description {
  std::string robot;
  double period_s = 0.0;
  double max_lease_s = 0.0;
  std::vector<Field> observation, action, signals;

  static std::size_t width(const std::vector<Field>& fields) {
    std::size_t sum = 0;
    for (const Field& field : fields) sum += field.low.size();
    return sum;
  }
};

// What was measured, and when, on this machine's monotonic clock.
struct Sensed {
  std::vector<double> values;
  std::int64_t sense_ns = 0;
  bool terminated = false;
  std::vector<double> signals;
};

struct Request {
  Ask ask{};
  std::uint64_t session = 0, sequence = 0, answers = 0, lease_ns = 0;
  std::uint64_t seed = 0;      // of Home
  std::vector<double> action;  // of Command
};

// A request that is not carried out, and why.
struct Refused : std::runtime_error {
  Refused(Code why, const std::string& reason) : std::runtime_error(reason), code(why) {}
  Code code;
};

// Who sent a frame, of any version.
struct Sender {
  std::uint64_t session, sequence;
};

template <typename T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <typename T>
T get(const char* data) {
  T value;
  std::memcpy(&value, data, sizeof value);
  return value;
}

inline std::optional<Sender> sender(const char* data, std::size_t size) {
  if (size < kStartBytes || size > kMaxFrameBytes || std::memcmp(data, kMagic, 4) != 0) return {};
  return Sender{get<std::uint64_t>(data + 8), get<std::uint64_t>(data + 16)};
}

// The request in a frame that has a sender. Throws Refused, and nothing else of its own.
inline Request read_request(const char* data, std::size_t size, std::size_t action_width) {
  const auto version = get<std::uint16_t>(data + 4);
  const auto kind = get<std::uint16_t>(data + 6);
  if (version != kVersion)
    throw Refused(Code::Version, "version " + std::to_string(version) +
                                     " is unknown, this server speaks " + std::to_string(kVersion));
  if (kind < std::uint16_t(Ask::Hello) || kind > std::uint16_t(Ask::Hold))
    throw Refused(Code::Malformed, "kind " + std::to_string(kind) + " is unknown");
  Request request;
  request.ask = Ask(kind);
  std::size_t expected = kRequestBytes;
  if (request.ask == Ask::Home) expected += sizeof(std::uint64_t);
  if (request.ask == Ask::Command) expected += action_width * sizeof(double);
  if (size != expected)
    throw Refused(Code::Malformed, "kind " + std::to_string(kind) + " has " +
                                       std::to_string(size) + " bytes, expected " +
                                       std::to_string(expected));
  request.session = get<std::uint64_t>(data + 8);
  request.sequence = get<std::uint64_t>(data + 16);
  request.answers = get<std::uint64_t>(data + 24);
  request.lease_ns = get<std::uint64_t>(data + 32);
  if (request.ask == Ask::Home) request.seed = get<std::uint64_t>(data + kRequestBytes);
  if (request.ask == Ask::Command)
    for (std::size_t i = 0; i < action_width; ++i)
      request.action.push_back(get<double>(data + kRequestBytes + i * sizeof(double)));
  return request;
}

inline std::string write_reply(Say say, Sender to, std::int64_t received_ns,
                               std::int64_t replied_ns, const std::string& body) {
  std::string out(kMagic, 4);
  put(out, kVersion);
  put(out, std::uint16_t(say));
  put(out, to.session);
  put(out, to.sequence);
  put(out, received_ns);
  put(out, replied_ns);
  return out + body;
}

inline void put_numbers(std::string& out, const std::vector<double>& numbers) {
  for (double number : numbers) put(out, number);
}

inline void put_text(std::string& out, const std::string& text) {
  if (text.size() > kMaxTextBytes) throw std::length_error("a text is too long: " + text);
  put(out, std::uint16_t(text.size()));
  out += text;
}

inline std::string write_observation(const Sensed& sensed, State state) {
  std::string out;
  put(out, sensed.sense_ns);
  put(out, std::uint32_t(state));
  put(out, std::uint32_t(sensed.terminated ? 1 : 0) | (sensed.signals.empty() ? 0u : 2u));
  put_numbers(out, sensed.values);
  put_numbers(out, sensed.signals);
  return out;
}

inline std::string write_refusal(Code code, const std::string& reason) {
  const std::string text = reason.substr(0, kMaxTextBytes);
  std::string out;
  put(out, std::uint32_t(code));
  put(out, std::uint32_t(text.size()));
  return out + text;
}

// The description, with the session that is granted.
inline std::string write_description(const Description& description, std::uint64_t session) {
  std::string out;
  put(out, session);
  put(out, std::uint64_t(std::llround(description.max_lease_s * 1e9)));
  put(out, description.period_s);
  const std::vector<Field>* groups[] = {&description.observation, &description.action,
                                        &description.signals};
  for (const auto* group : groups) put(out, std::uint32_t(group->size()));
  put_text(out, description.robot);
  for (const auto* group : groups)
    for (const Field& field : *group) {
      put_text(out, field.name);
      put_text(out, field.unit);
      put(out, std::uint16_t(field.low.size()));
      put_numbers(out, field.low);
      put_numbers(out, field.high);
    }
  return out;
}

}  // namespace hardware

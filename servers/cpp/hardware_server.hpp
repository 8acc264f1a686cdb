// A server for hardware that Fieldtune's `zmq` driver moves: the sockets around the rules.
//
//   hardware::Server server(plant, description, "tcp://127.0.0.1:5790", {});
//   server.run(stopping);
//
// Needs cppzmq (Debian: cppzmq-dev) and the two headers beside this one.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <zmq.hpp>

#include "hardware_rules.hpp"

namespace hardware {

// CURVE: the server's key file, and the public keys (64 hexadecimal digits) that may talk.
struct Keys {
  std::string secret_file;
  std::vector<std::string> allowed;
  bool given() const { return !secret_file.empty() || !allowed.empty(); }
};

// An address or a key that cannot be used.
struct CannotServe : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline std::string bytes_of(const std::string& hex, const std::string& what) {
  if (!std::regex_match(hex, std::regex("[0-9a-f]{64}")))
    throw CannotServe(what + ": expected 64 hexadecimal digits");
  std::string out;
  for (std::size_t i = 0; i < hex.size(); i += 2)
    out += char(std::stoi(hex.substr(i, 2), nullptr, 16));
  return out;
}

// Serves one plant at one address until told to stop; at rest before and after.
class Server {
 public:
  Server(Plant& plant, Description description, std::string address, const Keys& keys)
      : rules_(plant, std::move(description)), address_(std::move(address)) {
    static const std::regex loopback(
        R"((tcp://(127\.\d+\.\d+\.\d+|localhost):(\d+|\*))|(ipc://.+))");
    if (!keys.given() && !std::regex_match(address_, loopback))
      throw CannotServe(address_ + " is not on the loopback interface: beyond it keys are "
                        "required, --key FILE and --allow PUBLIC_KEY");
    if (keys.given() && address_.rfind("tcp://", 0) != 0)
      throw CannotServe(address_ + ": ZMQ encrypts tcp:// alone, expected tcp://HOST:PORT");
    if (keys.given()) read(keys);
  }

  // Bind, print the address, and serve until `stopping`.
  void run(const std::atomic<bool>& stopping) {
    zmq::context_t context;
    zmq::socket_t gate(context, zmq::socket_type::rep);
    gate.set(zmq::sockopt::linger, 0);
    gate.bind("inproc://zeromq.zap.01");  // where libzmq asks which keys may connect
    zmq::socket_t socket(context, zmq::socket_type::router);
    socket.set(zmq::sockopt::linger, 200);
    socket.set(zmq::sockopt::maxmsgsize, std::int64_t(kMaxFrameBytes));
    socket.set(zmq::sockopt::rcvhwm, 64);
    socket.set(zmq::sockopt::sndhwm, 64);
    if (!secret_.empty()) {
      socket.set(zmq::sockopt::curve_server, true);
      socket.set(zmq::sockopt::curve_secretkey, zmq::const_buffer(secret_.data(), 32));
      socket.set(zmq::sockopt::zap_domain, "hardware");
    }
    socket.bind(address_);
    std::cout << "serving " << socket.get(zmq::sockopt::last_endpoint) << std::endl;
    while (!stopping) step(socket, gate);
    rules_.rest("the server ends");
  }

 private:
  static constexpr std::chrono::milliseconds kWatch{2};  // how late a lease can be noticed
  static constexpr int kAtOnce = 16;  // frames handled before the leases are looked at again

  void step(zmq::socket_t& socket, zmq::socket_t& gate) {
    zmq::pollitem_t items[] = {{socket, 0, ZMQ_POLLIN, 0}, {gate, 0, ZMQ_POLLIN, 0}};
    try {
      zmq::poll(items, 2, kWatch);
    } catch (const zmq::error_t& error) {
      if (error.num() != EINTR) throw;
    }
    rules_.watch();
    if (items[1].revents & ZMQ_POLLIN) judge(gate);
    for (int i = 0; i < kAtOnce; ++i) {
      const std::vector<zmq::message_t> frames = receive(socket);
      if (frames.empty()) break;
      const bool sound = frames.size() == 2;
      const std::string reply = sound ? rules_.handle(frames[1].data<char>(), frames[1].size())
                                      : rules_.handle("", 0);
      if (reply.empty()) continue;
      try {
        socket.send(zmq::buffer(frames[0].data(), frames[0].size()),
                    zmq::send_flags::sndmore | zmq::send_flags::dontwait);
        socket.send(zmq::buffer(reply), zmq::send_flags::dontwait);
      } catch (const zmq::error_t&) {
        // the answer found nobody to take it
      }
    }
  }

  // All parts of one message; none where nothing waits.
  static std::vector<zmq::message_t> receive(zmq::socket_t& socket) {
    std::vector<zmq::message_t> parts;
    bool more = true;
    while (more) {
      zmq::message_t part;
      if (!socket.recv(part, zmq::recv_flags::dontwait)) return {};
      more = part.more();
      parts.push_back(std::move(part));
    }
    return parts;
  }

  // Answers libzmq's question about one key (0MQ RFC 27).
  void judge(zmq::socket_t& gate) {
    const std::vector<zmq::message_t> question = receive(gate);
    const bool allowed = question.size() == 7 && question[5].to_string() == "CURVE" &&
                         allowed_.count(question[6].to_string()) == 1;
    if (!allowed) rules_.tell("key", "somebody without an allowed key was turned away");
    const std::string request = question.size() > 1 ? question[1].to_string() : "";
    // 300 rather than 400, because libzmq says nothing to the peer then.
    const std::string parts[] = {"1.0", request, allowed ? "200" : "300",
                                 allowed ? "OK" : "not allowed", "", ""};
    for (int i = 0; i < 6; ++i)
      gate.send(zmq::buffer(parts[i]), i < 5 ? zmq::send_flags::sndmore : zmq::send_flags::none);
  }

  void read(const Keys& keys) {
    if (keys.secret_file.empty() || keys.allowed.empty())
      throw CannotServe("keys are half given: both --key FILE and --allow PUBLIC_KEY are needed");
    struct stat status {};
    std::ifstream file(keys.secret_file);
    if (!file || stat(keys.secret_file.c_str(), &status) != 0)
      throw CannotServe(keys.secret_file + ": cannot be read");
    if (status.st_mode & 077)
      throw CannotServe(keys.secret_file + ": others can use it: chmod 600 " + keys.secret_file);
    std::stringstream text;
    text << file.rdbuf();
    const std::string content = text.str();
    std::smatch found;
    static const std::regex layout(
        "fieldtune secret key 1\npublic: [0-9a-f]{64}\nsecret: ([0-9a-f]{64})\n");
    if (!std::regex_match(content, found, layout))
      throw CannotServe(keys.secret_file + ": is not a secret key file");
    secret_ = bytes_of(found[1].str(), keys.secret_file);
    for (const std::string& key : keys.allowed) allowed_.insert(bytes_of(key, "--allow " + key));
  }

  Rules rules_;
  std::string address_;
  std::string secret_;
  std::set<std::string> allowed_;
};

}  // namespace hardware

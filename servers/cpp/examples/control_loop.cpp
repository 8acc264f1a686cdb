// A control loop at the bundle's own rate, up to 500 Hz and more, that allocates nothing of its
// own: observe, check, act, limit, apply.
//
//   control_loop BUNDLE LIMITS [--cycles N] [--fifo PRIORITY] [--count]
//
// Replace `Plant` by your hardware. Every fault, and a signal that ends the program, ends the loop
// at rest. Periods that a late cycle has missed are left out, never made up for. `--count` prints
// what was allocated while the loop ran, by this program and by ONNX Runtime inside it.

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "fieldtune/limits.hpp"
#include "fieldtune/policy.hpp"

// What the C library hands out while `counting`; glibc lets a program put its own in front.
namespace count {
std::atomic<bool> counting{false}, in_runtime{false};
std::atomic<long> ours{0}, theirs{0};
void one() {
  if (counting.load(std::memory_order_relaxed)) ++(in_runtime.load() ? theirs : ours);
}
}  // namespace count

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void* malloc(std::size_t size) { return count::one(), __libc_malloc(size); }
void* calloc(std::size_t n, std::size_t size) { return count::one(), __libc_calloc(n, size); }
void* realloc(void* old, std::size_t size) { return count::one(), __libc_realloc(old, size); }
void* memalign(std::size_t to, std::size_t size) { return count::one(), __libc_memalign(to, size); }
void* aligned_alloc(std::size_t to, std::size_t size) { return memalign(to, size); }
int posix_memalign(void** place, std::size_t to, std::size_t size) {
  *place = memalign(to, size);
  return *place == nullptr ? 12 : 0;
}
}

namespace {

constexpr long kSecond = 1'000'000'000;

volatile sig_atomic_t stopped = 0;

void stop_at_signals() {
  struct sigaction action{};
  action.sa_handler = [](int) { stopped = 1; };
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) sigaction(number, &action, nullptr);
}

long now_ns() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * kSecond + time.tv_nsec;
}

void wait_until(long at_ns) {
  const timespec time{at_ns / kSecond, at_ns % kSecond};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nullptr) == EINTR && !stopped) {
  }
}

// Stands in for hardware: an observation that follows the actions a little.
class Plant {
 public:
  Plant(const fieldtune::Manifest& manifest, const fieldtune::Limits& limits) : limits_(limits) {
    state_.assign(manifest.observation_width(), 0.0);
  }
  void read(fieldtune::Numbers observation, long& sensed_ns) {
    for (std::size_t i = 0; i < state_.size(); ++i) {
      state_[i] = 0.99 * state_[i] + 1e-3 * double((++seed_ * 2654435761u) % 1000) / 1000;
      observation[i] = std::clamp(state_[i], limits_.fault_low[i], limits_.fault_high[i]);
    }
    sensed_ns = now_ns();
  }
  void apply(fieldtune::View action) {
    for (std::size_t i = 0; i < state_.size(); ++i) state_[i] += 1e-3 * action[i % action.size];
  }
  void hold() {}  // brings the robot to rest: it must not fail, block or allocate

 private:
  const fieldtune::Limits& limits_;
  std::vector<double> state_;
  unsigned seed_ = 0;
};

struct Asked {
  const char* bundle = nullptr;
  const char* limits = nullptr;
  long cycles = 5000;
  int fifo = 0;
  bool counts = false;
};

Asked asked(int count, char** words) {
  Asked found;
  for (int i = 1; i < count; ++i) {
    const bool more = i + 1 < count;
    if (std::strcmp(words[i], "--cycles") == 0 && more)
      found.cycles = std::atol(words[++i]);
    else if (std::strcmp(words[i], "--fifo") == 0 && more)
      found.fifo = std::atoi(words[++i]);
    else if (std::strcmp(words[i], "--count") == 0)
      found.counts = true;
    else if (found.bundle == nullptr)
      found.bundle = words[i];
    else
      found.limits = words[i];
  }
  if (found.limits == nullptr || found.cycles < 1) {
    std::fputs("usage: control_loop BUNDLE LIMITS [--cycles N] [--fifo PRIORITY] [--count]\n",
               stderr);
    std::exit(2);
  }
  return found;
}

// Memory that stays, and a place before other threads: both need the right to it.
void become_real_time(int priority) {
  if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
    std::fputs("memory is not locked: give CAP_IPC_LOCK, or raise ulimit -l\n", stderr);
  if (priority == 0) return;
  const sched_param wanted{priority};
  if (pthread_setschedparam(pthread_self(), SCHED_FIFO, &wanted) != 0)
    std::fputs("SCHED_FIFO refused: give CAP_SYS_NICE, or raise ulimit -r\n", stderr);
}

void report(std::vector<long>& lasted, std::vector<long>& late, long changed, long missed) {
  const auto at = [](std::vector<long>& values, double share) {
    std::sort(values.begin(), values.end());
    return double(values[std::size_t(share * double(values.size() - 1))]) / 1000;
  };
  std::printf("cycles %zu, of which limits changed %ld; periods left out %ld\n", lasted.size(),
              changed, missed);
  std::printf("step us: p50 %.1f, p99.9 %.1f\n", at(lasted, 0.5), at(lasted, 0.999));
  std::printf("late us: p50 %.1f, p99.9 %.1f\n", at(late, 0.5), at(late, 0.999));
}

}  // namespace

int main(int arguments, char** words) try {
  const Asked wanted = asked(arguments, words);
  fieldtune::Limits limits = fieldtune::read_limits(wanted.limits);
  fieldtune::Policy policy(fieldtune::read_bundle(wanted.bundle));
  const auto& manifest = policy.manifest();
  fieldtune::require_fit(limits, manifest);
  const long period_ns = std::lround(manifest.period_s * kSecond);
  Plant plant(manifest, limits);
  const std::vector<double> z(manifest.task_embeddings.begin(),
                              manifest.task_embeddings.begin() + long(manifest.latent_size));
  std::vector<double> observation(manifest.observation_width()), earlier(observation.size());
  std::vector<double> action(limits.low.size()), allowed(action.size()), previous(action.size());
  std::vector<double> before(action.size());
  // Written to once, so that no cycle waits for a page of memory.
  std::vector<long> lasted(std::size_t(wanted.cycles), 0), late(lasted);
  long sensed_ns = 0, earlier_ns = 0, changed = 0, repeats = 0, cycle = 0;
  plant.read(observation, sensed_ns);
  policy.dry_run(observation);
  become_real_time(wanted.fifo);
  stop_at_signals();

  int status = 0;
  long deadline_ns = now_ns(), missed = 0;
  try {
    for (; cycle < wanted.cycles && !stopped; ++cycle) {
      deadline_ns += period_ns;
      const long over = std::max(now_ns() - deadline_ns, 0L) / period_ns;
      missed += over;
      deadline_ns += over * period_ns;
      wait_until(deadline_ns);
      const long woken_ns = now_ns();
      if (cycle == 10) count::counting = wanted.counts;  // once the runtime has its memory
      plant.read(observation, sensed_ns);
      const bool first = cycle == 0;
      repeats = !first && observation == earlier ? repeats + 1 : 0;
      const double apart_s = std::max(double(sensed_ns - earlier_ns) / kSecond, limits.period_s);
      fieldtune::check_observation(observation, double(now_ns() - sensed_ns) / kSecond, limits,
                                   first ? fieldtune::View() : fieldtune::View(earlier), apart_s,
                                   repeats);
      count::in_runtime = true;
      policy.act(observation, z, action);
      count::in_runtime = false;
      const unsigned rules = fieldtune::allow(
          action, first ? fieldtune::View() : fieldtune::View(previous),
          first ? fieldtune::View() : fieldtune::View(before), observation, limits, allowed);
      plant.apply(allowed);
      changed += rules != 0;
      if (first)
        fieldtune::staying(observation, limits, before);
      else
        std::copy(previous.begin(), previous.end(), before.begin());
      std::copy(allowed.begin(), allowed.end(), previous.begin());
      std::copy(observation.begin(), observation.end(), earlier.begin());
      earlier_ns = sensed_ns;
      lasted[std::size_t(cycle)] = now_ns() - woken_ns;
      late[std::size_t(cycle)] = woken_ns - deadline_ns;
    }
    plant.hold();
  } catch (const std::exception& fault) {
    plant.hold();  // nothing stands before it
    count::counting = false;
    std::fprintf(stderr, "at rest after %ld cycles: %s\n", cycle, fault.what());
    status = 1;
  }
  count::counting = false;
  lasted.resize(std::size_t(cycle)), late.resize(std::size_t(cycle));
  if (!lasted.empty()) report(lasted, late, changed, missed);
  if (wanted.counts) {
    const double counted = double(std::max(cycle - 10, 1L));
    std::printf("allocations: %ld of this program's, %ld of ONNX Runtime's (%.1f a step)\n",
                count::ours.load(), count::theirs.load(), double(count::theirs.load()) / counted);
  }
  return status;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}

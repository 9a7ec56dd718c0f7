// Times of inferences, as `profiles/timing/measure.py` takes them: the same rules, in the process of the engine.
#pragma once

#include <time.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace timing {

inline std::int64_t now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<std::int64_t>(time.tv_sec) * 1000000000 + time.tv_nsec;
}

inline double median(std::vector<std::int64_t> samples) {
  std::sort(samples.begin(), samples.end());
  const std::size_t middle = samples.size() / 2;
  const double upper = static_cast<double>(samples[middle]);
  return samples.size() % 2 == 1 ? upper : (static_cast<double>(samples[middle - 1]) + upper) / 2;
}

// Whether the medians of the last 5 of 10 equal windows lie within the tolerance of each other.
inline bool steady(const std::vector<std::int64_t>& samples, double tolerance) {
  if (samples.size() < 10) return false;
  const std::size_t size = samples.size() / 10, longer = samples.size() % 10;
  std::vector<double> medians;
  for (std::size_t window = 0, at = 0; window < 10; ++window) {
    const std::size_t length = size + (window < longer ? 1 : 0);
    const auto begin = samples.begin() + static_cast<std::ptrdiff_t>(at);
    if (window >= 5) medians.push_back(median({begin, begin + static_cast<std::ptrdiff_t>(length)}));
    at += length;
  }
  const auto [least, most] = std::minmax_element(medians.begin(), medians.end());
  return *most <= (1 + tolerance) * *least;
}

// Times of calls that begin within so many nanoseconds.
template <typename Call>
std::vector<std::int64_t> lasting(Call&& call, std::int64_t nanoseconds) {
  std::vector<std::int64_t> taken;
  std::int64_t begin = now();
  const std::int64_t end = begin + nanoseconds;
  while (begin < end) {
    call();
    taken.push_back(now() - begin);
    begin = now();
  }
  return taken;
}

// Times of so many calls.
template <typename Call>
std::vector<std::int64_t> counted(Call&& call, std::size_t count) {
  std::vector<std::int64_t> taken;
  for (std::size_t done = 0; done < count; ++done) {
    const std::int64_t begin = now();
    call();
    taken.push_back(now() - begin);
  }
  return taken;
}

// At least the seconds and the count; then until it is steady, or `cap` times the seconds are over.
template <typename Call>
void warm(Call&& call, double seconds, std::size_t count, double cap, double tolerance) {
  const std::int64_t begun = now(), least = static_cast<std::int64_t>(seconds * 1e9);
  const std::int64_t most = static_cast<std::int64_t>(cap * seconds * 1e9);
  std::vector<std::int64_t> taken;
  while (now() - begun < least || taken.size() < count) {
    const std::int64_t begin = now();
    call();
    taken.push_back(now() - begin);
  }
  while (now() - begun < most && !steady(taken, tolerance)) {
    const auto more = counted(call, std::max<std::size_t>(1, taken.size() / 10));
    taken.insert(taken.end(), more.begin(), more.end());
  }
}

}  // namespace timing

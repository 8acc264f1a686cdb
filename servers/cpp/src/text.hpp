// Writing numbers and lists as Python does, so that errors read the same.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

namespace fieldtune::text {

// Python's repr of a float: the shortest digits that read back as the same number.
inline std::string repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char digits[64];
  const auto end =
      std::to_chars(digits, digits + sizeof digits, value, std::chars_format::scientific);
  const std::string found(digits, end.ptr);
  const int exponent = std::stoi(found.substr(found.find('e') + 1));
  if (exponent < -4 || exponent >= 16) return found;
  const auto plain = std::to_chars(digits, digits + sizeof digits, value, std::chars_format::fixed);
  std::string fixed(digits, plain.ptr);
  return fixed.find('.') == std::string::npos ? fixed + ".0" : fixed;
}

// Python's format(value, 'g').
inline std::string brief(double value) {
  char digits[32];
  std::snprintf(digits, sizeof digits, "%g", value);
  return digits;
}

inline std::string quoted(const std::string& word) { return "'" + word + "'"; }

inline std::string joined(const std::vector<std::string>& words) {
  std::string all;
  for (const auto& word : words) all += (all.empty() ? "" : ", ") + word;
  return all;
}

inline std::string listed(const std::vector<std::string>& words) {
  std::vector<std::string> marked;
  for (const auto& word : words) marked.push_back(quoted(word));
  return "[" + joined(marked) + "]";
}

}  // namespace fieldtune::text

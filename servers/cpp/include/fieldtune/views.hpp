// Numbers that somebody else owns: a place and a length, since C++17 has no std::span.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

namespace fieldtune {

template <typename Number>
struct Span {
  Number* data = nullptr;
  std::size_t size = 0;

  Span() = default;
  Span(Number* first, std::size_t count) : data(first), size(count) {}
  template <typename Other>
  Span(std::vector<Other>& values) : data(values.data()), size(values.size()) {}
  template <typename Other>
  Span(const std::vector<Other>& values) : data(values.data()), size(values.size()) {}
  template <typename Other, std::size_t N>
  Span(std::array<Other, N>& values) : data(values.data()), size(N) {}
  template <typename Other, std::size_t N>
  Span(const std::array<Other, N>& values) : data(values.data()), size(N) {}
  template <typename Other>
  Span(Span<Other> other) : data(other.data), size(other.size) {}

  Number& operator[](std::size_t index) const { return data[index]; }
};

using View = Span<const double>;  // to read
using Numbers = Span<double>;     // to write

}  // namespace fieldtune

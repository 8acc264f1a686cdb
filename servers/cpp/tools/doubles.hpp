// Files of bare doubles, which tests and the tools exchange.
#pragma once

#include <algorithm>
#include <fstream>
#include <iterator>
#include <vector>

#include "fieldtune/views.hpp"

inline std::vector<double> read_doubles(const char* path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  std::vector<double> found(bytes.size() / sizeof(double));
  std::copy_n(bytes.data(), found.size() * sizeof(double), reinterpret_cast<char*>(found.data()));
  return found;
}

inline void write_doubles(std::ofstream& out, fieldtune::View values) {
  out.write(reinterpret_cast<const char*>(values.data),
            std::streamsize(values.size * sizeof(double)));
}

// The manifest's schema: what it may hold, and the rules that its numbers obey, in the same order
// and with the same words as fieldtune.export.manifest. Knows nothing of files.
#pragma once

#include <stdexcept>
#include <string>

#include "fieldtune/bundle.hpp"

namespace fieldtune::manifest {

// The text is wrong; the message says which field, and the cure.
class ManifestError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

Manifest parse(const std::string& text);

}  // namespace fieldtune::manifest

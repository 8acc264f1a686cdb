// Reading a file that a person names. Knows nothing of what is in it.
#pragma once

#include <string>

namespace fieldtune {

// At most about `most` bytes and a buffer more. A pipe or a device is refused, as it could block.
// Raises BundleError; `kind` names in it what the file was to be.
std::string bytes_of(const std::string& kind, const std::string& path, std::size_t most);

}  // namespace fieldtune

// The bundle's container: a zip of stored members that has exactly one form for given contents.
// Knows nothing of what the members mean.
#pragma once

#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace fieldtune::archive {

// The bytes are not this project's archive; the text says where they depart from it.
class ArchiveError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

std::string sha256(std::string_view data);

// The archive's id, once it is shown to match every byte before it.
std::string digest(std::string_view data);

// How many members the file's end says it has.
std::size_t count(std::string_view data);

// The members, which must be exactly `names`, in that order, in the one form.
std::map<std::string, std::string> decode(std::string_view data,
                                          const std::vector<std::string>& names);

}  // namespace fieldtune::archive

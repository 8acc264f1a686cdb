#include "regular_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "fieldtune/errors.hpp"

namespace fieldtune {

std::string bytes_of(const std::string& kind, const std::string& path, std::size_t most) {
  const auto refuse = [&](const char* why) -> BundleError {
    return BundleError(kind + " " + path + ": cannot be read (" + why + "): check the path");
  };
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) throw refuse(std::strerror(errno));
  std::string data;
  struct stat found{};
  const char* trouble = nullptr;
  if (fstat(file, &found) != 0)
    trouble = std::strerror(errno);
  else if (S_ISDIR(found.st_mode))
    trouble = std::strerror(EISDIR);
  else if (!S_ISREG(found.st_mode))
    trouble = "not a regular file";
  char buffer[1 << 16];
  while (trouble == nullptr && data.size() <= most) {
    const ssize_t got = read(file, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) trouble = std::strerror(errno);
    if (got <= 0) break;
    data.append(buffer, std::size_t(got));
  }
  close(file);
  if (trouble != nullptr) throw refuse(trouble);
  return data;
}

}  // namespace fieldtune

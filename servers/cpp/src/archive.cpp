#include "archive.hpp"

#include <openssl/evp.h>

#include <array>
#include <cstdint>

namespace fieldtune::archive {
namespace {

constexpr std::size_t kDigest = 64, kLocal = 30, kEnd = 22;

std::uint32_t crc32(std::string_view data) {
  static const auto table = [] {
    std::array<std::uint32_t, 256> made{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = value & 1 ? 0xEDB88320u ^ value >> 1 : value >> 1;
      made[i] = value;
    }
    return made;
  }();
  std::uint32_t found = 0xFFFFFFFFu;
  for (const unsigned char byte : data) found = table[(found ^ byte) & 0xFF] ^ found >> 8;
  return ~found;
}

// Little-endian numbers, one after the other.
class Record {
 public:
  Record& text(std::string_view value) { return bytes_.append(value), *this; }
  Record& u16(std::uint64_t value) { return number(value, 2); }
  Record& u32(std::uint64_t value) { return number(value, 4); }
  const std::string& bytes() const { return bytes_; }

 private:
  Record& number(std::uint64_t value, int size) {
    for (int i = 0; i < size; ++i) bytes_.push_back(static_cast<char>(value >> 8 * i & 0xFF));
    return *this;
  }
  std::string bytes_;
};

std::uint64_t number_at(std::string_view data, std::size_t offset, int size) {
  std::uint64_t value = 0;
  for (int i = 0; i < size; ++i)
    value |= std::uint64_t(static_cast<unsigned char>(data[offset + i])) << 8 * i;
  return value;
}

// Flags, method, time, 1980-01-01, checksum and both sizes: what both headers say of a member.
void shared_part(Record& record, std::string_view content) {
  record.u16(0).u16(0).u16(0).u16((1 << 5) | 1).u32(crc32(content));
  record.u32(content.size()).u32(content.size());
}

}  // namespace

std::string sha256(std::string_view data) {
  unsigned char found[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  if (EVP_Digest(data.data(), data.size(), found, &length, EVP_sha256(), nullptr) != 1)
    throw std::runtime_error("OpenSSL cannot compute a sha256");
  std::string hex;
  for (unsigned int i = 0; i < length; ++i) {
    hex.push_back("0123456789abcdef"[found[i] >> 4]);
    hex.push_back("0123456789abcdef"[found[i] & 15]);
  }
  return hex;
}

std::string digest(std::string_view data) {
  if (data.size() <= kDigest)
    throw ArchiveError(std::to_string(data.size()) + " bytes is too short for a bundle");
  const std::string_view told = data.substr(data.size() - kDigest);
  if (told.find_first_not_of("0123456789abcdef") != std::string_view::npos)
    throw ArchiveError("it does not end with a sha256: no bundle, or one that is cut short");
  const std::string actual = sha256(data.substr(0, data.size() - kDigest));
  if (told != actual)
    throw ArchiveError("the file's bytes do not match the sha256 it ends with");
  return actual;
}

std::size_t count(std::string_view data) {
  if (data.size() < kDigest + kEnd)
    throw ArchiveError(std::to_string(data.size()) + " bytes is too short for a bundle");
  return number_at(data, data.size() - kDigest - kEnd + 10, 2);
}

std::map<std::string, std::string> decode(std::string_view data,
                                          const std::vector<std::string>& names) {
  std::map<std::string, std::string> members;
  std::string found_headers, headers;
  Record central;
  std::size_t offset = 0;
  for (const auto& name : names) {
    const std::size_t start = offset + kLocal + name.size();
    if (start > data.size()) throw ArchiveError("the file ends where '" + name + "' should start");
    if (data.substr(offset, 4) != std::string_view("PK\x03\x04", 4) ||
        number_at(data, offset + 26, 2) != name.size() || number_at(data, offset + 28, 2) != 0 ||
        data.substr(offset + kLocal, name.size()) != name)
      throw ArchiveError("expected member '" + name + "' at byte " + std::to_string(offset) +
                         ", found something else");
    const std::size_t size = number_at(data, offset + 22, 4);
    if (size > data.size() - start)
      throw ArchiveError("'" + name + "' claims " + std::to_string(size) + " bytes, only " +
                         std::to_string(data.size() - start) + " follow in the file");
    const std::string_view content = data.substr(start, size);
    Record local;
    local.text(std::string_view("PK\x03\x04", 4)).u16(20);
    shared_part(local, content);
    local.u16(name.size()).u16(0).text(name);
    central.text(std::string_view("PK\x01\x02", 4)).u16((3 << 8) | 20).u16(20);
    shared_part(central, content);
    central.u16(name.size()).u16(0).u16(0).u16(0).u16(0).u32(std::uint64_t(0100644) << 16);
    central.u32(offset).text(name);
    headers += local.bytes();
    found_headers += data.substr(offset, start - offset);
    members[name] = std::string(content);
    offset = start + size;
  }
  Record end;
  end.text(central.bytes()).text(std::string_view("PK\x05\x06", 4)).u16(0).u16(0);
  end.u16(names.size()).u16(names.size()).u32(central.bytes().size()).u32(offset).u16(kDigest);
  std::string wanted;
  for (const auto& name : names) wanted += (wanted.empty() ? "" : ", ") + name;
  if (found_headers != headers || data.size() < offset + kDigest ||
      data.substr(offset, data.size() - kDigest - offset) != end.bytes())
    throw ArchiveError("the file holds more or other than the stored members " + wanted);
  return members;
}

}  // namespace fieldtune::archive

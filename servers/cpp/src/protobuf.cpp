#include "protobuf.hpp"

namespace fieldtune::protobuf {
namespace {

constexpr char kCut[] = "is cut short or damaged";

bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto at = [&](std::size_t k) { return static_cast<unsigned char>(text[k]); };
    const unsigned char first = at(i);
    const std::size_t more = first < 0x80       ? 0
                             : first >> 5 == 6  ? 1
                             : first >> 4 == 14 ? 2
                             : first >> 3 == 30 ? 3
                                                : 4;
    if (more == 4 || text.size() - i <= more) return false;
    std::uint32_t code = more == 0 ? first : first & (0x3F >> more);
    for (std::size_t k = 1; k <= more; ++k) {
      if (at(i + k) >> 6 != 2) return false;
      code = code << 6 | (at(i + k) & 0x3F);
    }
    constexpr std::uint32_t kLeast[] = {0, 0x80, 0x800, 0x10000};
    if (code < kLeast[more] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return false;
    i += more + 1;
  }
  return true;
}

class Reader {
 public:
  explicit Reader(std::int64_t most) : most_(most), left_(most) {}

  Message message(std::string_view data, const Table& table) {
    Message found;
    std::size_t offset = 0;
    while (offset < data.size()) {
      if (--left_ < 0) throw FormError("holds more than " + std::to_string(most_) + " fields");
      const std::uint64_t tag = varint(data, offset);
      const auto rule = table.fields.find(tag >> 3);
      if (rule == table.fields.end() || rule->second.kind != Kind(tag & 7))
        throw FormError("holds field " + std::to_string(tag >> 3) + " (wire type " +
                        std::to_string(tag & 7) + ") in a " + table.name +
                        ", which fieldtune does not write");
      Value value = read_value(data, offset, rule->second);
      auto& values = found.fields[rule->second.name];
      if (!rule->second.many && !values.empty())
        throw FormError("holds " + rule->second.name + " of a " + table.name + " twice");
      values.push_back(std::move(value));
    }
    return found;
  }

 private:
  Value read_value(std::string_view data, std::size_t& offset, const FieldRule& rule) {
    Value value;
    if (rule.kind == kVarint) {
      value.number = varint(data, offset);
      return value;
    }
    std::uint64_t size = rule.kind == kFixed64 ? 8 : 4;
    if (rule.kind == kBytes) size = varint(data, offset);
    if (size > data.size() - offset) throw FormError(kCut);
    value.bytes = data.substr(offset, size);
    offset += size;
    if (rule.inside != nullptr)
      value.inside.push_back(message(value.bytes, *rule.inside));
    else if (rule.text && !is_utf8(value.bytes))
      throw FormError("holds a " + rule.name + " that is not UTF-8");
    return value;
  }

  static std::uint64_t varint(std::string_view data, std::size_t& offset) {
    std::uint64_t value = 0;
    for (int index = 0; index < 10 && offset + index < data.size(); ++index) {
      const auto byte = static_cast<unsigned char>(data[offset + index]);
      if (index == 9 && (byte & 0x7F) > 1 && byte < 0x80)
        throw FormError("holds a number that is not in its shortest form");
      value |= std::uint64_t(byte & 0x7F) << 7 * index;
      if (byte < 0x80) {
        if (byte == 0 && index) throw FormError("holds a number that is not in its shortest form");
        offset += index + 1;
        return value;
      }
    }
    throw FormError(kCut);
  }

  std::int64_t most_, left_;
};

}  // namespace

const std::vector<Value>& Message::all(const std::string& name) const {
  static const std::vector<Value> none;
  const auto found = fields.find(name);
  return found == fields.end() ? none : found->second;
}

std::uint64_t Message::number(const std::string& name, std::uint64_t otherwise) const {
  const auto& values = all(name);
  return values.empty() ? otherwise : values.front().number;
}

std::string Message::text(const std::string& name) const {
  const auto& values = all(name);
  return values.empty() ? "" : std::string(values.front().bytes);
}

const Message& Message::inside(const std::string& name) const {
  static const Message none;
  const auto& values = all(name);
  return values.empty() ? none : values.front().inside.front();
}

Message read(std::string_view data, const Table& table, std::int64_t most_fields) {
  return Reader(most_fields).message(data, table);
}

}  // namespace fieldtune::protobuf

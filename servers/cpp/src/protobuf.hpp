// Reading protobuf's wire format by a table, so strictly that no other reader can understand it
// differently: the same rules as fieldtune.export.protobuf. Must not know what the messages mean.
#pragma once

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace fieldtune::protobuf {

// The bytes are not such a message; the text says where they depart from the table.
class FormError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

enum Kind { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

struct Table;

struct FieldRule {
  std::string name;
  Kind kind = kBytes;
  bool many = false, text = false;
  const Table* inside = nullptr;
};

struct Table {
  std::string name;
  std::map<std::uint64_t, FieldRule> fields;
};

struct Message;

struct Value {
  std::uint64_t number = 0;
  std::string_view bytes;       // of what was read, which must live as long
  std::vector<Message> inside;  // one, where the bytes are a message
};

struct Message {
  std::map<std::string, std::vector<Value>> fields;

  bool has(const std::string& name) const { return fields.count(name) != 0; }
  const std::vector<Value>& all(const std::string& name) const;
  std::uint64_t number(const std::string& name, std::uint64_t otherwise = 0) const;
  std::string text(const std::string& name) const;
  const Message& inside(const std::string& name) const;  // an empty one where there is none
};

// Raises FormError for what `table` does not allow, and for more fields than `most_fields`.
Message read(std::string_view data, const Table& table, std::int64_t most_fields);

}  // namespace fieldtune::protobuf

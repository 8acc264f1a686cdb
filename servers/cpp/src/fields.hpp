// Taking typed values out of a JSON object by name, and refusing what was not asked for. Messages
// are pydantic's, since the Python reader's are. Knows nothing of what the fields mean.
#pragma once

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "manifest.hpp"

namespace fieldtune::manifest {

using Json = nlohmann::json;

// `path` is where the value is, as observation_fields.0.low.
[[noreturn]] inline void refuse(const std::string& path, const std::string& message) {
  throw ManifestError(path.empty() ? message : "field '" + path + "': " + message);
}

inline double number(const Json& value, const std::string& path) {
  if (value.is_number()) return value.get<double>();
  if (value == "Infinity") return std::numeric_limits<double>::infinity();
  if (value == "-Infinity") return -std::numeric_limits<double>::infinity();
  if (value == "NaN") return std::numeric_limits<double>::quiet_NaN();
  refuse(path, value.is_string()
                   ? "Input should be a valid number, unable to parse string as a number"
                   : "Input should be a valid number");
}

inline double finite(const Json& value, const std::string& path) {
  const double found = number(value, path);
  if (!std::isfinite(found)) refuse(path, "Input should be a finite number");
  return found;
}

inline double positive(const Json& value, const std::string& path) {
  const double found = finite(value, path);
  if (!(found > 0)) refuse(path, "Input should be greater than 0");
  return found;
}

inline double not_negative(const Json& value, const std::string& path) {
  const double found = finite(value, path);
  if (!(found >= 0)) refuse(path, "Input should be greater than or equal to 0");
  return found;
}

inline std::int64_t integer(const Json& value, const std::string& path) {
  if (value.is_string())
    refuse(path, "Input should be a valid integer, unable to parse string as an integer");
  if (value.is_number_float() && !std::isfinite(value.get<double>()))
    refuse(path, "Input should be a finite number");
  if (value.is_number_float())
    refuse(path, "Input should be a valid integer, got a number with a fractional part");
  if (!value.is_number_integer()) refuse(path, "Input should be a valid integer");
  return value.get<std::int64_t>();
}

inline std::int64_t positive_integer(const Json& value, const std::string& path) {
  const std::int64_t found = integer(value, path);
  if (found <= 0) refuse(path, "Input should be greater than 0");
  return found;
}

inline bool boolean(const Json& value, const std::string& path) {
  if (value.is_string() || value.is_number())
    refuse(path, "Input should be a valid boolean, unable to interpret input");
  if (!value.is_boolean()) refuse(path, "Input should be a valid boolean");
  return value.get<bool>();
}

inline std::string word(const Json& value, const std::string& path) {
  if (!value.is_string()) refuse(path, "Input should be a valid string");
  return value.get<std::string>();
}

inline std::string sha256(const Json& value, const std::string& path) {
  const std::string found = word(value, path);
  if (found.size() != 64 || found.find_first_not_of("0123456789abcdef") != std::string::npos)
    refuse(path, "String should match pattern '^[0-9a-f]{64}$'");
  return found;
}

// `said` names the choices, as pydantic does.
inline std::string one_of(const Json& value, const std::string& path,
                          const std::set<std::string>& choices, const std::string& said) {
  if (!value.is_string() || choices.count(value.get<std::string>()) == 0)
    refuse(path, "Input should be " + said);
  return value.get<std::string>();
}

inline const Json& list(const Json& value, const std::string& path, std::size_t least = 0) {
  if (!value.is_array()) refuse(path, "Input should be a valid tuple");
  if (value.size() < least)
    refuse(path, "Tuple should have at least 1 item after validation, not 0");
  return value;
}

template <typename Read>
std::vector<double> numbers(const Json& value, const std::string& path, std::size_t least,
                            Read read) {
  std::vector<double> found;
  // Items come first, and then their number: pydantic's order.
  if (!value.is_array()) refuse(path, "Input should be a valid tuple");
  for (std::size_t i = 0; i < value.size(); ++i)
    found.push_back(read(value[i], path + "." + std::to_string(i)));
  list(value, path, least);
  return found;
}

// An object's values by name. `unknown` refuses whatever was not asked for.
class Object {
 public:
  Object(const Json& value, std::string path, const std::string& kind) : path_(std::move(path)) {
    if (!value.is_object())
      refuse(path_, kind.empty() ? "Input should be a valid dictionary"
                                 : "Input should be a valid dictionary or instance of " + kind);
    value_ = &value;
  }

  std::string at(const std::string& name) const {
    return path_.empty() ? name : path_ + "." + name;
  }

  // Null where the field is absent, or is JSON's null.
  const Json* optional(const std::string& name) {
    asked_.insert(name);
    const auto found = value_->find(name);
    return found == value_->end() || found->is_null() ? nullptr : &*found;
  }

  // Null where the field is absent: one with a default that may not be null.
  const Json* given(const std::string& name) {
    asked_.insert(name);
    const auto found = value_->find(name);
    return found == value_->end() ? nullptr : &*found;
  }

  const Json& required(const std::string& name) {
    const Json* found = given(name);
    if (found == nullptr) refuse(at(name), "Field required");
    return *found;
  }

  void unknown() const {
    for (const auto& item : value_->items())
      if (asked_.count(item.key()) == 0)
        throw ManifestError("unknown field '" + at(item.key()) + "'");
  }

  const Json& json() const { return *value_; }

 private:
  const Json* value_ = nullptr;
  std::string path_;
  std::set<std::string> asked_;
};

}  // namespace fieldtune::manifest

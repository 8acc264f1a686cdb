#include "manifest.hpp"

#include <algorithm>
#include <cstdio>
#include <limits>

#include "fields.hpp"
#include "rules.hpp"
#include "text.hpp"

namespace fieldtune::manifest {
namespace {

constexpr double kParityLimit = 1e-5;
constexpr std::size_t kMostParticles = 20'000;

std::string indexed(const std::string& path, std::size_t index) {
  return path + "." + std::to_string(index);
}

Field field_of(const Json& value, const std::string& path) {
  Object object(value, path, "FieldSpec");
  Field field;
  field.name = word(object.required("name"), object.at("name"));
  if (field.name.empty()) refuse(object.at("name"), "String should have at least 1 character");
  field.unit = word(object.required("unit"), object.at("unit"));
  field.low = numbers(object.required("low"), object.at("low"), 1, number);
  field.high = numbers(object.required("high"), object.at("high"), 1, number);
  object.unknown();
  if (field.low.size() != field.high.size())
    refuse(path, "field " + text::quoted(field.name) + ": " + std::to_string(field.low.size()) +
                     " lower bounds but " + std::to_string(field.high.size()) + " upper ones");
  for (std::size_t i = 0; i < field.low.size(); ++i)
    if (!(field.low[i] <= field.high[i]))
      refuse(path, "field " + text::quoted(field.name) + ", component " + std::to_string(i) +
                       ": [" + text::repr(field.low[i]) + ", " + text::repr(field.high[i]) +
                       "] is not a range");
  return field;
}

std::vector<Field> fields_of(const Json& value, const std::string& path, std::size_t least) {
  if (!value.is_array()) refuse(path, "Input should be a valid tuple");
  std::vector<Field> found;
  for (std::size_t i = 0; i < value.size(); ++i)
    found.push_back(field_of(value[i], indexed(path, i)));
  list(value, path, least);
  return found;
}

// Rows of finite numbers, and how wide each is; widths are judged once latent_size is known.
std::vector<std::vector<double>> rows_of(const Json& value, const std::string& path) {
  if (!value.is_array()) refuse(path, "Input should be a valid tuple");
  std::vector<std::vector<double>> rows;
  for (std::size_t i = 0; i < value.size(); ++i)
    rows.push_back(numbers(value[i], indexed(path, i), 0, finite));
  list(value, path, 1);
  return rows;
}

std::vector<double> flattened(const std::vector<std::vector<double>>& rows) {
  std::vector<double> flat;
  for (const auto& row : rows) flat.insert(flat.end(), row.begin(), row.end());
  return flat;
}

// What only people read is checked all the same, as the Python reader does.
void check_provenance(const Json& value) {
  Object object(value, "provenance", "Provenance");
  for (const char* name : {"fieldtune_version", "dataset", "config_sha256"})
    word(object.required(name), object.at(name));
  integer(object.required("seed"), object.at("seed"));
  one_of(object.required("phase"), object.at("phase"), {"offline", "self-supervised"},
         "'offline' or 'self-supervised'");
  integer(object.required("updates"), object.at("updates"));
  if (const Json* parent = object.optional("parent_bundle"))
    word(*parent, object.at("parent_bundle"));
  if (const Json* start = object.optional("warm_start")) word(*start, object.at("warm_start"));
  object.unknown();
}

std::set<std::string> differences_of(const Json& value, const std::string& path, const char* kind,
                                     bool parity) {
  Object all(value, path, "");
  std::set<std::string> names;
  for (const auto& item : value.items()) {
    Object one(item.value(), all.at(item.key()), kind);
    const auto at = one.at("relative");
    if (not_negative(one.required("relative"), at) > kParityLimit && parity)
      refuse(at, "Input should be less than or equal to 0.00001");
    not_negative(one.required("absolute"), one.at("absolute"));
    positive_integer(one.required("samples"), one.at("samples"));
    one.unknown();
    names.insert(item.key());
  }
  return names;
}

// Of what `differences_of` has checked.
void require_within(const Json& difference, double tolerance, const std::string& path) {
  for (const auto& item : difference.items()) {
    const double off = not_negative(item.value().at("relative"), path);
    if (off <= tolerance) continue;
    char numbers[2][32];
    std::snprintf(numbers[0], sizeof numbers[0], "%g", off);
    std::snprintf(numbers[1], sizeof numbers[1], "%g", tolerance);
    refuse(path, item.key() + " is " + numbers[0] +
                     " from the bundle's that it was made from, beyond the tolerance of " +
                     numbers[1] + ": convert it again");
  }
}

Likelihood likelihood_of(const Json& value, Rows& rows) {
  Object object(value, "likelihood", "Likelihood");
  Likelihood found;
  rows.particles = rows_of(object.required("particles"), object.at("particles"));
  if (rows.particles.size() > kMostParticles)
    refuse(object.at("particles"), "Tuple should have at most 20000 items after validation, not " +
                                       std::to_string(rows.particles.size()));
  found.count = rows.particles.size();
  found.particles = flattened(rows.particles);
  found.reward_variance =
      positive(object.required("reward_variance"), object.at("reward_variance"));
  if (const Json* change = object.optional("change_variance")) {
    rows.has_change = true;
    rows.change_variance = numbers(*change, object.at("change_variance"), 0, positive);
  }
  if (const Json* temper = object.given("temper")) {
    found.temper = number(*temper, object.at("temper"));
    if (!(found.temper > 0)) refuse(object.at("temper"), "Input should be greater than 0");
    if (!(found.temper <= 1))
      refuse(object.at("temper"), "Input should be less than or equal to 1");
  }
  found.unlike_below = finite(object.required("unlike_below"), object.at("unlike_below"));
  object.unknown();
  return found;
}

// What no other string in the text can be, since `parsed` refuses the character.
constexpr char kMark[] = "\\u0000";
const std::string kEndless = std::string(1, '\0') + "Infinity";
const std::string kMinusEndless = std::string(1, '\0') + "-Infinity";

// Version 0.1.0 wrote an unbounded component as a bare Infinity, which is no JSON.
std::string with_quoted_infinities(const std::string& text) {
  std::string found;
  bool inside = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (inside && text[i] == '\\' && i + 1 < text.size()) {
      found += text[i];
      found += text[++i];
      continue;
    }
    if (text[i] == '"') inside = !inside;
    const std::size_t minus = text[i] == '-' ? 1 : 0;
    if (!inside && text.compare(i + minus, 8, "Infinity") == 0) {
      found += "\"" + (kMark + text.substr(i, 8 + minus)) + "\"";
      i += 7 + minus;
      continue;
    }
    found += text[i];
  }
  return found;
}

// A bare Infinity is a number, and a text in quotes stays one.
Json parsed(const std::string& text) {
  const auto refuse = [](const std::string& why) -> ManifestError {
    return ManifestError("not JSON (" + why + "): export the bundle again");
  };
  if (text.compare(0, 3, "\xef\xbb\xbf") == 0) throw refuse("expected value at line 1 column 1");
  if (text.find(kMark) != std::string::npos) throw refuse("the character NUL in a text");
  const auto read = [&](int, Json::parse_event_t event, Json& value) {
    if (!value.is_string()) return true;
    const auto& word = value.get_ref<const std::string&>();
    if (word != kEndless && word != kMinusEndless) return true;
    if (event == Json::parse_event_t::key) throw refuse("key must be a string");
    const double endless = std::numeric_limits<double>::infinity();
    value = word == kEndless ? endless : -endless;
    return true;
  };
  try {
    return Json::parse(with_quoted_infinities(text), read);
  } catch (const Json::exception& error) {
    throw refuse(error.what());
  }
}

std::string said(const Json* version) {
  if (version == nullptr) return "None";
  if (version->is_string()) return text::quoted(version->get<std::string>());
  if (version->is_number_float()) return text::repr(version->get<double>());
  if (version->is_boolean()) return version->get<bool>() ? "True" : "False";
  return version->is_null() ? "None" : version->dump();
}

}  // namespace

Manifest parse(const std::string& text) {
  constexpr char kUpdate[] = ": update fieldtune here, or export the bundle with this version";
  const Json content = parsed(text);
  if (!content.is_object())
    throw ManifestError("expected an object of named fields: export the bundle again");
  try {
    Object object(content, "", "");
    Manifest known;
    Rows rows;
    const Json* version = object.given("schema_version");
    if (version == nullptr || !version->is_number_integer() || (*version != 1 && *version != 2))
      throw ManifestError("schema_version is " + said(version) + ", expected 1 or 2");
    known.text = text;
    known.schema_version = version->get<std::int64_t>();
    known.family = word(object.required("family"), "family");
    known.robot = word(object.required("robot"), "robot");
    known.observation_fields =
        fields_of(object.required("observation_fields"), "observation_fields", 1);
    known.action_fields = fields_of(object.required("action_fields"), "action_fields", 1);
    known.period_s = positive(object.required("period_s"), "period_s");
    known.horizon = positive_integer(object.required("horizon"), "horizon");
    known.latent_size =
        std::size_t(positive_integer(object.required("latent_size"), "latent_size"));
    for (auto [name, flag] :
         {std::pair{"context_has_next_observation", &known.context_has_next_observation},
          std::pair{"sparse_reward", &known.sparse_reward},
          std::pair{"prior_factor", &known.prior_factor}})
      if (const Json* given = object.given(name)) *flag = boolean(*given, name);
    rows.embeddings = rows_of(object.required("task_embeddings"), "task_embeddings");
    known.task_embeddings = flattened(rows.embeddings);
    const Json* seen = object.optional("observation_seen");
    if (seen != nullptr) known.observation_seen = fields_of(*seen, "observation_seen", 0);
    if (const Json* section = object.optional("likelihood"))
      known.likelihood = likelihood_of(*section, rows);
    check_provenance(object.required("provenance"));
    const Json& files = object.required("files");
    Object(files, "files", "");
    for (const auto& item : files.items()) {
      Object file(item.value(), "files." + item.key(), "FileEntry");
      File& entry = known.files[item.key()];
      entry.sha256 = sha256(file.required("sha256"), file.at("sha256"));
      entry.size = integer(file.required("size"), file.at("size"));
      if (entry.size < 0) refuse(file.at("size"), "Input should be greater than or equal to 0");
      file.unknown();
    }
    const auto parity = differences_of(object.required("parity"), "parity", "Parity", true);
    std::vector<std::set<std::string>> conversions;
    if (const Json* steps = object.given("conversions")) {
      list(*steps, "conversions");
      for (std::size_t i = 0; i < steps->size(); ++i) {
        Object step((*steps)[i], indexed("conversions", i), "Conversion");
        const auto to = one_of(step.required("to"), step.at("to"), {"fp16", "int8", "static"},
                               "'fp16', 'int8' or 'static'");
        sha256(step.required("source"), step.at("source"));
        const double tolerance = positive(step.required("tolerance"), step.at("tolerance"));
        if (tolerance > 1) refuse(step.at("tolerance"), "Input should be less than or equal to 1");
        word(step.required("samples"), step.at("samples"));
        conversions.push_back(differences_of(step.required("difference"), step.at("difference"),
                                             "Difference", false));
        step.unknown();
        require_within(step.required("difference"), tolerance, indexed("conversions", i));
        known.fixed_batch = known.fixed_batch || to == "static";
      }
    }
    object.unknown();
    rows.has_seen = seen != nullptr;
    check(known, rows, parity, conversions);
    return known;
  } catch (const ManifestError& error) {
    throw ManifestError(error.what() + std::string(kUpdate));
  }
}

}  // namespace fieldtune::manifest

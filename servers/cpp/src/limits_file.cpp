// Limits from the file that `fieldtune-robot bundle limits` writes (robot/safety/written.py).
#include <cmath>
#include <map>

#include "fields.hpp"
#include "fieldtune/limits.hpp"
#include "regular_file.hpp"
#include "text.hpp"

namespace fieldtune {
namespace {

using manifest::Json;
using manifest::Object;
using manifest::refuse;

constexpr std::size_t kMostBytes = std::size_t(8) << 20;

const std::map<std::string, Command> kKinds = {{"position", Command::kPosition},
                                               {"velocity", Command::kVelocity},
                                               {"displacement", Command::kDisplacement},
                                               {"effort", Command::kEffort}};

std::vector<double> numbers_of(Object& object, const char* name, std::size_t width) {
  const auto found = manifest::numbers(object.required(name), object.at(name), 0, manifest::number);
  if (found.size() != width)
    refuse(object.at(name),
           std::to_string(found.size()) + " numbers, expected " + std::to_string(width));
  for (const double value : found)
    if (std::isnan(value)) refuse(object.at(name), "Input should be a number");
  return found;
}

std::vector<std::string> names_of(Object& object, const char* name) {
  std::vector<std::string> found;
  for (const auto& item : manifest::list(object.required(name), object.at(name), 1))
    found.push_back(manifest::word(item, object.at(name)));
  return found;
}

// `width` is of the vector that the group's components must be in.
std::optional<Reading> reading_of(Object& object, const char* name, std::size_t count,
                                  std::size_t width) {
  const Json* given = object.optional(name);
  if (given == nullptr) return std::nullopt;
  Object reading(*given, object.at(name), "Reading");
  const auto start = manifest::integer(reading.required("start"), reading.at("start"));
  Reading found;
  found.factor = manifest::positive(reading.required("factor"), reading.at("factor"));
  reading.unknown();
  if (start < 0 || std::size_t(start) + count > width)
    refuse(reading.at("start"), std::to_string(start) + " and " + std::to_string(count) +
                                    " joints, of " + std::to_string(width) + " numbers");
  found.start = std::size_t(start);
  return found;
}

JointLimits joints_of(const Json& value, const std::string& path, std::size_t seen,
                      std::size_t moved) {
  Object object(value, path, "Joints");
  JointLimits found;
  found.names = names_of(object, "names");
  const std::size_t count = found.names.size();
  found.low = numbers_of(object, "low", count);
  found.high = numbers_of(object, "high", count);
  found.max_velocity = numbers_of(object, "max_velocity", count);
  found.max_acceleration = numbers_of(object, "max_acceleration", count);
  found.effort_low = numbers_of(object, "effort_low", count);
  found.effort_high = numbers_of(object, "effort_high", count);
  if (object.optional("reach_low") != nullptr) {
    found.reach_low = numbers_of(object, "reach_low", count);
    found.reach_high = numbers_of(object, "reach_high", count);
  } else {
    object.optional("reach_high");
  }
  found.position = reading_of(object, "position", count, seen);
  found.velocity = reading_of(object, "velocity", count, seen);
  found.effort = reading_of(object, "effort", count, seen);
  found.command = reading_of(object, "command", count, moved);
  if (const Json* kind = object.optional("kind")) {
    const auto known = kKinds.find(manifest::word(*kind, object.at("kind")));
    if (known == kKinds.end()) refuse(object.at("kind"), "unknown: update fieldtune here");
    found.kind = known->second;
  }
  if (found.command && found.kind == Command::kNone) refuse(object.at("kind"), "Field required");
  if (found.kind == Command::kPosition && !found.position)
    refuse(object.at("position"), "Field required");
  object.unknown();
  return found;
}

Limits parsed(const Json& content) {
  Object object(content, "", "Limits");
  if (manifest::integer(object.required("version"), "version") != 1)
    refuse("version", "expected 1: update fieldtune here, or write the limits with this version");
  Limits found;
  found.period_s = manifest::positive(object.required("period_s"), "period_s");
  found.action_names = names_of(object, "action_names");
  found.observation_names = names_of(object, "observation_names");
  const std::size_t moved = found.action_names.size(), seen = found.observation_names.size();
  found.range_low = numbers_of(object, "range_low", moved);
  found.range_high = numbers_of(object, "range_high", moved);
  found.low = numbers_of(object, "low", moved);
  found.high = numbers_of(object, "high", moved);
  found.rate = numbers_of(object, "rate", moved);
  found.fault_low = numbers_of(object, "fault_low", seen);
  found.fault_high = numbers_of(object, "fault_high", seen);
  found.box_low = numbers_of(object, "box_low", seen);
  found.box_high = numbers_of(object, "box_high", seen);
  for (const auto& item : manifest::list(object.required("box_action"), "box_action")) {
    found.box_action.push_back(manifest::integer(item, "box_action"));
    if (found.box_action.back() < -1 || found.box_action.back() >= std::int64_t(moved))
      refuse("box_action",
             std::to_string(found.box_action.back()) + " is no component of an action");
  }
  if (found.box_action.size() != seen) refuse("box_action", "expected one for each observation");
  found.observation_age_s =
      manifest::positive(object.required("observation_age_s"), "observation_age_s");
  if (const Json* frozen = object.optional("frozen_periods"))
    found.frozen_periods = manifest::positive_integer(*frozen, "frozen_periods");
  const Json& joints = manifest::list(object.required("joints"), "joints");
  for (std::size_t i = 0; i < joints.size(); ++i)
    found.joints.push_back(joints_of(joints[i], "joints." + std::to_string(i), seen, moved));
  object.unknown();
  return found;
}

// A component's name, as the limits have it: NAME, or NAME[INDEX] of a field with several.
std::vector<std::string> components_of(const std::vector<Field>& fields) {
  std::vector<std::string> found;
  for (const Field& field : fields)
    for (std::size_t i = 0; i < field.width(); ++i)
      found.push_back(field.width() == 1 ? field.name
                                         : field.name + "[" + std::to_string(i) + "]");
  return found;
}

void require_same(const char* kind, const std::vector<std::string>& limited,
                  const std::vector<Field>& fields) {
  const auto given = components_of(fields);
  if (limited != given)
    throw BundleError(std::string("the limits are for the ") + kind + "s " + text::listed(limited) +
                      ", the bundle has " + text::listed(given) +
                      ": write them anew with `fieldtune-robot bundle limits`");
}

}  // namespace

void require_fit(const Limits& limits, const Manifest& manifest) {
  require_same("action", limits.action_names, manifest.action_fields);
  require_same("observation", limits.observation_names, manifest.observation_fields);
  if (std::lround(limits.period_s * 1e9) != std::lround(manifest.period_s * 1e9))
    throw BundleError("the limits are for a period of " + text::brief(limits.period_s) +
                      " s, the bundle has " + text::brief(manifest.period_s) +
                      " s: write them anew with `fieldtune-robot bundle limits`");
}

Limits read_limits(const std::string& path) {
  const std::string text = bytes_of("limits", path, kMostBytes);
  if (text.size() > kMostBytes)
    throw BundleError("limits " + path + ": more than " + std::to_string(kMostBytes) +
                      " bytes: write them again with `fieldtune-robot bundle limits`");
  try {
    return parsed(Json::parse(text));
  } catch (const Json::exception& error) {
    throw BundleError("limits " + path + ": not JSON (" + error.what() + "): write them again");
  } catch (const manifest::ManifestError& error) {
    throw BundleError("limits " + path + ": " + error.what() +
                      ": write them again with `fieldtune-robot bundle limits`");
  }
}

}  // namespace fieldtune

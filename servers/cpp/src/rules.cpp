#include "rules.hpp"

#include <algorithm>
#include <cmath>

#include "fields.hpp"
#include "text.hpp"

namespace fieldtune::manifest {
namespace {

void check_rows(const std::vector<std::vector<double>>& rows, const char* what, std::size_t width) {
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (rows[i].size() != width)
      refuse("", std::string(what) + "[" + std::to_string(i) + "] is " +
                     std::to_string(rows[i].size()) + " wide, latent_size is " +
                     std::to_string(width));
}

std::vector<std::string> sorted(const std::set<std::string>& names) {
  return {names.begin(), names.end()};
}

void check_likelihood(const Manifest& known, const Rows& rows) {
  const std::string version = std::to_string(known.schema_version);
  if (known.likelihood.has_value() != (known.schema_version == 2))
    refuse("", "schema_version is " + version + " and there is " +
                   (known.likelihood ? "a section" : "no section") +
                   " 'likelihood': version 2 is of bundles that have one, version 1 of those that "
                   "have none");
  if (!known.likelihood) return;
  check_rows(rows.particles, "likelihood.particles", known.latent_size);
  if (!rows.has_change) return;
  if (!known.context_has_next_observation)
    refuse("",
           "likelihood.change_variance is given, but context_has_next_observation is false: "
           "without a next observation there is no change");
  if (rows.change_variance.size() != known.observation_width())
    refuse("", "likelihood.change_variance is " + std::to_string(rows.change_variance.size()) +
                   " wide, observations are " + std::to_string(known.observation_width()));
}

void check_widths(const Manifest& known, const Rows& rows) {
  const auto once = [](const char* kind, const std::vector<Field>& fields) {
    std::set<std::string> seen, twice;
    for (const auto& field : fields)
      if (!seen.insert(field.name).second) twice.insert(field.name);
    if (!twice.empty())
      refuse("",
             std::string(kind) + ": " + text::quoted(*twice.begin()) + " appears more than once");
  };
  once("observation_fields", known.observation_fields);
  once("action_fields", known.action_fields);
  for (const auto& field : known.action_fields)
    for (std::size_t i = 0; i < field.low.size(); ++i) {
      const double low = field.low[i], high = field.high[i];
      if (!(std::isfinite(low) && std::isfinite(high) && low < high))
        refuse("", "action field " + text::quoted(field.name) + ": bounds [" + text::repr(low) +
                       ", " + text::repr(high) +
                       "] must be finite and apart, the squashed action is scaled by them");
    }
  check_rows(rows.embeddings, "task_embeddings", known.latent_size);
}

void check_seen(const Manifest& known) {
  const auto& seen = known.observation_seen;
  const auto& fields = known.observation_fields;
  bool same = seen.size() == fields.size();
  for (std::size_t i = 0; same && i < seen.size(); ++i)
    same = seen[i].name == fields[i].name && seen[i].unit == fields[i].unit &&
           seen[i].width() == fields[i].width();
  if (!same)
    refuse("", "observation_seen has other names, widths or units than observation_fields");
  const auto is_finite = [](double value) { return std::isfinite(value); };
  for (const auto& field : seen)
    if (!std::all_of(field.low.begin(), field.low.end(), is_finite) ||
        !std::all_of(field.high.begin(), field.high.end(), is_finite))
      refuse("", "observation_seen, field " + text::quoted(field.name) +
                     ": its bounds must be finite, as data are");
}

void check_graphs(const Manifest& known, const std::set<std::string>& parity,
                  const std::vector<std::set<std::string>>& conversions) {
  std::set<std::string> graphs, files, outputs;
  for (const auto& [name, signature] : known.signatures()) {
    graphs.insert(name);
    for (const auto& output : signature.outputs)
      outputs.insert(name.substr(0, name.size() - 5) + "." + output.first);
  }
  for (const auto& item : known.files) files.insert(item.first);
  if (files != graphs)
    refuse("", "files lists " + text::listed(sorted(files)) + ", expected " +
                   text::listed(sorted(graphs)));
  if (parity != outputs)
    refuse("", "parity lists " + text::listed(sorted(parity)) + ", expected " +
                   text::listed(sorted(outputs)));
  for (std::size_t i = 0; i < conversions.size(); ++i)
    if (conversions[i] != outputs)
      refuse("", "conversions[" + std::to_string(i) + "].difference lists " +
                     text::listed(sorted(conversions[i])) + ", expected " +
                     text::listed(sorted(outputs)));
}

}  // namespace

void check(const Manifest& known, const Rows& rows, const Names& parity,
           const std::vector<Names>& conversions) {
  check_likelihood(known, rows);
  check_widths(known, rows);
  if (rows.has_seen) check_seen(known);
  check_graphs(known, parity, conversions);
}

}  // namespace fieldtune::manifest

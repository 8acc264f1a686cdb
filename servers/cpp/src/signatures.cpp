// Each graph's inputs and outputs, as follows from the widths that a manifest declares.
#include "fieldtune/bundle.hpp"

namespace fieldtune {

namespace {

std::size_t width_of(const std::vector<Field>& fields) {
  std::size_t width = 0;
  for (const auto& field : fields) width += field.width();
  return width;
}

}  // namespace

std::size_t Manifest::observation_width() const { return width_of(observation_fields); }
std::size_t Manifest::action_width() const { return width_of(action_fields); }

std::vector<std::pair<std::string, Signature>> Manifest::signatures() const {
  using Value = std::pair<std::string, std::int64_t>;
  const auto sized = [](const char* name, std::size_t width) {
    return Value(name, std::int64_t(width));
  };
  const Value observation = sized("observation", observation_width()), reward("reward", 1);
  const Value action = sized("action", action_width()), z = sized("z", latent_size);
  Signature::Values transition = {observation, action, reward};
  if (context_has_next_observation)
    transition.push_back(sized("next_observation", observation_width()));
  std::vector<std::pair<std::string, Signature>> found = {
      {"policy.onnx",
       {{observation, z}, {sized("mean", action_width()), sized("log_std", action_width())}, {}}},
      {"encoder.onnx",
       {transition, {sized("mean", latent_size), sized("variance", latent_size)}, {}}},
      {"decoder.onnx", {{observation, action, z}, {reward}, {}}}};
  if (likelihood) {
    transition.push_back(z);
    found.push_back({"likelihood.onnx", {transition, {{"log_likelihood", 1}}, {}}});
  }
  if (fixed_batch)
    for (auto& [name, signature] : found)
      signature.batch = name == "likelihood.onnx" ? std::int64_t(likelihood->count) : 1;
  return found;
}

}  // namespace fieldtune

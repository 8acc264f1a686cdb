#include "fieldtune/bundle.hpp"

#include "archive.hpp"
#include "graph.hpp"
#include "manifest.hpp"
#include "regular_file.hpp"
#include "text.hpp"

namespace fieldtune {
namespace {

constexpr std::size_t kMostBytes = std::size_t(256) << 20, kMostManifestBytes = std::size_t(8)
                                                                                << 20;
constexpr char kManifest[] = "manifest.json";

void check_file(const std::string& name, const std::string& content, const File& listed,
                const Signature& signature, const std::string& source) {
  const std::string where = "bundle " + source + ", " + name + ": ",
                    again = ": export the bundle again";
  if (std::size_t(listed.size) != content.size())
    throw BundleError(where + std::to_string(content.size()) + " bytes, manifest.json lists " +
                      std::to_string(listed.size) + again);
  const std::string actual = archive::sha256(content);
  if (listed.sha256 != actual)
    throw BundleError(where + "its sha256 is " + actual + ", manifest.json lists " + listed.sha256 +
                      again);
  try {
    graph::check(content, signature);
  } catch (const graph::GraphError& error) {
    throw BundleError(where + error.what());
  }
}

}  // namespace

Bundle read_bundle(const std::string& path, const std::string& expected_id) {
  return parse_bundle(bytes_of("bundle", path, kMostBytes), path, expected_id);
}

Bundle parse_bundle(const std::string& data, const std::string& source,
                    const std::string& expected_id) {
  const std::string where = "bundle " + source;
  Bundle bundle;
  if (data.size() > kMostBytes)
    throw BundleError(where + ": " + std::to_string(data.size()) + " bytes, at most " +
                      std::to_string(kMostBytes) +
                      " are accepted: fetch or export the bundle again");
  try {
    bundle.id = archive::digest(data);
  } catch (const archive::ArchiveError& error) {
    throw BundleError(where + ": " + error.what() + ": fetch or export the bundle again");
  }
  if (!expected_id.empty() && bundle.id != expected_id)
    throw BundleError(where + ": its id is " + bundle.id + ", expected " + expected_id);
  std::vector<std::string> names = {kManifest, "policy.onnx", "encoder.onnx", "decoder.onnx"};
  try {
    if (archive::count(data) == names.size() + 1) names.emplace_back("likelihood.onnx");
    bundle.graphs = archive::decode(data, names);
  } catch (const archive::ArchiveError& error) {
    throw BundleError(where + ": " + error.what() + ": export the bundle again");
  }
  const std::string text = std::move(bundle.graphs[kManifest]);
  bundle.graphs.erase(kManifest);
  if (text.size() > kMostManifestBytes)
    throw BundleError(where + ", manifest.json: " + std::to_string(text.size()) +
                      " bytes, at most " + std::to_string(kMostManifestBytes) +
                      " are accepted: export fewer task embeddings or particles");
  try {
    bundle.manifest = manifest::parse(text);
  } catch (const manifest::ManifestError& error) {
    throw BundleError(where + ", manifest.json: " + error.what());
  }
  std::vector<std::string> listed;
  for (const auto& item : bundle.manifest.files) listed.push_back(item.first);
  names.erase(names.begin());
  if (names.size() != listed.size())
    throw BundleError(where + ": it holds " + text::joined(names) + ", manifest.json lists " +
                      text::joined(listed) + ": export the bundle again");
  for (const auto& [name, signature] : bundle.manifest.signatures())
    check_file(name, bundle.graphs.at(name), bundle.manifest.files.at(name), signature, source);
  return bundle;
}

}  // namespace fieldtune

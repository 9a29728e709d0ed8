#include "saved_state/manifest.hpp"

#include <charconv>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/check.hpp"
#include "base/json_document.hpp"
#include "saved_state/checksum.hpp"

namespace kumihimo {
namespace {

using Json = nlohmann::json;

constexpr const char* schema = "kumihimo.state/1";

/// Sixteen digits: a number of JSON would lose bits in readers that keep it as a double.
std::string checksum_text(std::uint64_t checksum) { return fmt::format("{:016x}", checksum); }

std::optional<std::uint64_t> parse_checksum(const std::string& text) {
  std::uint64_t checksum = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, checksum, 16);
  if (error != std::errc() || stop != end || text.size() != 16) return std::nullopt;
  return checksum;
}

/// Of everything in the manifest but its own checksum. The library sorts keys, so that the text is
/// the same whoever indented it.
std::string own_checksum(Json root) {
  root.erase("xxh3");
  return checksum_text(checksum_of_text(root.dump()));
}

/// A name that cannot lead out of the folder of the state.
bool is_plain_name(const std::string& name) {
  return !name.empty() && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos && name != "." && name != "..";
}

/// Throws Json::exception where a key is missing or of another type.
std::optional<Manifest> read_fields(const Json& root) {
  Manifest manifest;
  manifest.step = root.at("step").get<std::int64_t>();
  manifest.samples_consumed = root.at("samples_consumed").get<std::int64_t>();
  manifest.layout = root.at("layout").get<std::string>();
  manifest.run = root.at("run").dump();
  if (manifest.step < 0 || manifest.samples_consumed < 0) return std::nullopt;
  for (const Json& entry : root.at("files")) {
    SavedFile file;
    file.name = entry.at("name").get<std::string>();
    file.bytes = entry.at("bytes").get<std::int64_t>();
    const auto checksum = parse_checksum(entry.at("xxh3").get<std::string>());
    if (!is_plain_name(file.name) || file.bytes < 0 || !checksum) return std::nullopt;
    file.checksum = *checksum;
    manifest.files.push_back(std::move(file));
  }
  return manifest;
}

}  // namespace

std::string write_manifest(const Manifest& manifest) {
  Json files = Json::array();
  for (const SavedFile& file : manifest.files) {
    KUMIHIMO_CHECK(is_plain_name(file.name));
    files.push_back(
        {{"name", file.name}, {"bytes", file.bytes}, {"xxh3", checksum_text(file.checksum)}});
  }
  const Json run = Json::parse(manifest.run.empty() ? "{}" : manifest.run, nullptr, false);
  KUMIHIMO_CHECK(!run.is_discarded());
  Json root{{"schema", schema},
            {"step", manifest.step},
            {"samples_consumed", manifest.samples_consumed},
            {"layout", manifest.layout},
            {"run", run},
            {"files", files}};
  root["xxh3"] = own_checksum(root);
  return root.dump(2) + "\n";
}

Expected<Manifest> parse_manifest(std::string_view text, std::string_view where) {
  const auto fault = [&](std::string what) {
    return Error{std::string(where), std::move(what), ""};
  };
  const char* const no_manifest = "is damaged: it is not the JSON of a manifest";
  const Expected<Json> parsed = parse_json(text, where, "");
  if (!parsed) return fault(no_manifest);
  try {
    const Json& root = *parsed;
    const std::string stated = root.at("schema").get<std::string>();
    if (stated != schema) {
      return Error{
          std::string(where),
          fmt::format("is of schema \"{}\"; this program reads {}", stated.substr(0, 60), schema),
          "use the version of the program that wrote it"};
    }
    if (root.at("xxh3").get<std::string>() != own_checksum(root)) {
      return fault("was changed or damaged after it was written: its checksum does not match");
    }
    std::optional<Manifest> manifest = read_fields(root);
    if (!manifest) return fault("is damaged: it holds a value that no manifest has");
    return *std::move(manifest);
  } catch (const Json::exception&) {
    return fault(no_manifest);
  }
}

}  // namespace kumihimo

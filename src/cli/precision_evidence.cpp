#include "cli/precision_evidence.hpp"

#include <nlohmann/json.hpp>

#include "base/files.hpp"
#include "base/json_document.hpp"
#include "cli/json_text.hpp"

namespace kumihimo {
namespace {

using Json = nlohmann::json;

constexpr std::size_t largest_file = 256 << 20;

bool compares_fp8(const Json& document) {
  for (const Json& training : document.at("trainings")) {
    if (training.at("precision") == "fp8") return true;
  }
  return false;
}

}  // namespace

Expected<PrecisionEvidence> read_precision_evidence(const std::string& path) {
  const std::string fix = "give the output of `kumihimo train --compare-precision bf16,fp8 --json`";
  const Expected<std::string> text = read_file(path, largest_file);
  if (!text) return text.errors();
  const Expected<Json> parsed = parse_json(*text, path, fix);
  if (!parsed) return parsed.errors();
  const Json& document = *parsed;
  if (!document.is_object() || document.value("schema", Json()) != "kumihimo.compare-precision/1") {
    return Error{path, "is no comparison of precisions", fix};
  }
  try {
    if (!compares_fp8(document)) return Error{path, "does not compare fp8", fix};
    return PrecisionEvidence{.path = path,
                             .mean_gap = document.at("mean_gap").get<double>(),
                             .tolerance = document.at("tolerance").get<double>(),
                             .within_tolerance = document.at("within_tolerance").get<bool>(),
                             .emulated = document.at("fp8_emulated").get<bool>()};
  } catch (const Json::exception& error) {
    return Error{path, "is not such a document: " + fault_text(error), fix};
  }
}

}  // namespace kumihimo

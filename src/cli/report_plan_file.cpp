#include <nlohmann/json.hpp>

#include "base/files.hpp"
#include "base/json_document.hpp"
#include "cli/json_text.hpp"
#include "cli/report_sources.hpp"
#include "layout/layout_text.hpp"

namespace kumihimo {
namespace {

using Json = nlohmann::json;

constexpr std::string_view remedy = "give the output of `kumihimo plan --json`";

/// As far as the document has it: names, counts and how well the profile predicts.
PlannedJob planned_of(const Json& job) {
  PlannedJob planned;
  const Json &cluster = job.at("cluster"), &stack = job.at("stack");
  planned.job.model.name = job.at("model").at("name").get<std::string>();
  planned.job.seq_length = job.at("seq_length").get<std::int64_t>();
  planned.job.global_batch_size = job.at("global_batch_size").get<std::int64_t>();
  planned.devices = job.at("gpus").get<std::int64_t>();
  planned.assumptions = job.at("assumptions").get<std::vector<std::string>>();
  planned.cluster.name = cluster.at("name").get<std::string>();
  planned.cluster.description = cluster.at("description").get<std::string>();
  planned.cluster.device.name = cluster.at("device").get<std::string>();
  planned.profile.name = stack.at("name").get<std::string>();
  planned.profile.origin = stack.at("origin").get<std::string>();
  planned.profile.cluster = stack.at("cluster").get<std::string>();
  planned.profile.time_residual = stack.at("time_residual").get<double>();
  for (const Json& fit : stack.at("evidence")) {
    planned.profile.evidence.push_back({.source = fit.at("source").get<std::string>()});
  }
  return planned;
}

Expected<RankedLayout> ranked_of(const Json& ranked) {
  const auto layout = parse_layout(ranked.at("layout").at("text").get<std::string>());
  if (!layout) return layout.errors();
  const Json& predicted = ranked.at("predicted");
  const auto figure = [&](const char* key) { return predicted.at(key).get<double>(); };
  return RankedLayout{*layout,
                      {.step_s = figure("step_time_s"),
                       .mfu = figure("mfu"),
                       .tokens_per_s_per_device = figure("tokens_per_s_per_gpu"),
                       .peak_memory_bytes = figure("memory_bytes"),
                       .fits_probability = figure("fits_probability"),
                       .error_band = figure("error_band")}};
}

}  // namespace

Expected<std::monostate> add_plan_file(const std::string& path, ReportContent& content) {
  const Expected<std::string> text = read_file(path, std::size_t{256} << 20);
  if (!text) return text.errors();
  const Expected<Json> parsed = parse_json(*text, path, remedy);
  if (!parsed) return parsed.errors();
  try {
    const Json& document = *parsed;
    if (document.at("schema") != "kumihimo.plan/1") {
      return Error{path, "has the schema " + document.at("schema").dump().substr(0, 60),
                   std::string(remedy)};
    }
    const PlannedJob planned = planned_of(document.at("job"));
    std::vector<RankedLayout> best;
    for (const Json& entry : document.at("best")) {
      Expected<RankedLayout> ranked = ranked_of(entry);
      if (!ranked) return ranked.errors();
      best.push_back(*std::move(ranked));
    }
    add_best_layouts(planned, best, content);
    add_plan_provenance(planned, content);
  } catch (const Json::exception& error) {
    return Error{path, "is not such a document: " + fault_text(error), std::string(remedy)};
  }
  content.provenance.emplace_back(message(content.language, "page.left_out"),
                                  message(content.language, "page.left_out_of_plan"));
  return std::monostate{};
}

}  // namespace kumihimo

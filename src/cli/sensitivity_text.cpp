#include "cli/sensitivity_text.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/planner_json.hpp"
#include "layout/layout_columns.hpp"
#include "layout/layout_text.hpp"

namespace kumihimo {
namespace {

using Json = nlohmann::ordered_json;

std::string region_name(const SensitivityRegion& region, Language language) {
  return region.layout ? short_text(*region.layout)
                       : std::string(message(language, "sensitivity.nothing_fits"));
}

Json layout_or_null(const std::optional<ParallelLayout>& layout) {
  return layout ? layout_json(*layout) : Json();
}

}  // namespace

std::pair<std::string, std::string> difference_text(const ParallelLayout& a,
                                                    const ParallelLayout& b) {
  std::pair<std::string, std::string> result;
  const auto differ = [&](std::string_view name, const auto& x, const auto& y) {
    if (x == y) return;
    result.first += fmt::format("{}{} {}", result.first.empty() ? "" : " · ", name, x);
    result.second += fmt::format("{}{} {}", result.second.empty() ? "" : " · ", name, y);
  };
  differ("tp", a.tensor_parallel, b.tensor_parallel);
  differ("pp", a.pipeline_parallel, b.pipeline_parallel);
  differ("cp", a.context_parallel, b.context_parallel);
  differ("mb", a.micro_batch_size, b.micro_batch_size);
  for (const Knob& knob : further_knobs()) {
    if (knob.title == "cp") continue;
    differ(knob.title, knob.value(a), knob.value(b));
  }
  return result;
}

std::vector<std::string> threshold_sentences(const Sensitivity& sensitivity, Language language) {
  const std::string name(
      message(language, fmt::format("sensitivity.{}", key_of(sensitivity.axis))));
  const auto amount = [&](double value) { return amount_text(sensitivity.axis, value); };
  std::vector<std::string> sentences;
  if (sensitivity.regions.size() == 1) {
    const SensitivityRegion& only = sensitivity.regions.front();
    sentences.push_back(text_of(language, "sensitivity.never", name, region_name(only, language),
                                amount(only.from), amount(only.to)));
  }
  for (std::size_t i = 0; i < sensitivity.thresholds.size(); ++i) {
    const SensitivityRegion& below = sensitivity.regions[i];
    const SensitivityRegion& above = sensitivity.regions[i + 1];
    const std::string at = amount(sensitivity.thresholds[i].amount);
    if (below.layout && above.layout) {
      const auto names = difference_text(*below.layout, *above.layout);
      sentences.push_back(
          text_of(language, "sensitivity.below", name, at, names.first, names.second));
    } else {
      sentences.push_back(
          text_of(language, below.layout ? "sensitivity.unfit_above" : "sensitivity.unfit_below",
                  name, at));
    }
  }
  return sentences;
}

Json sensitivity_json(const Sensitivity& sensitivity, Language language) {
  Json points = Json::array(), regions = Json::array(), thresholds = Json::array();
  for (const SensitivityPoint& point : sensitivity.points) {
    Json json{{"amount", point.amount}, {"layout", nullptr}, {"predicted", nullptr}};
    if (point.best) {
      json["layout"] = layout_json(point.best->layout);
      json["predicted"] = prediction_json(point.best->prediction);
    }
    points.push_back(std::move(json));
  }
  for (const SensitivityRegion& region : sensitivity.regions) {
    regions.push_back(
        {{"from", region.from}, {"to", region.to}, {"layout", layout_or_null(region.layout)}});
  }
  for (const SensitivityThreshold& threshold : sensitivity.thresholds) {
    thresholds.push_back(threshold.amount);
  }
  return {{"axis", key_of(sensitivity.axis)},
          {"today", sensitivity.today},
          {"points", std::move(points)},
          {"regions", std::move(regions)},
          {"thresholds", std::move(thresholds)},
          {"sentences", threshold_sentences(sensitivity, language)}};
}

Json sensitivity_map_json(const SensitivityMap& map) {
  Json layouts = Json::array();
  for (const ParallelLayout& layout : map.layouts) layouts.push_back(layout_json(layout));
  return {{"x", key_of(map.x)},
          {"y", key_of(map.y)},
          {"x_amounts", map.x_amounts},
          {"y_amounts", map.y_amounts},
          {"layouts", std::move(layouts)},
          {"winner", map.winner},
          {"mfu", map.mfu}};
}

std::vector<Sensitivity> all_sensitivities(const SearchRequest& request) {
  std::vector<Sensitivity> result;
  for (const SensitivityAxis axis :
       {SensitivityAxis::inter_node_bandwidth, SensitivityAxis::device_memory,
        SensitivityAxis::devices, SensitivityAxis::global_batch, SensitivityAxis::seq_length}) {
    result.push_back(sensitivity(request, axis));
  }
  return result;
}

}  // namespace kumihimo

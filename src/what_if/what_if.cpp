#include "what_if/what_if.hpp"

#include <fmt/format.h>

#include "base/number_text.hpp"
#include "layout/layout_columns.hpp"
#include "layout/layout_text.hpp"
#include "search/result_text.hpp"
#include "what_if/fields_json.hpp"

namespace kumihimo {
namespace {

constexpr int most_layouts = 10;
// As the program's flags and files have them.
constexpr double most_devices = 1'048'576;
constexpr double largest_count = 16'777'216;
constexpr double largest_quantity = 1e18;

WhatIfBest figures_of(const Prediction& prediction, std::int64_t devices) {
  return {prediction.mfu, prediction.step_s,
          prediction.tokens_per_s_per_device * static_cast<double>(devices),
          prediction.peak_memory_bytes};
}

Json figures_json(const Prediction& prediction) {
  const PredictionText text = to_text(prediction);
  return {{"mfu", text.mfu},       {"mfu_causal", text.mfu_causal},
          {"step", text.step},     {"tokens", text.tokens_per_s_per_device},
          {"memory", text.memory}, {"fits", text.fits},
          {"bubble", text.bubble}, {"communication", text.communication}};
}

Json layouts_json(const std::vector<ParallelLayout>& layouts, const SearchResult& result) {
  const std::vector<Knob> knobs = differing_knobs(layouts);
  Json list = Json::array();
  for (std::size_t i = 0; i < layouts.size(); ++i) {
    Json values = Json::object();
    for (const Knob& knob : knobs) values[knob.title] = knob.value(layouts[i]);
    list.push_back({{"layout", to_text(layouts[i])},
                    {"short", short_text(layouts[i])},
                    {"tp", layouts[i].tensor_parallel},
                    {"pp", layouts[i].pipeline_parallel},
                    {"dp", layouts[i].data_parallel},
                    {"micro_batch", layouts[i].micro_batch_size},
                    {"knobs", std::move(values)},
                    {"figures", figures_json(result.best[i].prediction)}});
  }
  return list;
}

Json shared_json(const std::vector<ParallelLayout>& layouts) {
  Json values = Json::object();
  for (const Knob& knob : shared_knobs(layouts)) values[knob.title] = knob.value(layouts.front());
  return values;
}

Json reasons_json(const std::map<std::string, std::int64_t>& reasons) {
  Json list = Json::array();
  for (const auto& [reason, layouts] : most_first(reasons)) {
    list.push_back({grouped(layouts), reason});
  }
  return list;
}

/// What keeps the layout that would be the best out of memory.
Json unfit_json(const RankedLayout& unfit, const SearchRequest& request) {
  const LargestMemory largest = largest_memory_category(unfit.prediction);
  return {{"short", short_text(unfit.layout)},
          {"layout", to_text(unfit.layout)},
          {"figures", figures_json(unfit.prediction)},
          {"capacity", format_bytes(static_cast<double>(request.cluster.device.memory))},
          {"category", largest.name},
          {"category_memory", format_bytes(largest.bytes)}};
}

Json changes_json(const WhatIfBest& now, const WhatIfBest& before) {
  const double points = std::round(1000 * (now.mfu - before.mfu)) / 10;
  return {{"mfu_points", points == 0 ? "0.0" : fmt::format("{:+.1f}", points)},
          {"step", signed_percent(now.step_s / before.step_s - 1)},
          {"tokens", signed_percent(now.tokens_per_s / before.tokens_per_s - 1)},
          {"memory", signed_percent(now.memory_bytes / before.memory_bytes - 1)}};
}

std::string refusal(const Errors& errors) {
  Json list = Json::array();
  for (const Error& error : errors) {
    list.push_back({{"where", error.where}, {"what", error.what}, {"fix", error.fix}});
  }
  const Json document{{"schema", "kumihimo.what-if/1"}, {"errors", std::move(list)}};
  return document.dump(-1, ' ', false, Json::error_handler_t::replace);
}

template <class T>
Expected<T> parse_fields(std::string_view json) {
  const Json document = Json::parse(json, nullptr, false);
  if (document.is_discarded()) return Error{"what-if", "is not JSON", ""};
  return read_fields<T>(document, "");
}

/// The widest of the best layouts, which share it where they share a precision.
std::string error_band_text(const SearchResult& result) {
  Prediction widest;
  for (const RankedLayout& ranked : result.best) {
    if (ranked.prediction.error_band > widest.error_band) widest = ranked.prediction;
  }
  return to_text(widest).error_band;
}

}  // namespace

WhatIfSettings settings_of(const WhatIfBasis& basis) {
  const SearchSpace space = default_space(basis.job, basis.cluster, basis.devices, basis.profile);
  return {.devices = basis.devices,
          .inter_node_bandwidth = basis.cluster.inter_node.bandwidth,
          .intra_node_bandwidth = basis.cluster.intra_node.bandwidth,
          .device_memory = basis.cluster.device.memory,
          .global_batch_size = basis.job.global_batch_size,
          .seq_length = basis.job.seq_length,
          .attention = space.attention.front(),
          .norm = space.norm.front(),
          .precision = space.precision.front()};
}

Expected<SearchRequest> what_if_request(const WhatIfBasis& basis, const WhatIfSettings& settings) {
  Errors faults;
  const auto in_range = [&](const char* where, auto amount, double largest) {
    if (amount > 0 && static_cast<double>(amount) <= largest) return;
    faults.push_back({where, fmt::format("is {}", amount),
                      fmt::format("give more than 0 and at most {}", largest)});
  };
  in_range("devices", settings.devices, most_devices);
  in_range("inter_node_bandwidth", settings.inter_node_bandwidth, largest_quantity);
  in_range("intra_node_bandwidth", settings.intra_node_bandwidth, largest_quantity);
  in_range("device_memory", settings.device_memory, largest_quantity);
  in_range("global_batch_size", settings.global_batch_size, largest_count);
  in_range("seq_length", settings.seq_length, largest_count);
  if (!faults.empty()) return faults;

  SearchRequest request{.job = basis.job,
                        .cluster = basis.cluster,
                        .profile = basis.profile,
                        .devices = settings.devices,
                        .limit = most_layouts};
  request.job.seq_length = settings.seq_length;
  request.job.global_batch_size = settings.global_batch_size;
  request.cluster.inter_node.bandwidth = settings.inter_node_bandwidth;
  request.cluster.intra_node.bandwidth = settings.intra_node_bandwidth;
  request.cluster.device.memory = settings.device_memory;
  Constraints wanted = basis.constraints;
  wanted.attention = {settings.attention};
  wanted.norm = {settings.norm};
  wanted.precision = {settings.precision};
  constrain(request, wanted, faults);
  if (faults.empty()) faults = request_faults(request);
  if (!faults.empty()) return faults;
  return request;
}

std::string to_json_text(const WhatIfBasis& basis) { return fields_text(basis); }
std::string to_json_text(const WhatIfSettings& settings) { return fields_text(settings); }

std::string to_json_text(const std::vector<WhatIfControl>& controls) {
  Json list = Json::array();
  for (const WhatIfControl& control : controls) {
    Json stops = Json::array();
    for (const WhatIfControl::Stop& stop : control.stops) {
      if (control.is_choice) {
        stops.push_back(stop.text);
      } else {
        stops.push_back({stop.amount, stop.text});
      }
    }
    list.push_back({{"key", control.key},
                    {"today", control.today},
                    {"choice", control.is_choice},
                    {"stops", std::move(stops)}});
  }
  return list.dump();
}

Expected<WhatIfBasis> parse_what_if_basis(std::string_view json) {
  return parse_fields<WhatIfBasis>(json);
}
Expected<WhatIfSettings> parse_what_if_settings(std::string_view json) {
  return parse_fields<WhatIfSettings>(json);
}

std::string what_if_answer(const SearchRequest& request, const SearchResult& result,
                           const std::optional<WhatIfBest>& before) {
  std::vector<ParallelLayout> layouts;
  for (const RankedLayout& ranked : result.best) {
    if (layouts.size() < most_layouts) layouts.push_back(ranked.layout);
  }
  Json document{{"schema", "kumihimo.what-if/1"},
                {"kind", "predicted"},
                {"layouts", layouts_json(layouts, result)},
                {"shared", shared_json(layouts)},
                {"error_band", error_band_text(result)},
                {"considered", grouped(result.considered)},
                {"fitting", grouped(result.fitting)},
                {"unfit", grouped(result.unfit)},
                {"unfit_by_category", reasons_json(result.unfit_categories)},
                {"impossible", grouped(result.invalid)},
                {"impossible_by_reason", reasons_json(result.invalid_reasons)},
                {"best", nullptr},
                {"total_tokens", nullptr},
                {"changes", nullptr},
                {"best_unfit", nullptr}};
  if (result.best_unfit) document["best_unfit"] = unfit_json(*result.best_unfit, request);
  if (!result.best.empty()) {
    const WhatIfBest best = figures_of(result.best.front().prediction, request.devices);
    document["best"] = fields::written(best);
    document["total_tokens"] = rate_text(best.tokens_per_s);
    if (before) document["changes"] = changes_json(best, *before);
  }
  return document.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string answer_what_if(std::string_view text, const SearchProgress& progress) {
  const Json document = Json::parse(text, nullptr, false);
  if (!document.is_object()) return refusal({{"request", "is not a JSON object", ""}});
  const auto member = [&](const char* key) {
    const auto found = document.find(key);
    return found == document.end() ? Json() : *found;
  };
  Errors faults;
  const auto basis = read_fields<WhatIfBasis>(member("basis"), "basis");
  const auto settings = read_fields<WhatIfSettings>(member("settings"), "settings");
  collect(faults, basis);
  collect(faults, settings);
  std::optional<WhatIfBest> before;
  fields::read(member("before"), "before", before, faults);
  if (!faults.empty()) return refusal(faults);

  Expected<SearchRequest> request = what_if_request(*basis, *settings);
  if (!request) return refusal(request.errors());
  request->threads = 1;
  return what_if_answer(*request, search(*request, {}, progress), before);
}

}  // namespace kumihimo

#include <cmath>
#include <fmt/format.h>
#include <map>
#include <nlohmann/json.hpp>

#include "base/csv.hpp"
#include "report/message_tables.hpp"
#include "report/report_content.hpp"
#include "report/report_tables.hpp"

namespace kumihimo {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t longest_text = 400;

/// Five digits: a page holds thousands of figures.
Json rounded(double value) {
  if (!std::isfinite(value)) return nullptr;
  if (value == 0) return 0.0;
  const double scale = std::pow(10.0, 4 - std::floor(std::log10(std::abs(value))));
  return std::round(value * scale) / scale;
}

Json rounded(const std::optional<double>& value) { return value ? rounded(*value) : Json(); }

std::string cleaned(const std::string& text) { return clean_text(text, longest_text); }

Json rows_json(const ReportContent& content) {
  Json rows = Json::array();
  for (const ReportRow& row : content.rows) {
    rows.push_back({{"kind", key_of(row.kind)},
                    {"study", cleaned(row.study)},
                    {"model", cleaned(row.model)},
                    {"gpus", row.gpus},
                    {"state", cleaned(row.state)},
                    {"tp", row.tp},
                    {"pp", row.pp},
                    {"dp", row.dp},
                    {"cp", row.cp},
                    {"micro_batch", row.micro_batch},
                    {"schedule", cleaned(row.schedule)},
                    {"recompute", cleaned(row.recompute)},
                    {"sequence_parallel", cleaned(row.sequence_parallel)},
                    {"zero", cleaned(row.zero)},
                    {"attention", cleaned(row.attention)},
                    {"norm", cleaned(row.norm)},
                    {"precision", cleaned(row.precision)},
                    {"mfu", rounded(row.mfu)},
                    {"step_s", rounded(row.step_s)},
                    {"tokens_per_s_per_gpu", rounded(row.tokens_per_s_per_gpu)},
                    {"memory_gib", rounded(row.memory_gib)},
                    {"fits", rounded(row.fits)},
                    {"predicted_mfu", rounded(row.predicted_mfu)},
                    {"predicted_step_s", rounded(row.predicted_step_s)},
                    {"layout", cleaned(row.layout)},
                    {"reason", cleaned(row.reason)}});
  }
  return rows;
}

Json stacked_json(const std::optional<StackedBars>& bars) {
  if (!bars) return nullptr;
  Json list = Json::array();
  for (const StackedBar& bar : bars->bars) {
    Json parts = Json::array();
    for (const double part : bar.parts) parts.push_back(rounded(part));
    list.push_back({{"label", cleaned(bar.label)}, {"parts", std::move(parts)}});
  }
  return {
      {"part_names", bars->part_names}, {"bars", std::move(list)}, {"limit", rounded(bars->limit)}};
}

Json timelines_json(const ReportContent& content) {
  Json list = Json::array();
  for (const Timeline& timeline : content.timelines) {
    Json spans = Json::array();
    for (const TimelineSpan& span : timeline.spans) {
      spans.push_back(
          {span.rank, span.what, span.micro_batch, rounded(span.start_s), rounded(span.end_s)});
    }
    list.push_back({{"label", cleaned(timeline.label)},
                    {"caption", timeline_caption(timeline, content.language)},
                    {"ranks", timeline.ranks},
                    {"step_s", rounded(timeline.step_s)},
                    {"shown_s", rounded(timeline.shown_s)},
                    {"bubble", rounded(timeline.bubble)},
                    {"spans", std::move(spans)}});
  }
  return list;
}

Json heat_maps_json(const ReportContent& content) {
  Json list = Json::array();
  for (const HeatMap& map : content.heat_maps) {
    Json cells = Json::array();
    for (const HeatCell& cell : map.cells) {
      cells.push_back(
          {{"x", cell.x}, {"y", cell.y}, {"mfu", rounded(cell.mfu)}, {"note", cell.note}});
    }
    list.push_back({{"key", map.key}, {"cells", std::move(cells)}});
  }
  return list;
}

Json steps_json(const ReportContent& content) {
  Json list = Json::array();
  for (const ReportStep& step : content.steps) {
    list.push_back({{"name", cleaned(step.name)},
                    {"what", cleaned(step.what)},
                    {"gain", step.gain},
                    {"cost", step.cost},
                    {"layout", step.layout},
                    {"trial", step.trial},
                    {"mfu_before", rounded(step.mfu_before)},
                    {"mfu_after", rounded(step.mfu_after)},
                    {"speed_before", rounded(step.speed_before)},
                    {"speed_after", rounded(step.speed_after)}});
  }
  return list;
}

Json options_json(const ReportContent& content) {
  Json list = Json::array();
  for (const ReportOption& option : content.options) {
    list.push_back({{"name", cleaned(option.name)},
                    {"what", cleaned(option.what)},
                    {"note", cleaned(option.note)},
                    {"kept", rounded(option.kept)},
                    {"reoptimised", rounded(option.reoptimised)},
                    {"share", rounded(option.share)},
                    {"effort", option.effort}});
  }
  return list;
}

Json interactions_json(const ReportContent& content) {
  Json list = Json::array();
  for (const ReportPair& pair : content.interactions) {
    list.push_back(
        {{"a", cleaned(pair.a)}, {"b", cleaned(pair.b)}, {"together", rounded(pair.together)}});
  }
  return list;
}

Json sensitivity_json(const ReportContent& content) {
  Json list = Json::array();
  for (const SensitivityStrip& strip : content.sensitivity) {
    Json points = Json::array();
    for (const SensitivityStrip::Point& point : strip.points) {
      points.push_back({{"amount", point.amount},
                        {"text", point.amount_text},
                        {"layout", point.label},
                        {"mfu", rounded(point.mfu)}});
    }
    list.push_back({{"axis", strip.axis},
                    {"today", strip.today},
                    {"points", std::move(points)},
                    {"sentences", strip.sentences}});
  }
  return list;
}

Json map_json(const std::optional<WinnerMap>& map) {
  if (!map) return nullptr;
  Json cells = Json::array();
  for (const WinnerMap::Cell& cell : map->cells) {
    cells.push_back(
        {{"x", cell.x}, {"y", cell.y}, {"layout", cell.label}, {"mfu", rounded(cell.mfu)}});
  }
  return {{"x_axis", map->x_axis}, {"y_axis", map->y_axis}, {"cells", std::move(cells)}};
}

Json frontier_json(const ReportContent& content) {
  Json list = Json::array();
  for (const FrontierPoint& point : content.frontier) {
    list.push_back({{"recompute", point.recompute},
                    {"model_parallel", point.model_parallel},
                    {"largest_micro_batch", point.largest_micro_batch}});
  }
  return list;
}

Json precision_json(const std::optional<PrecisionReport>& precision) {
  if (!precision) return nullptr;
  Json steps = Json::array();
  for (const PrecisionReport::Step& step : precision->steps) {
    steps.push_back({step.step, rounded(step.first), rounded(step.second), rounded(step.gap)});
  }
  return {{"verdict", precision->verdict},
          {"first", precision->first},
          {"second", precision->second},
          {"steps", std::move(steps)}};
}

/// The texts that the page's script shows.
Json texts_json(Language language) {
  constexpr std::string_view prefix = "page.";
  Json texts = Json::object();
  for (const Wording& wording : messages()) {
    if (!wording.key.starts_with(prefix)) continue;
    texts[std::string(wording.key.substr(prefix.size()))] = message(language, wording.key);
  }
  return texts;
}

/// Why layouts are impossible, by the planner's English; nothing in English.
Json reasons_json(Language language) {
  Json reasons = Json::object();
  if (language == Language::english) return reasons;
  for (const Wording& wording : fault_messages()) {
    reasons[std::string(wording.english)] = message(language, wording.key);
  }
  return reasons;
}

/// Rows as columns, each a list, or {of: its few values, at: which of them each row has}.
Json by_columns(const Json& rows) {
  Json columns = Json::object();
  if (rows.empty()) return columns;
  for (const auto& [key, unused] : rows.front().items()) {
    std::map<Json, std::size_t> places;
    Json values = Json::array(), of = Json::array(), at = Json::array();
    for (const Json& row : rows) {
      const Json& value = row.at(key);
      const auto [place, is_new] = places.emplace(value, places.size());
      if (is_new) of.push_back(value);
      at.push_back(place->second);
      values.push_back(value);
    }
    const bool few = 2 * places.size() < rows.size();
    columns[key] = few ? Json{{"of", std::move(of)}, {"at", std::move(at)}} : std::move(values);
  }
  return columns;
}

std::string dumped(const Json& document) {
  return document.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json report_document(const ReportContent& content) {
  const Recommendation& r = content.recommendation;
  Json provenance = Json::array();
  for (const auto& [what, value] : content.provenance) {
    provenance.push_back({{"what", cleaned(what)}, {"value", cleaned(value)}});
  }
  return {{"schema", "kumihimo.report/1"},
          {"language", to_string(content.language)},
          {"title", cleaned(content.title)},
          {"subtitle", cleaned(content.subtitle)},
          {"recommendation",
           {{"kind", key_of(r.kind)},
            {"headline", cleaned(r.headline)},
            {"detail", cleaned(r.detail)},
            {"gain", cleaned(r.gain)},
            {"certainty", cleaned(r.certainty)},
            {"next", cleaned(r.next)}}},
          {"rows", rows_json(content)},
          {"heat_maps", heat_maps_json(content)},
          {"memory_gib", stacked_json(content.memory)},
          {"time_s", stacked_json(content.time)},
          {"timelines", timelines_json(content)},
          {"steps", steps_json(content)},
          {"options", options_json(content)},
          {"interactions", interactions_json(content)},
          {"sensitivity", sensitivity_json(content)},
          {"map", map_json(content.map)},
          {"frontier", frontier_json(content)},
          {"precision", precision_json(content.precision)},
          {"provenance", std::move(provenance)},
          {"texts", texts_json(content.language)}};
}

std::string section(const std::string& title, const HtmlTable& table) {
  if (table.rows.empty()) return "";
  return fmt::format("## {}\n\n{}\n", markdown_text(title), to_markdown(table));
}

}  // namespace

std::string report_json(const ReportContent& content) {
  return dumped(report_document(content)) + "\n";
}

std::string page_data_json(const ReportContent& content) {
  Json document = report_document(content);
  document["rows"] = by_columns(document["rows"]);
  document["reasons"] = reasons_json(content.language);
  return dumped(document);
}

std::string report_csv(const ReportContent& content) {
  std::string text =
      "kind,study,model,gpus,state,tp,pp,dp,cp,micro_batch,schedule,recompute,sequence_parallel,"
      "zero,attention,norm,precision,mfu,step_time_s,tokens_per_s_per_gpu,memory_gib,fits_"
      "probability,"
      "predicted_mfu,predicted_step_time_s,layout,reason\n";
  const auto number = [](const std::optional<double>& value) {
    return value ? fmt::format("{}", *value) : std::string();
  };
  for (const ReportRow& row : content.rows) {
    const std::vector<std::string> fields{std::string(key_of(row.kind)),
                                          row.study,
                                          row.model,
                                          std::to_string(row.gpus),
                                          row.state,
                                          std::to_string(row.tp),
                                          std::to_string(row.pp),
                                          std::to_string(row.dp),
                                          std::to_string(row.cp),
                                          std::to_string(row.micro_batch),
                                          row.schedule,
                                          row.recompute,
                                          row.sequence_parallel,
                                          row.zero,
                                          row.attention,
                                          row.norm,
                                          row.precision,
                                          number(row.mfu),
                                          number(row.step_s),
                                          number(row.tokens_per_s_per_gpu),
                                          number(row.memory_gib),
                                          number(row.fits),
                                          number(row.predicted_mfu),
                                          number(row.predicted_step_s),
                                          row.layout,
                                          row.reason};
    for (std::size_t i = 0; i < fields.size(); ++i) {
      text += (i == 0 ? "" : ",") + csv_escape(fields[i]);
    }
    text += "\n";
  }
  return text;
}

std::string report_markdown(const ReportContent& content) {
  const Language language = content.language;
  const auto title = [&](std::string_view key) { return std::string(message(language, key)); };
  const Recommendation& r = content.recommendation;
  std::string text =
      fmt::format("# {}\n\n{}\n\n## {}\n\n**{}** ({})\n\n{}\n\n", markdown_text(content.title),
                  markdown_text(content.subtitle), title("page.answer"), markdown_text(r.headline),
                  kind_name(r.kind, language), markdown_text(r.detail));
  for (const auto& [key, value] :
       {std::pair("page.gain", r.gain), std::pair("page.certainty", r.certainty),
        std::pair("page.next", r.next)}) {
    text += fmt::format("- {}: {}\n", title(key), markdown_text(value));
  }
  text += "\n";
  if (!content.steps.empty()) text += section(title("page.steps"), steps_table(content));
  text += section(title("page.layouts"), rows_table(content, rows_without_script));
  text += section(title("page.agreement"), agreement_table(content));
  for (const HeatMap& map : content.heat_maps) {
    text += section(title("page.map." + map.key), heat_grid(map, content));
  }
  if (content.memory)
    text += section(title("page.memory"), stacked_table(*content.memory, content));
  if (content.time) text += section(title("page.time"), stacked_table(*content.time, content));
  text += section(title("page.timeline"), timeline_table(content));
  text += section(title("page.options"), options_table(content));
  text += section(title("page.interactions"), interactions_table(content));
  if (!content.sensitivity.empty()) {
    text += fmt::format("## {}\n\n", title("page.sensitivity"));
    for (const SensitivityStrip& strip : content.sensitivity) {
      for (const std::string& sentence : strip.sentences) {
        text += fmt::format("- {}\n", markdown_text(sentence));
      }
    }
    text += "\n";
  }
  if (content.map) text += section(title("page.map"), winner_grid(*content.map));
  text += section(title("page.frontier"), frontier_table(content));
  if (content.precision) {
    text += section(title("page.precision_title"), precision_table(content));
  }
  text += fmt::format("## {}\n\n", title("page.provenance"));
  for (const auto& [what, value] : content.provenance) {
    text += fmt::format("- {}: {}\n", markdown_text(what), markdown_text(value));
  }
  return text;
}

}  // namespace kumihimo

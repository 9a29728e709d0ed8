#include "cli/validation_text.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/number_text.hpp"
#include "cli/planner_json.hpp"
#include "cli/reason_lines.hpp"
#include "cli/run_options.hpp"
#include "cli/table.hpp"

namespace kumihimo {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t most_groups = 40;
constexpr std::size_t longest_sheet = 48;

std::string two_decimals(double share) { return fmt::format("{:.2f} %", 100 * share); }

std::string regret_text(const Regret& regret) {
  return regret.relative ? fmt::format("{:.2f} % rel.", 100 * regret.value)
                         : fmt::format("{:.2f} pt", 100 * regret.value);
}

/// "52 of 53": rows judged right.
std::string judgement_text(const MemoryJudgement& memory) {
  if (memory.out_of_memory() == 0) return "";
  return fmt::format("{} of {}", memory.hits + memory.passes, memory.rows());
}

/// The groups to show, in their order.
std::vector<const GroupReport*> shown_groups(const ValidationReport& report) {
  std::vector<const GroupReport*> groups;
  for (const GroupReport& group : report.groups) groups.push_back(&group);
  if (groups.size() <= most_groups) return groups;
  std::vector<const GroupReport*> largest = groups;
  std::ranges::stable_sort(largest, std::greater{}, &GroupReport::used);
  largest.resize(most_groups);
  std::erase_if(groups, [&](const GroupReport* group) {
    return std::ranges::find(largest, group) == largest.end();
  });
  return groups;
}

std::string sheet_text(const RunGroup& group) {
  std::string text = group.sheet.empty() ? group.file : group.sheet;
  while (!text.empty() && text.back() == ' ') text.pop_back();
  if (text.size() <= longest_sheet) return text;
  std::size_t length = longest_sheet - 3;
  while (length > 0 && (static_cast<unsigned char>(text[length]) & 0xC0) == 0x80) --length;
  return text.substr(0, length) + "...";
}

void drop_column(Table& table, std::size_t column) {
  const auto at = static_cast<std::ptrdiff_t>(column);
  table.columns.erase(table.columns.begin() + at);
  for (std::vector<std::string>& row : table.rows) row.erase(row.begin() + at);
}

/// Drops the columns that tell nothing: empty ones, and the sheet where there is only one.
void drop_idle_columns(Table& table) {
  for (std::size_t column = table.columns.size(); column-- > 0;) {
    const bool same = std::ranges::all_of(table.rows, [&](const std::vector<std::string>& row) {
      return row[column] == table.rows.front()[column];
    });
    if (same && (column == 0 || table.rows.front()[column].empty())) drop_column(table, column);
  }
}

Table group_table(const std::vector<const GroupReport*>& groups) {
  Table table{{{"sheet"}, {"model"}}, {}};
  for (const char* title : {"GPUs", "seq", "batch", "rows", "used", "MAPE", "median", "Spearman",
                            "regret", "memory right", "own pick"}) {
    table.columns.push_back({title, Align::right});
  }
  for (const GroupReport* report : groups) {
    const RunGroup& group = report->group;
    const bool timed = report->error.runs > 0;
    table.rows.push_back({sheet_text(group), group.model, std::to_string(group.gpus),
                          std::to_string(group.seq_length), std::to_string(group.global_batch_size),
                          std::to_string(report->rows), std::to_string(report->used),
                          timed ? two_decimals(report->error.mape) : "",
                          timed ? two_decimals(report->error.median) : "",
                          report->spearman ? fmt::format("{:.3f}", *report->spearman) : "",
                          report->regret ? regret_text(*report->regret) : "",
                          judgement_text(report->memory),
                          report->own_pick_out_of_memory && report->memory.out_of_memory() > 0
                              ? (*report->own_pick_out_of_memory ? "OOM" : "runs")
                              : ""});
  }
  if (!table.rows.empty()) drop_idle_columns(table);
  return table;
}

void add_error(std::string& text, std::string_view label, const ErrorSummary& error) {
  if (error.runs == 0) return;
  text += fmt::format("  {}: MAPE {}, median {}, 90th percentile {} ({} rows)\n", label,
                      two_decimals(error.mape), two_decimals(error.median), two_decimals(error.p90),
                      grouped(error.runs));
}

std::string totals_text(const ValidationReport& report) {
  std::string text;
  add_error(text, "step time", report.error);
  add_error(text, "  rows that look doubtful", report.suspect_error);
  add_error(text, "  rows that state tokens/s, not step time", report.derived_error);
  if (report.mean_spearman) {
    text += fmt::format("  order: mean Spearman {:.3f}\n", *report.mean_spearman);
  }
  if (report.mean_regret) {
    text += fmt::format("  regret: mean {:.2f}, worst {:.2f} MFU points\n",
                        100 * *report.mean_regret, 100 * *report.max_regret);
  }
  if (report.mean_relative_regret) {
    text += fmt::format(
        "  relative regret, where MFU is not stated: mean {}, worst {} of throughput\n",
        two_decimals(*report.mean_relative_regret), two_decimals(*report.max_relative_regret));
  }
  const MemoryJudgement& memory = report.memory;
  if (memory.out_of_memory() > 0) {
    text += fmt::format("  out of memory: {} of {} rows right ({}), recall {}",
                        grouped(memory.hits + memory.passes), grouped(memory.rows()),
                        two_decimals(*memory.accuracy()), two_decimals(*memory.recall()));
    if (memory.precision()) text += ", precision " + two_decimals(*memory.precision());
    text += fmt::format("\n  own first pick out of memory: {} of {} groups\n",
                        report.own_picks_out_of_memory, report.own_picks);
  }
  return text;
}

Json optional_json(const std::optional<double>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json error_json(const ErrorSummary& error) {
  if (error.runs == 0) {
    return {{"runs", 0}, {"mape", nullptr}, {"median", nullptr}, {"p90", nullptr}};
  }
  return {{"runs", error.runs}, {"mape", error.mape}, {"median", error.median}, {"p90", error.p90}};
}

Json memory_judgement_json(const MemoryJudgement& memory) {
  return {{"rows", memory.rows()},
          {"out_of_memory", memory.out_of_memory()},
          {"hits", memory.hits},
          {"misses", memory.misses},
          {"false_alarms", memory.false_alarms},
          {"passes", memory.passes},
          {"accuracy", optional_json(memory.accuracy())},
          {"precision", optional_json(memory.precision())},
          {"recall", optional_json(memory.recall())}};
}

Json group_report_json(const GroupReport& report) {
  Json json = group_json(report.group);
  json.update(Json{{"rows", report.rows},
                   {"used", report.used},
                   {"skipped", report.skipped},
                   {"step_time", error_json(report.error)},
                   {"spearman", optional_json(report.spearman)},
                   {"regret", nullptr},
                   {"memory", memory_judgement_json(report.memory)},
                   {"own_pick_out_of_memory", nullptr}});
  if (report.regret) {
    json["regret"] = {{"value", report.regret->value},
                      {"relative", report.regret->relative},
                      {"pick", report.regret->pick},
                      {"best", report.regret->best}};
  }
  if (report.own_pick_out_of_memory) {
    json["own_pick_out_of_memory"] = *report.own_pick_out_of_memory;
  }
  return json;
}

}  // namespace

std::string validation_text(const ValidationReport& report, const Terminal& terminal) {
  const std::vector<const GroupReport*> groups = shown_groups(report);
  const std::string table = to_text(group_table(groups));
  const std::size_t end_of_titles = table.find('\n');
  std::string text = bold(table.substr(0, end_of_titles), terminal) + table.substr(end_of_titles);
  if (groups.size() < report.groups.size()) {
    text += fmt::format("  and {} smaller groups (--json lists them)\n",
                        grouped(static_cast<std::int64_t>(report.groups.size() - groups.size())));
  }
  text += fmt::format("\n{} rows, {} used, {} skipped, in {} group{}\n", grouped(report.rows),
                      grouped(report.used), grouped(report.rows - report.used),
                      grouped(static_cast<std::int64_t>(report.groups.size())),
                      report.groups.size() == 1 ? "" : "s");
  text += totals_text(report);
  if (!report.skipped.empty()) text += "  skipped\n" + reason_lines(report.skipped);
  return text;
}

Json validation_json(const ValidationReport& report) {
  Json groups = Json::array();
  for (const GroupReport& group : report.groups) groups.push_back(group_report_json(group));
  return {{"rows", report.rows},
          {"used", report.used},
          {"skipped", report.skipped},
          {"step_time", error_json(report.error)},
          {"step_time_of_doubtful_rows", error_json(report.suspect_error)},
          {"step_time_of_rows_stating_tokens", error_json(report.derived_error)},
          {"memory", memory_judgement_json(report.memory)},
          {"ranking",
           {{"mean_spearman", optional_json(report.mean_spearman)},
            {"mean_regret", optional_json(report.mean_regret)},
            {"max_regret", optional_json(report.max_regret)},
            {"mean_relative_regret", optional_json(report.mean_relative_regret)},
            {"max_relative_regret", optional_json(report.max_relative_regret)},
            {"own_picks", report.own_picks},
            {"own_picks_out_of_memory", report.own_picks_out_of_memory}}},
          {"groups", std::move(groups)}};
}

}  // namespace kumihimo

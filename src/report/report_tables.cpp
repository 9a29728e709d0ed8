#include "report/report_tables.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <map>

#include "base/number_text.hpp"

namespace kumihimo {
namespace {

constexpr std::size_t most_agreement_rows = 50;
constexpr std::size_t most_precision_rows = 50;

std::string percent(const std::optional<double>& share) {
  return share ? kumihimo::percent(*share) : "";
}

std::string seconds(const std::optional<double>& value) {
  return value ? fmt::format("{:.4g} s", *value) : "";
}

std::string number(const std::optional<double>& value, std::string_view unit = "") {
  return value ? fmt::format("{:.3g}{}", *value, unit) : "";
}

/// Keys of page messages as titles.
class Titles {
 public:
  explicit Titles(Language language) : language_(language) {}
  std::string operator()(std::string_view key) const {
    return std::string(message(language_, fmt::format("page.{}", key)));
  }

 private:
  Language language_;
};

/// Cells by two names, in the order in which the names first occur.
template <class Cell, class Text>
HtmlTable grid(const std::vector<Cell>& cells, const std::string& corner, Text text) {
  std::vector<std::string> columns, rows;
  std::map<std::pair<std::string, std::string>, std::string> values;
  const auto add = [](std::vector<std::string>& names, const std::string& name) {
    if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  };
  for (const Cell& cell : cells) {
    add(columns, cell.x);
    add(rows, cell.y);
    values[{cell.y, cell.x}] = text(cell);
  }
  HtmlTable table{{corner}, {false}, {}};
  for (const std::string& column : columns) {
    table.titles.push_back(column);
    table.numbers.push_back(true);
  }
  for (const std::string& row : rows) {
    std::vector<std::string> line{row};
    for (const std::string& column : columns) line.push_back(values[{row, column}]);
    table.rows.push_back(std::move(line));
  }
  return table;
}

}  // namespace

std::string_view key_of(FigureKind kind) {
  switch (kind) {
    case FigureKind::measured: return "measured";
    case FigureKind::emulated: return "emulated";
    case FigureKind::predicted: return "predicted";
    case FigureKind::quoted: return "quoted";
  }
  return "?";
}

std::string kind_name(FigureKind kind, Language language) {
  constexpr std::string_view marks[] = {"●", "◆", "○", "▲"};
  return fmt::format("{} {}", marks[static_cast<std::size_t>(kind)],
                     message(language, fmt::format("page.{}", key_of(kind))));
}

std::string timeline_caption(const Timeline& timeline, Language language) {
  return text_of(language, "page.timeline_caption", timeline.label,
                 fmt::format("{:.3g} s", timeline.shown_s),
                 fmt::format("{:.3g} s", timeline.step_s), percent(timeline.bubble));
}

HtmlTable rows_table(const ReportContent& content, std::size_t most) {
  const Titles title(content.language);
  HtmlTable table{{title("kind"),
                   title("model"),
                   title("gpus"),
                   title("state"),
                   title("tp"),
                   title("pp"),
                   title("dp"),
                   title("micro_batch"),
                   title("schedule"),
                   title("recompute"),
                   title("sequence_parallel"),
                   title("zero"),
                   title("attention"),
                   title("norm"),
                   title("precision"),
                   title("mfu"),
                   title("step"),
                   title("memory_column"),
                   title("study"),
                   title("reason")},
                  {false, false, true,  false, true,  true, true, true, false, false,
                   false, true,  false, false, false, true, true, true, false, false},
                  {}};
  for (const ReportRow& row : content.rows) {
    if (table.rows.size() == most) break;
    table.rows.push_back({kind_name(row.kind, content.language),
                          row.model,
                          std::to_string(row.gpus),
                          row.state,
                          std::to_string(row.tp),
                          std::to_string(row.pp),
                          std::to_string(row.dp),
                          std::to_string(row.micro_batch),
                          row.schedule,
                          row.recompute,
                          row.sequence_parallel,
                          row.zero,
                          row.attention,
                          row.norm,
                          row.precision,
                          percent(row.mfu),
                          seconds(row.step_s),
                          number(row.memory_gib, " GiB"),
                          row.study,
                          row.reason});
  }
  return table;
}

HtmlTable agreement_table(const ReportContent& content) {
  const Titles title(content.language);
  HtmlTable table{{title("kind"), title("layout"), title("predicted_step"), title("measured_step"),
                   title("gap")},
                  {false, false, true, true, true},
                  {}};
  for (const ReportRow& row : content.rows) {
    if (row.kind == FigureKind::predicted || !row.step_s || !row.predicted_step_s) continue;
    if (table.rows.size() == most_agreement_rows) break;
    table.rows.push_back({kind_name(row.kind, content.language), row.layout,
                          seconds(row.predicted_step_s), seconds(row.step_s),
                          signed_percent(*row.predicted_step_s / *row.step_s - 1)});
  }
  return table;
}

HtmlTable heat_table(const HeatMap& map, const ReportContent& content) {
  const Titles title(content.language);
  HtmlTable table{
      {title("x." + map.key), title("y." + map.key), title("mfu"), title("best_layout")},
      {true, true, true, false},
      {}};
  for (const HeatCell& cell : map.cells) {
    table.rows.push_back({cell.x, cell.y, percent(cell.mfu), cell.note});
  }
  return table;
}

HtmlTable heat_grid(const HeatMap& map, const ReportContent& content) {
  const Titles title(content.language);
  return grid(map.cells, fmt::format("{} \\ {}", title("y." + map.key), title("x." + map.key)),
              [](const HeatCell& cell) { return percent(cell.mfu); });
}

HtmlTable stacked_table(const StackedBars& bars, const ReportContent& content) {
  HtmlTable table{{Titles(content.language)("layout")}, {false}, {}};
  for (const std::string& part : bars.part_names) {
    table.titles.push_back(part);
    table.numbers.push_back(true);
  }
  for (const StackedBar& bar : bars.bars) {
    std::vector<std::string> row{bar.label};
    for (const double part : bar.parts) row.push_back(fmt::format("{:.3g}", part));
    table.rows.push_back(std::move(row));
  }
  return table;
}

HtmlTable timeline_table(const ReportContent& content) {
  const Titles title(content.language);
  HtmlTable table{{title("layout"), title("step"), title("part.bubble")}, {false, true, true}, {}};
  for (const Timeline& timeline : content.timelines) {
    table.rows.push_back({timeline.label, seconds(timeline.step_s), percent(timeline.bubble)});
  }
  return table;
}

HtmlTable steps_table(const ReportContent& content) {
  const Titles title(content.language);
  HtmlTable table{
      {title("change"), title("gain_column"), title("cost"), title("layout"), title("trial")},
      {false, false, false, false, false},
      {}};
  for (const ReportStep& step : content.steps) {
    table.rows.push_back({step.name, step.gain, step.cost, step.layout, step.trial});
  }
  return table;
}

HtmlTable options_table(const ReportContent& content) {
  const Titles title(content.language);
  HtmlTable table{{title("option"), title("kept"), title("reoptimised"), title("share"),
                   title("effort"), title("change"), title("note")},
                  {false, true, true, true, true, false, false},
                  {}};
  for (const ReportOption& option : content.options) {
    table.rows.push_back({option.name, signed_percent(option.kept),
                          signed_percent(option.reoptimised),
                          option.share ? signed_points(*option.share) : "",
                          fmt::format("{:g}", option.effort), option.what, option.note});
  }
  return table;
}

HtmlTable interactions_table(const ReportContent& content) {
  const Titles title(content.language);
  HtmlTable table{
      {title("option"), title("option"), title("gain_column")}, {false, false, true}, {}};
  for (const ReportPair& pair : content.interactions) {
    table.rows.push_back({pair.a, pair.b, signed_points(pair.together)});
  }
  return table;
}

HtmlTable sensitivity_table(const ReportContent& content) {
  const Titles title(content.language);
  HtmlTable table{{title("fact"), title("amount"), title("best_layout"), title("mfu")},
                  {false, true, false, true},
                  {}};
  for (const SensitivityStrip& strip : content.sensitivity) {
    for (const SensitivityStrip::Point& point : strip.points) {
      table.rows.push_back({strip.axis, point.amount_text, point.label, percent(point.mfu)});
    }
  }
  return table;
}

HtmlTable winner_table(const ReportContent& content) {
  const Titles title(content.language);
  HtmlTable table{{content.map->x_axis, content.map->y_axis, title("best_layout"), title("mfu")},
                  {true, true, false, true},
                  {}};
  for (const WinnerMap::Cell& cell : content.map->cells) {
    table.rows.push_back({cell.x, cell.y, cell.label, percent(cell.mfu)});
  }
  return table;
}

HtmlTable winner_grid(const WinnerMap& map) {
  return grid(map.cells, fmt::format("{} \\ {}", map.y_axis, map.x_axis),
              [](const WinnerMap::Cell& cell) {
                return cell.mfu ? fmt::format("{} ({})", cell.label, percent(cell.mfu)) : "";
              });
}

HtmlTable frontier_table(const ReportContent& content) {
  const Titles title(content.language);
  HtmlTable table{{title("recompute"), title("model_parallel"), title("largest_micro_batch")},
                  {false, true, true},
                  {}};
  for (const FrontierPoint& point : content.frontier) {
    table.rows.push_back({point.recompute, std::to_string(point.model_parallel),
                          point.largest_micro_batch > 0 ? std::to_string(point.largest_micro_batch)
                                                        : std::string("–")});
  }
  return table;
}

HtmlTable precision_table(const ReportContent& content) {
  const Titles title(content.language);
  const PrecisionReport& precision = *content.precision;
  HtmlTable table{{title("step_number"), text_of(content.language, "page.loss_of", precision.first),
                   text_of(content.language, "page.loss_of", precision.second), title("gap")},
                  {true, true, true, true},
                  {}};
  const std::size_t stride = std::max<std::size_t>(1, precision.steps.size() / most_precision_rows);
  for (std::size_t i = 0; i < precision.steps.size(); i += stride) {
    const PrecisionReport::Step& step = precision.steps[i];
    table.rows.push_back({std::to_string(step.step), fmt::format("{:.5f}", step.first),
                          fmt::format("{:.5f}", step.second),
                          fmt::format("{:+.4f} %", 100 * step.gap)});
  }
  return table;
}

}  // namespace kumihimo

#include "report/svg_chart.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "report/html_text.hpp"

namespace kumihimo {
namespace {

constexpr double width = 720;
constexpr double label_width = 230;
constexpr double value_width = 80;
constexpr double bar_height = 18;
constexpr double row_height = 26;

std::string open_svg(double height, std::string_view title) {
  return fmt::format("<svg viewBox=\"0 0 {:.0f} {:.0f}\" role=\"img\" aria-label=\"{}\">", width,
                     height, html_text(title));
}

std::string text_at(double x, double y, std::string_view anchor, std::string_view text) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>", x, y, anchor,
                     html_text(text, 60));
}

/// The mark of a kind: circle, diamond, hollow circle, triangle.
std::string mark(FigureKind kind, double x, double y) {
  switch (kind) {
    case FigureKind::measured:
      return fmt::format("<circle class=\"k-measured\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"5\"/>", x,
                         y);
    case FigureKind::emulated:
      return fmt::format("<path class=\"k-emulated\" d=\"M{:.1f} {:.1f}l6 6l-6 6l-6 -6z\"/>", x,
                         y - 6);
    case FigureKind::predicted:
      return fmt::format("<circle class=\"k-predicted\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"5\"/>", x,
                         y);
    case FigureKind::quoted:
      return fmt::format("<path class=\"k-quoted\" d=\"M{:.1f} {:.1f}l6 11h-12z\"/>", x, y - 7);
  }
  return "";
}

}  // namespace

std::string row_label(const ReportRow& row) {
  std::string text =
      fmt::format("tp {} · pp {} · dp {} · mb {}", row.tp, row.pp, row.dp, row.micro_batch);
  if (row.cp > 1) text += fmt::format(" · cp {}", row.cp);
  return text;
}

std::string mfu_bars_svg(const ReportContent& content, std::size_t most) {
  std::vector<const ReportRow*> rows;
  for (const ReportRow& row : content.rows) {
    if (row.mfu && rows.size() < most) rows.push_back(&row);
  }
  if (rows.empty()) return "";
  double largest = 0;
  for (const ReportRow* row : rows) largest = std::max(largest, *row->mfu);
  const double scale = (width - label_width - value_width) / std::max(largest, 1e-9);
  std::string svg = open_svg(row_height * static_cast<double>(rows.size()) + 4,
                             message(content.language, "page.layouts"));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const double y = row_height * static_cast<double>(i) + 4;
    const double length = *rows[i]->mfu * scale;
    svg += text_at(label_width - 8, y + 14, "end", row_label(*rows[i]));
    svg +=
        fmt::format("<rect class=\"bar {}\" x=\"{}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{}\"/>",
                    key_of(rows[i]->kind), label_width, y, length, bar_height);
    svg += mark(rows[i]->kind, label_width + length, y + bar_height / 2);
    svg += text_at(label_width + length + 12, y + 14, "start",
                   fmt::format("{:.1f} %", 100 * *rows[i]->mfu));
  }
  return svg + "</svg>";
}

std::string agreement_svg(const ReportContent& content) {
  double least = 1e300, most = 0;
  std::vector<const ReportRow*> rows;
  for (const ReportRow& row : content.rows) {
    if (row.kind == FigureKind::predicted || !row.step_s || !row.predicted_step_s) continue;
    if (*row.step_s <= 0 || *row.predicted_step_s <= 0) continue;
    rows.push_back(&row);
    least = std::min({least, *row.step_s, *row.predicted_step_s});
    most = std::max({most, *row.step_s, *row.predicted_step_s});
  }
  if (rows.empty()) return "";
  least /= 1.1;
  most *= 1.1;
  constexpr double size = 400, left = 70, top = 8;
  const auto place = [&](double value) {
    return size * std::log(value / least) / std::log(most / least);
  };
  std::string svg = open_svg(size + 60, message(content.language, "page.agreement"));
  svg += fmt::format(
      "<rect class=\"frame\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>"
      "<line class=\"rule\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"/>",
      left, top, size, size, left, top + size, left + size, top);
  for (const ReportRow* row : rows) {
    svg += mark(row->kind, left + place(*row->predicted_step_s), top + size - place(*row->step_s));
  }
  svg += text_at(left, top + size + 18, "start", fmt::format("{:.3g} s", least));
  svg += text_at(left + size, top + size + 18, "end", fmt::format("{:.3g} s", most));
  svg += text_at(left + size / 2, top + size + 40, "middle",
                 message(content.language, "page.predicted_step"));
  svg += text_at(left + 6, top + 18, "start", message(content.language, "page.measured_step"));
  return svg + "</svg>";
}

std::string stacked_bars_svg(const StackedBars& bars, std::string_view title,
                             std::string_view unit) {
  double largest = bars.limit.value_or(0);
  for (const StackedBar& bar : bars.bars) {
    double sum = 0;
    for (const double part : bar.parts) sum += part;
    largest = std::max(largest, sum);
  }
  const double scale = (width - label_width - value_width) / std::max(largest, 1e-9);
  const double legend_rows = std::ceil(static_cast<double>(bars.part_names.size()) / 4);
  const double height = row_height * static_cast<double>(bars.bars.size()) + 20 * legend_rows + 12;
  std::string svg = open_svg(height, title);
  for (std::size_t i = 0; i < bars.bars.size(); ++i) {
    const double y = row_height * static_cast<double>(i) + 4;
    svg += text_at(label_width - 8, y + 14, "end", bars.bars[i].label);
    double x = label_width;
    for (std::size_t part = 0; part < bars.bars[i].parts.size(); ++part) {
      const double length = bars.bars[i].parts[part] * scale;
      svg += fmt::format(
          "<rect class=\"part p{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{}\"/>",
          part, x, y, length, bar_height);
      x += length;
    }
    svg +=
        text_at(x + 6, y + 14, "start", fmt::format("{:.3g} {}", (x - label_width) / scale, unit));
  }
  if (bars.limit) {
    const double x = label_width + *bars.limit * scale;
    svg += fmt::format("<line class=\"limit\" x1=\"{:.1f}\" y1=\"0\" x2=\"{:.1f}\" y2=\"{:.1f}\"/>",
                       x, x, row_height * static_cast<double>(bars.bars.size()));
  }
  for (std::size_t part = 0; part < bars.part_names.size(); ++part) {
    const double x = 180 * static_cast<double>(part % 4) + 4;
    const double y = row_height * static_cast<double>(bars.bars.size()) + 12 +
                     20 * static_cast<double>(part / 4);
    svg += fmt::format(
        "<rect class=\"part p{}\" x=\"{:.0f}\" y=\"{:.1f}\" width=\"12\" height=\"12\"/>", part, x,
        y);
    svg += text_at(x + 18, y + 11, "start", bars.part_names[part]);
  }
  return svg + "</svg>";
}

std::string timeline_svg(const Timeline& timeline, std::string_view title) {
  constexpr std::size_t most_rows = 16;
  const int ranks = std::min(timeline.ranks, static_cast<int>(most_rows));
  constexpr double left = 40, lane = 16;
  const double scale = (width - left - 8) / std::max(timeline.shown_s, 1e-12);
  std::string svg = open_svg(lane * ranks + 24, title);
  for (int rank = 0; rank < ranks; ++rank) {
    svg += text_at(left - 6, lane * rank + 12, "end", std::to_string(rank));
  }
  for (const TimelineSpan& span : timeline.spans) {
    if (span.rank >= ranks) continue;
    svg += fmt::format(
        "<rect class=\"w{}\" x=\"{:.2f}\" y=\"{:.0f}\" width=\"{:.2f}\" height=\"{:.0f}\"/>",
        span.what, left + span.start_s * scale, lane * span.rank + 1,
        std::max(0.4, (std::min(span.end_s, timeline.shown_s) - span.start_s) * scale - 0.3),
        lane - 2);
  }
  svg += text_at(left, lane * ranks + 18, "start", "0 s");
  svg += text_at(width - 8, lane * ranks + 18, "end", fmt::format("{:.3g} s", timeline.shown_s));
  return svg + "</svg>";
}

std::string waterfall_svg(const ReportContent& content, std::string_view title) {
  if (content.steps.empty()) return "";
  double most = 0;
  for (const ReportStep& step : content.steps) most = std::max(most, step.speed_after);
  const double scale = (width - label_width - value_width) / most;
  std::string svg = open_svg(row_height * static_cast<double>(content.steps.size() + 1) + 4, title);
  const auto bar = [&](std::size_t row, std::string_view label, double from, double to,
                       std::string_view css, const std::string& value) {
    const double y = row_height * static_cast<double>(row) + 4;
    svg += text_at(label_width - 8, y + 14, "end", label);
    svg += fmt::format(
        "<rect class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{}\"/>", css,
        label_width + from * scale, y, std::max(1.0, (to - from) * scale), bar_height);
    svg += text_at(label_width + to * scale + 6, y + 14, "start", value);
  };
  bar(0, message(content.language, "page.start"), 0, content.steps.front().speed_before,
      "bar start", "1.00×");
  for (std::size_t i = 0; i < content.steps.size(); ++i) {
    const ReportStep& step = content.steps[i];
    bar(i + 1, step.name, step.speed_before, step.speed_after, "bar predicted",
        fmt::format("{:.2f}×", step.speed_after));
  }
  return svg + "</svg>";
}

}  // namespace kumihimo

#pragma once

#include "report/html_text.hpp"
#include "report/report_content.hpp"

// The data of each chart as a table: beside the charts of the page, and in Markdown.

namespace kumihimo {

/// Rows of the table of layouts where no script can show the others.
inline constexpr std::size_t rows_without_script = 50;

std::string kind_name(FigureKind kind, Language language);
std::string timeline_caption(const Timeline& timeline, Language language);

HtmlTable rows_table(const ReportContent& content, std::size_t most);
HtmlTable agreement_table(const ReportContent& content);
HtmlTable heat_table(const HeatMap& map, const ReportContent& content);
HtmlTable heat_grid(const HeatMap& map, const ReportContent& content);  ///< y down, x across
HtmlTable stacked_table(const StackedBars& bars, const ReportContent& content);
HtmlTable timeline_table(const ReportContent& content);
HtmlTable steps_table(const ReportContent& content);
HtmlTable options_table(const ReportContent& content);
HtmlTable interactions_table(const ReportContent& content);
HtmlTable sensitivity_table(const ReportContent& content);
HtmlTable winner_table(const ReportContent& content);
HtmlTable winner_grid(const WinnerMap& map);
HtmlTable frontier_table(const ReportContent& content);
HtmlTable precision_table(const ReportContent& content);

}  // namespace kumihimo

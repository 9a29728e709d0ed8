#pragma once

#include <string>
#include <string_view>

#include "report/report_content.hpp"

// Charts as SVG, for a page without scripts: the same figures as the page's own charts, plainer.
// Colours are classes of page.css, so that light, dark and print share one picture. Each has role
// "img" and a title for those who cannot see it.

namespace kumihimo {

/// The best rows as bars of MFU, the kind of each told by the mark at its end. `most` rows.
std::string mfu_bars_svg(const ReportContent& content, std::size_t most);

/// Predicted against measured step times with the line of agreement; empty where no row has both.
std::string agreement_svg(const ReportContent& content);

std::string stacked_bars_svg(const StackedBars& bars, std::string_view title,
                             std::string_view unit);

std::string timeline_svg(const Timeline& timeline, std::string_view title);

/// MFU after each step, from the start.
std::string waterfall_svg(const ReportContent& content, std::string_view title);

/// "tp 2 · pp 4 · dp 16 · mb 1".
std::string row_label(const ReportRow& row);

}  // namespace kumihimo

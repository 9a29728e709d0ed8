#include "cli/reason_lines.hpp"

#include "base/number_text.hpp"
#include "cli/table.hpp"
#include "search/result_text.hpp"

namespace kumihimo {

std::string reason_lines(const std::map<std::string, std::int64_t>& reasons) {
  constexpr std::size_t most_reasons = 8;
  const auto sorted = most_first(reasons);
  Table table{{{"", Align::right}, {""}}, {}};
  std::int64_t others = 0;
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    if (i < most_reasons) {
      table.rows.push_back({grouped(sorted[i].second), sorted[i].first});
    } else {
      others += sorted[i].second;
    }
  }
  if (others > 0) table.rows.push_back({grouped(others), "for other reasons (--json lists them)"});
  return to_text(table, 4);
}

}  // namespace kumihimo

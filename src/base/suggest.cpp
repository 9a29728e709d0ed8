#include "base/suggest.hpp"

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <numeric>
#include <vector>

namespace kumihimo {
namespace {

/// Names are short; the bound keeps a pasted file from costing a quadratic comparison.
constexpr std::size_t longest_compared_name = 64;

/// Fewer letters begin too many names.
constexpr std::size_t shortest_beginning = 3;

bool same_letter(char a, char b) {
  return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
}

/// Insertions, deletions and replacements that turn one name into the other, case aside.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (same_letter(a[i], b[j]) ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string suggest(std::string_view name, std::span<const std::string> known) {
  if (known.empty()) return "";
  std::string list = fmt::format("known: {}", fmt::join(known, ", "));
  if (name.empty() || name.size() > longest_compared_name) return list;

  const std::string* nearest = nullptr;
  std::size_t nearest_distance = std::max<std::size_t>(1, name.size() / 3) + 1;
  for (const std::string& candidate : known) {
    const std::size_t distance = edit_distance(name, candidate);
    // A distance as long as the name would replace every letter: no resemblance.
    if (distance < nearest_distance && distance < name.size()) {
      nearest_distance = distance;
      nearest = &candidate;
    }
  }
  // Whoever wrote "a100-80gb" left off the end, however long it is.
  if (nearest == nullptr) {
    const auto longer = std::ranges::find_if(known, [&](const std::string& candidate) {
      return name.size() >= shortest_beginning && candidate.size() > name.size() &&
             std::equal(name.begin(), name.end(), candidate.begin(), same_letter);
    });
    if (longer == known.end()) return list;
    nearest = &*longer;
  }
  return fmt::format("did you mean \"{}\"? {}", *nearest, list);
}

}  // namespace kumihimo

#pragma once

#include <optional>
#include <string>

#include "cli/job_options.hpp"
#include "cli/terminal.hpp"
#include "search/search.hpp"

namespace kumihimo {

/// A finished (or interrupted) search and what it was asked.
struct Plan {
  PlannedJob planned;
  SearchRequest request;
  SearchResult result;
  std::optional<double> tokens;  ///< --tokens
  std::string explain_command;   ///< "kumihimo explain --model …", without --layout
};

/// The plan for people: header, table of the best layouts, what became of the others, a hint.
std::string plan_text(const Plan& plan, const Terminal& terminal);

/// The best layouts as CSV, one line each; docs/json.md names the columns.
std::string plan_csv(const Plan& plan);

}  // namespace kumihimo

#include "cli/explanation.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "base/number_text.hpp"

namespace kumihimo {
namespace {

constexpr std::size_t most_changes = 3;
constexpr double worth_naming = 0.002;  ///< of the step

StepCost cost_of(const PlannedJob& planned, const ParallelLayout& layout) {
  const PieceCosts pieces = piece_costs(planned.job, layout, planned.cluster, planned.profile);
  return step_cost(pieces, planned.job, layout, planned.cluster, planned.profile);
}

ExplainedNeighbour explain_neighbour(const PlannedJob& planned, Neighbour neighbour) {
  ExplainedNeighbour result{std::move(neighbour), {}};
  const std::optional<Prediction>& prediction = result.neighbour.prediction;
  if (prediction) {
    result.breakdown = break_down(cost_of(planned, result.neighbour.layout), prediction->step_s);
  }
  return result;
}

std::vector<ExplainedNeighbour> explain_neighbours(const PlannedJob& planned,
                                                   const ParallelLayout& layout,
                                                   const SearchProgress& progress) {
  const SearchRequest request{.job = planned.job,
                              .cluster = planned.cluster,
                              .profile = planned.profile,
                              .devices = planned.devices};
  std::vector<ExplainedNeighbour> result;
  for (Neighbour& neighbour : neighbours(layout, request, progress)) {
    result.push_back(explain_neighbour(planned, std::move(neighbour)));
  }
  const auto rank = [](const ExplainedNeighbour& explained) {
    const Neighbour& neighbour = explained.neighbour;
    const int group = !neighbour.prediction ? 2 : neighbour.fits ? 0 : 1;
    return std::pair(group, neighbour.prediction ? neighbour.prediction->step_s : 0.0);
  };
  std::ranges::stable_sort(result, {}, rank);
  return result;
}

}  // namespace

Expected<Explanation> explain(const PlannedJob& planned, const ParallelLayout& layout,
                              const SearchProgress& progress) {
  auto schedule = make_schedule(planned.job, layout);
  if (!schedule) return schedule.errors();
  Explanation result{.planned = planned, .layout = layout};
  const PieceCosts pieces = piece_costs(planned.job, layout, planned.cluster, planned.profile);
  result.schedule = *std::move(schedule);
  result.prediction =
      predict(pieces, result.schedule, planned.job, layout, planned.cluster, planned.profile);
  result.cost = step_cost(pieces, planned.job, layout, planned.cluster, planned.profile);
  result.played = simulate(result.schedule, result.cost, Keep::spans);
  result.breakdown = break_down(result.cost, result.played.step_s);
  result.binding = binding_resource(result.breakdown);
  result.hardware = hardware_gains(planned.job, layout, result.schedule, planned.cluster,
                                   planned.profile, result.prediction.step_s);
  result.neighbours = explain_neighbours(planned, layout, progress);
  return result;
}

std::string change_text(const StepBreakdown& from, const StepBreakdown& to) {
  struct Change {
    std::string_view label;
    double seconds;
  };
  const auto before = from.parts(), after = to.parts();
  std::vector<Change> changes;
  for (std::size_t i = 0; i < before.size(); ++i) {
    changes.push_back({before[i].label, after[i].seconds - before[i].seconds});
  }
  std::ranges::stable_sort(changes, std::greater{},
                           [](const Change& change) { return std::abs(change.seconds); });
  std::string text;
  for (std::size_t i = 0; i < most_changes; ++i) {
    if (std::abs(changes[i].seconds) < worth_naming * from.total_s()) break;
    text +=
        fmt::format("{}{} {}{}", text.empty() ? "" : ", ", changes[i].label,
                    changes[i].seconds > 0 ? "+" : "-", step_text(std::abs(changes[i].seconds)));
  }
  return text.empty() ? "next to no change" : text;
}

}  // namespace kumihimo

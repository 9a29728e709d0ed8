#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/job_options.hpp"
#include "search/neighbours.hpp"
#include "simulator/explain.hpp"
#include "simulator/hardware_gains.hpp"

namespace kumihimo {

/// A layout with one knob changed, and what that does to the parts of the step.
struct ExplainedNeighbour {
  Neighbour neighbour;
  StepBreakdown breakdown;  ///< meaningful where neighbour.prediction is
};

/// One layout, taken apart.
struct Explanation {
  PlannedJob planned;
  ParallelLayout layout;
  Prediction prediction;
  Schedule schedule;
  StepCost cost;
  SimulatedStep played;  ///< with spans
  StepBreakdown breakdown;
  Binding binding;
  std::vector<HardwareGain> hardware;
  std::vector<ExplainedNeighbour> neighbours;  ///< best first; those that do not run last
};

/// Takes a valid layout apart. Errors: none that a valid layout has, except from its schedule.
/// `progress`: of the neighbours, which take nearly all of the time.
Expected<Explanation> explain(const PlannedJob& planned, const ParallelLayout& layout,
                              const SearchProgress& progress = {});

/// Why a neighbour is faster or slower: the parts of the step that change most, such as
/// "pipeline bubble -1.20 s, tensor communication +310 ms".
std::string change_text(const StepBreakdown& from, const StepBreakdown& to);

}  // namespace kumihimo

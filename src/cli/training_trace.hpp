#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "cli/agreement.hpp"
#include "engine/step_recorder.hpp"

namespace kumihimo {

/// What one rank did in the last steps. Made by all ranks together, which sets their clocks' zero.
class LastSteps {
 public:
  LastSteps(Agreement& agreement, StepRecorder& recorder);

  /// Call after each step: keeps its spans, and forgets those of all but the last steps.
  void end_step();
  std::int64_t kept() const { return static_cast<std::int64_t>(steps_.size()); }

  /// The spans of every rank, by rank, in seconds since the zero; on ranks other than 0 nothing.
  /// Called by all.
  std::vector<std::vector<RecordedSpan>> gather(World& world) const;

 private:
  StepRecorder& recorder_;
  double zero_s_;
  std::deque<std::vector<RecordedSpan>> steps_;
};

/// Trace-event JSON for Perfetto: a track for each rank and, where it has overlapped
/// communication, one for its stream.
std::string training_trace(const std::vector<std::vector<RecordedSpan>>& by_rank,
                           std::string_view title);

}  // namespace kumihimo

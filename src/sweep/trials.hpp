#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "calibrate/run_predictor.hpp"
#include "store/store.hpp"

// What strategies, replay and a real sweep share: candidates, what became of them, and who runs
// one.

namespace kumihimo {

/// A layout that may be tried: a run that can be predicted and has no figures yet. All candidates
/// of a study train the same job on the same devices. Requires usable().
using Candidate = PredictableRun;

/// How one trial ended.
struct TrialOutcome {
  TrialState state = TrialState::error;
  std::optional<double> step_time_s;  ///< median; where state is ok
  /// One standard deviation of log step_time_s; 0: not known.
  double step_time_error = 0;
  std::optional<double> memory_gib;  ///< of the fullest device
  double duration_s = 0;             ///< start-up and warm-up included
  double device_hours = 0;
  std::string reason;

  bool ran() const { return state == TrialState::ok && step_time_s.has_value(); }
};

struct TriedCandidate {
  std::size_t candidate = 0;
  TrialOutcome outcome;
};

/// Everything that a strategy may know.
struct StudySoFar {
  std::span<const Candidate> candidates;
  std::vector<TriedCandidate> tried;  ///< in the order of their end; each candidate at most once
  std::vector<bool> done;             ///< by candidate: tried, or passed over

  explicit StudySoFar(std::span<const Candidate> all) : candidates(all), done(all.size(), false) {}
  void add(TriedCandidate trial);
  /// The fastest that ran; nothing before one has.
  const TriedCandidate* best() const;
  double device_hours() const;
};

/// Runs one candidate to its end: real processes, recorded runs, or a test's own.
class TrialRunner {
 public:
  virtual ~TrialRunner() = default;
  virtual TrialOutcome run(std::size_t candidate) = 0;
};

}  // namespace kumihimo

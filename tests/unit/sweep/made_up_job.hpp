#pragma once

#include <cmath>

#include "cost/stack_profile_file.hpp"
#include "layout/layout_text.hpp"
#include "model/model_catalog.hpp"
#include "sweep/strategy.hpp"

namespace kumihimo::testing {

/// LLaMA 13B on eight A100 in that layout; the catalog's own cluster.
inline MeasuredRun run_in(const std::string& layout, double step_time_s = 0) {
  MeasuredRun run;
  run.file = "made-up.csv";
  run.source = "here";
  run.gpu_type = "a100-80gb-sxm";
  run.gpus = 8;
  run.gpus_per_node = 8;
  run.job.model = *read_model("llama-7b");
  run.job.seq_length = 2048;
  run.job.global_batch_size = 64;
  run.layout = *parse_layout(layout);
  run.stated = StatedSettings::all();
  if (step_time_s > 0) run.step_time_s = step_time_s;
  return run;
}

inline std::vector<Candidate> candidates_of(const std::vector<std::string>& layouts) {
  std::vector<MeasuredRun> runs;
  for (const std::string& layout : layouts) runs.push_back(run_in(layout));
  return prepare_runs(std::move(runs), FrameworkDefaults{});
}

/// Every tp x pp of eight devices with three micro-batches, with and without recompute.
inline std::vector<Candidate> all_candidates() {
  std::vector<std::string> layouts;
  for (const int tp : {1, 2, 4, 8}) {
    for (const int pp : {1, 2, 4, 8}) {
      if (8 % (tp * pp) != 0) continue;
      for (const int micro_batch : {1, 2, 4}) {
        for (const char* recompute : {"none", "full"}) {
          layouts.push_back("tp=" + std::to_string(tp) + " pp=" + std::to_string(pp) +
                            " dp=" + std::to_string(8 / tp / pp) + " micro-batch=" +
                            std::to_string(micro_batch) + " recompute=" + recompute + " zero=1");
        }
      }
    }
  }
  return candidates_of(layouts);
}

inline StackProfile profile_of(const std::string& name) { return *read_stack_profile(name); }

/// A machine that behaves as a profile says: what does not fit runs out of memory.
class ProfiledMachine : public TrialRunner {
 public:
  ProfiledMachine(std::span<const Candidate> candidates, StackProfile truth)
      : candidates_(candidates), truth_(std::move(truth)) {}

  TrialOutcome run(std::size_t candidate) override {
    ++trials;
    const Prediction prediction = predict(candidates_[candidate], truth_);
    const double capacity = static_cast<double>(candidates_[candidate].cluster.device.memory);
    TrialOutcome outcome{.duration_s = 1, .device_hours = 8.0 / 3600};
    outcome.state =
        prediction.peak_memory_bytes <= capacity ? TrialState::ok : TrialState::out_of_memory;
    if (outcome.state == TrialState::ok) outcome.step_time_s = prediction.step_s;
    return outcome;
  }
  double best_step_s() {
    double best = 1e300;
    for (std::size_t i = 0; i < candidates_.size(); ++i) {
      const TrialOutcome outcome = run(i);
      if (outcome.ran()) best = std::min(best, *outcome.step_time_s);
    }
    trials = 0;
    return best;
  }
  int trials = 0;

 private:
  std::span<const Candidate> candidates_;
  StackProfile truth_;
};

}  // namespace kumihimo::testing

#pragma once

#include <string>
#include <vector>

#include "calibrate/run_predictor.hpp"
#include "calibrate/validation.hpp"

namespace kumihimo {

/// Measured runs and what was predicted for them, made up to be judged by hand.
struct JudgedRuns {
  std::vector<PredictableRun> runs;
  std::vector<RunPrediction> predictions;

  /// A run of "LLaMA-13B" on 64 devices that took `measured_s`, predicted to take `predicted_s`.
  JudgedRuns& ran(const std::string& id, double measured_s, double predicted_s,
                  PredictedStatus predicted = PredictedStatus::ok) {
    MeasuredRun& run = add(id, RunStatus::ok, predicted, predicted_s);
    run.step_time_s = measured_s;
    return *this;
  }
  /// The same, and the measured MFU.
  JudgedRuns& ran_at(const std::string& id, double mfu, double measured_s, double predicted_s,
                     PredictedStatus predicted = PredictedStatus::ok) {
    ran(id, measured_s, predicted_s, predicted);
    last().mfu = mfu;
    return *this;
  }
  JudgedRuns& ran_out_of_memory(const std::string& id, double predicted_s,
                                PredictedStatus predicted) {
    add(id, RunStatus::out_of_memory, predicted, predicted_s);
    return *this;
  }
  JudgedRuns& failed(const std::string& id, double predicted_s) {
    add(id, RunStatus::error, PredictedStatus::ok, predicted_s);
    return *this;
  }
  JudgedRuns& without_prediction(const std::string& id, PredictedStatus predicted,
                                 const std::string& reason) {
    ran(id, 1, 0, predicted);
    runs.back().reason = predictions.back().reason = reason;
    return *this;
  }

  MeasuredRun& last() { return runs.back().run; }
  ValidationReport report() const { return judge(runs, predictions); }

 private:
  MeasuredRun& add(const std::string& id, RunStatus status, PredictedStatus predicted,
                   double predicted_s) {
    PredictableRun run;
    run.run.file = "runs.csv";
    run.run.source = "a paper";
    run.run.id = id;
    run.run.status = status;
    run.run.gpus = 64;
    run.run.job.model.name = "LLaMA-13B";
    run.run.job.seq_length = 2048;
    run.run.job.global_batch_size = 1024;
    runs.push_back(run);
    predictions.push_back(
        {.status = predicted, .step_s = predicted_s, .memory_gib = 40, .mfu = 0.5});
    return runs.back().run;
  }
};

}  // namespace kumihimo

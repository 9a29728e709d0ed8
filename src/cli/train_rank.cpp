#include "cli/train_rank.hpp"

#include <fmt/format.h>

#include "base/files.hpp"
#include "cli/agreement.hpp"
#include "cli/training_trace.hpp"
#include "engine/trainer.hpp"
#include "layout/layout_text.hpp"

namespace kumihimo {
namespace {

/// Gathers the last steps of all ranks and writes them to the run's --trace.
void write_trace(World& world, const TrainingRun& run, const LastSteps& last_steps,
                 std::int64_t steps_done) {
  const auto by_rank = last_steps.gather(world);
  if (world.rank() > 0) return;
  const std::string title = fmt::format(
      "{}, steps {} to {}, {}: {}", run.request.options.job.model.name,
      steps_done - last_steps.kept() + 1, steps_done, world.emulated() ? "emulated" : "measured",
      short_text(run.request.options.layout));
  const auto written = write_file_atomically(*run.request.trace, training_trace(by_rank, title));
  if (!written) throw std::runtime_error(to_string(written.errors()));
}

}  // namespace

TrainingEnd train_rank(World& world, const TrainingRun& run, const std::stop_token& stop,
                       TrainingReporter* reporter) {
  const TrainingRequest& request = run.request;
  Agreement agreement(world);
  const ComputePeak peak =
      compute_peak(world, agreement, request.options, request.core_peak_flop_per_s);
  Trainer trainer(world, request.options, sample_reader(run));
  std::optional<LastSteps> last_steps;
  if (request.trace) last_steps.emplace(world, agreement, trainer.recorder());
  if (reporter != nullptr) {
    reporter->begin({world.backend(), world.size(), trainer.kernels_description(), peak});
  }

  TrainingEnd end;
  try {
    while (trainer.steps_done() < request.steps && !end.interrupted) {
      const StepReport report = trainer.run_step();
      if (last_steps) last_steps->end_step();
      if (reporter != nullptr) reporter->step(report);
      end.interrupted = agreement.any(stop.stop_requested());
    }
  } catch (const TrainingFailure& failure) {  // thrown by all ranks alike
    end.failure = failure.what();
  }
  if (last_steps && last_steps->kept() > 0) {
    write_trace(world, run, *last_steps, trainer.steps_done());
  }
  if (reporter != nullptr) reporter->end(end.interrupted);
  return end;
}

}  // namespace kumihimo

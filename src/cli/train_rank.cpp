#include "cli/train_rank.hpp"

#include <fmt/format.h>

#include "base/files.hpp"
#include "cli/agreement.hpp"
#include "cli/gpu_options.hpp"
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

/// Weights and states to begin with, where they are not the seed's.
void start_from_files(Trainer& trainer, const TrainingRun& run) {
  if (run.state) resume_training(trainer, *run.state);
  if (run.weights) load_weights(trainer, *run.weights);
}

/// Saves the trainer's state where a run asks for it, once for each step.
class StateKeeper {
 public:
  StateKeeper(Trainer& trainer, const TrainingRun& run)
      : trainer_(trainer), run_(run), saved_step_(trainer.steps_done()) {}

  /// Call after every step, on all ranks.
  void end_step() {
    const auto& save = run_.request.save;
    if (save && trainer_.steps_done() % save->every == 0) keep();
  }
  /// Saves what the last steps added.
  void end_run() {
    if (run_.request.save && saved_step_ != trainer_.steps_done()) keep();
  }
  std::optional<std::filesystem::path> newest() const { return newest_; }

 private:
  void keep() {
    const SaveRequest& save = *run_.request.save;
    save_training_state(trainer_, save.folder, save.keep, run_.data);
    saved_step_ = trainer_.steps_done();
    newest_ = state_path(save.folder, saved_step_);
  }

  Trainer& trainer_;
  const TrainingRun& run_;
  std::int64_t saved_step_;
  std::optional<std::filesystem::path> newest_;
};

}  // namespace

TrainingEnd train_rank(World& world, const TrainingRun& run, const std::stop_token& stop,
                       TrainingReporter* reporter) {
  const TrainingRequest& request = run.request;
  Agreement agreement(world);
  const std::shared_ptr<World> on_gpu = request.gpu ? world_on_gpu(world, *request.gpu) : nullptr;
  World& computing = on_gpu ? *on_gpu : world;
  const ComputePeak peak =
      compute_peak(computing, agreement, request.options, request.core_peak_flop_per_s);
  Trainer trainer(computing, request.options, sample_reader(run));
  start_from_files(trainer, run);
  StateKeeper states(trainer, run);
  std::optional<LastSteps> last_steps;
  if (request.trace) last_steps.emplace(agreement, trainer.recorder());
  if (reporter != nullptr) {
    reporter->begin(
        {world.backend(), world.size(), trainer.kernels_description(), peak, computing.gpu()});
  }

  TrainingEnd end;
  try {
    while (trainer.steps_done() < request.steps && !end.interrupted) {
      const StepReport report = trainer.run_step();
      if (last_steps) last_steps->end_step();
      if (reporter != nullptr) reporter->step(report);
      states.end_step();
      end.interrupted = agreement.any(stop.stop_requested());
    }
    trainer.end_run();
    states.end_run();
  } catch (const TrainingFailure& failure) {  // thrown by all ranks alike
    end.failure = failure.what();
  }
  end.saved = states.newest();
  if (last_steps && last_steps->kept() > 0) {
    write_trace(world, run, *last_steps, trainer.steps_done());
  }
  if (reporter != nullptr) reporter->end(end);
  return end;
}

}  // namespace kumihimo

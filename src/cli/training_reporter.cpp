#include "cli/training_reporter.hpp"

#include <cerrno>
#include <nlohmann/json.hpp>
#include <system_error>

#include "cli/json_text.hpp"
#include "cli/memory_prediction.hpp"
#include "cli/train_json.hpp"
#include "cli/train_text.hpp"

namespace kumihimo {
namespace {

void write_out(std::string_view text) {
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  if (written && std::fflush(stdout) == 0) return;
  throw std::system_error(errno, std::generic_category(), "standard output");
}

/// mpirun gives its ranks terminals of their own, wherever its output goes.
Terminal terminal_of(const TrainingRun& run, std::FILE* stream) {
  return run.request.ranks == RankKind::mpi || run.request.ranks == RankKind::tcp
             ? Terminal{}
             : kumihimo::terminal_of(stream);
}

}  // namespace

TrainingReporter::TrainingReporter(const TrainingRun& run)
    : run_(run),
      out_(terminal_of(run, stdout)),
      live_(terminal_of(run, stderr)),
      statistics_(run.request.warmup_steps) {
  if (!run.request.json_log) return;
  // A resumed run goes on with the log of its steps, too.
  log_.emplace(*run.request.json_log,
               run.state ? LineFile::Start::at_the_end : LineFile::Start::anew);
}

TrainingReporter::~TrainingReporter() { wipe_live_line(); }

void TrainingReporter::begin(const RankSetup& setup) {
  setup_ = setup;
  if (run_.request.json) return;
  write_out(train_header(run_, setup_, out_) + step_row_titles(run_.request));
}

void TrainingReporter::step(const StepReport& report) {
  statistics_.add(report);
  if (statistics_.steps() == 1) first_step_end_ = Clock::now();
  if (log_) log_->write(train_step_json(report, run_, setup_).dump() + "\n");
  const double left = left_s(report.step + 1);
  if (!run_.request.json && is_row(report.step + 1)) {
    wipe_live_line();
    write_out(step_row(report, run_, setup_, left));
  } else {
    draw_live_line(report, left);
  }
}

/// From the wall time of the steps after the first, which is slower.
double TrainingReporter::left_s(std::int64_t steps_done) const {
  if (statistics_.steps() < 2) return 0;
  const double elapsed_s = std::chrono::duration<double>(Clock::now() - first_step_end_).count();
  return elapsed_s / static_cast<double>(statistics_.steps() - 1) *
         static_cast<double>(run_.request.steps - steps_done);
}

bool TrainingReporter::is_row(std::int64_t steps_done) const {
  const bool first = statistics_.steps() == 1, last = steps_done == run_.request.steps;
  return first || last || steps_done % run_.request.log_every == 0;
}

void TrainingReporter::draw_live_line(const StepReport& report, double left_s) {
  if (!live_.progress) return;
  std::fputs(("\r" + live_line(report, run_, setup_, left_s) + "\x1b[K").c_str(), stderr);
  std::fflush(stderr);
  live_line_drawn_ = true;
}

void TrainingReporter::wipe_live_line() {
  if (live_line_drawn_) std::fputs("\r\x1b[K", stderr);
  live_line_drawn_ = false;
}

void TrainingReporter::end(const TrainingEnd& end) {
  wipe_live_line();
  if (statistics_.steps() == 0) return;
  const MemoryPrediction predicted = predict_training_memory(run_.request.options);
  write_out(run_.request.json ? to_json_text(train_json(statistics_, run_, setup_, predicted, end))
                              : train_summary(statistics_, run_, setup_, predicted, end, out_));
}

}  // namespace kumihimo

// What the best layouts of a plan say by themselves, whether they were just found or read from a
// file.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "advise/trial.hpp"
#include "base/number_text.hpp"
#include "cli/report_sources.hpp"
#include "cost/stack_choice.hpp"
#include "layout/layout_text.hpp"
#include "layout/names.hpp"

namespace kumihimo {

void fill_knobs(const ParallelLayout& layout, ReportRow& row) {
  row.tp = layout.tensor_parallel;
  row.pp = layout.pipeline_parallel;
  row.dp = layout.data_parallel;
  row.cp = layout.context_parallel;
  row.micro_batch = layout.micro_batch_size;
  row.schedule = to_string(layout.schedule);
  row.recompute = to_string(layout.recompute);
  row.sequence_parallel = layout.sequence_parallel ? "on" : "off";
  row.zero = std::to_string(layout.zero_stage);
  row.attention = to_string(layout.attention);
  row.norm = to_string(layout.norm);
  row.precision = to_string(layout.precision);
}

std::string certainty_text(const StackProfile& profile, const Cluster& cluster,
                           const Prediction& predicted, Language language) {
  const double within = profile.time_residual;
  const double here = predicted.error_band, fits = 100 * predicted.fits_probability;
  if (here > within) {
    return text_of(language, "page.certain_beyond", 100 * here, fits, 100 * within);
  }
  const auto elsewhere = measured_elsewhere(profile, cluster);
  return elsewhere ? text_of(language, "page.certain_elsewhere", *elsewhere, 100 * within)
                   : text_of(language, "page.certain_predicted", 100 * within, fits);
}

namespace {

class BestReporter {
 public:
  BestReporter(const PlannedJob& planned, const std::vector<RankedLayout>& best,
               ReportContent& content)
      : planned_(planned), best_(best), content_(content) {}

  void report() {
    add_title();
    for (const RankedLayout& ranked : best_) content_.rows.push_back(row_of(ranked));
    recommend();
  }

 private:
  template <class... Values>
  std::string say(std::string_view key, const Values&... values) const {
    return text_of(content_.language, key, values...);
  }

  void add_title() {
    if (!content_.title.empty()) return;
    content_.title = say("page.title", planned_.job.model.name);
    content_.subtitle =
        say("page.subtitle_plan", planned_.job.model.name, grouped(planned_.devices),
            planned_.cluster.device.name, grouped(planned_.job.global_batch_size),
            grouped(planned_.job.seq_length));
  }

  ReportRow row_of(const RankedLayout& ranked) const {
    const ParallelLayout& layout = ranked.layout;
    const Prediction& predicted = ranked.prediction;
    ReportRow row;
    row.kind = FigureKind::predicted;
    row.model = planned_.job.model.name;
    row.gpus = static_cast<int>(planned_.devices);
    fill_knobs(layout, row);
    if (layout.schedule == ScheduleKind::interleaved) {
      row.schedule += fmt::format(" {}", layout.virtual_stages_per_rank);
    }
    row.mfu = predicted.mfu;
    row.step_s = predicted.step_s;
    row.tokens_per_s_per_gpu = predicted.tokens_per_s_per_device;
    row.memory_gib = predicted.peak_memory_bytes / GiB;
    row.fits = predicted.fits_probability;
    row.layout = to_text(layout);
    return row;
  }

  void recommend() {
    Recommendation& r = content_.recommendation;
    r.kind = FigureKind::predicted;
    if (best_.empty()) {
      r.headline = say("page.head_no_fit");
      return;
    }
    const RankedLayout& best = best_.front();
    r.headline = say("page.head_layout", short_text(best.layout));
    r.detail = to_text(best.layout);
    r.gain =
        best_.size() > 9
            ? say("page.gain_plan", percent(best.prediction.mfu), step_text(best.prediction.step_s),
                  percent(best_[9].prediction.step_s / best.prediction.step_s - 1))
            : say("page.gain_single", percent(best.prediction.mfu),
                  step_text(best.prediction.step_s));
    r.certainty =
        certainty_text(planned_.profile, planned_.cluster, best.prediction, content_.language);
    if (best_.size() > 1) {
      const RankedLayout& second = best_[1];
      const double gap = second.prediction.step_s / best.prediction.step_s - 1;
      r.next = say("page.next_plan", trial_steps(std::max(gap, 0.005)) + trial_warm_up_steps,
                   short_text(second.layout), planned_.devices);
    }
  }

  const PlannedJob& planned_;
  const std::vector<RankedLayout>& best_;
  ReportContent& content_;
};

}  // namespace

void add_best_layouts(const PlannedJob& planned, const std::vector<RankedLayout>& best,
                      ReportContent& content) {
  BestReporter(planned, best, content).report();
}

void add_plan_provenance(const PlannedJob& planned, ReportContent& content) {
  const auto add = [&](std::string_view key, std::string value) {
    if (value.empty()) return;
    content.provenance.emplace_back(message(content.language, key), std::move(value));
  };
  const Cluster& cluster = planned.cluster;
  add("page.model", planned.job.model.name);
  add("page.cluster", fmt::format("{}: {}", cluster.name, cluster.description));
  add("page.profile", planned.profile.name);
  add("page.origin", planned.profile.origin);
  add("page.error_band", fmt::format("± {:.1f} %", 100 * planned.profile.time_residual));
  if (!planned.assumptions.empty()) {
    add("page.assumed", fmt::format("{}", fmt::join(planned.assumptions, ", ")));
  }
  for (const Source& source : cluster.sources) {
    add("page.source",
        source.url.empty() ? source.title : fmt::format("{} ({})", source.title, source.url));
  }
}

}  // namespace kumihimo

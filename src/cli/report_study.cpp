#include <algorithm>
#include <charconv>
#include <chrono>
#include <ctime>
#include <fmt/chrono.h>
#include <fmt/format.h>

#include "advise/trial.hpp"
#include "cli/number_text.hpp"
#include "cli/report_sources.hpp"
#include "layout/layout_text.hpp"
#include "layout/names.hpp"
#include "store/store.hpp"

namespace kumihimo {
namespace {

FigureKind kind_of(TrialClock clock) {
  switch (clock) {
    case TrialClock::measured: return FigureKind::measured;
    case TrialClock::emulated: return FigureKind::emulated;
    case TrialClock::quoted: return FigureKind::quoted;
  }
  return FigureKind::quoted;
}

std::optional<double> number_in(const std::string& cell) {
  double value = 0;
  const auto [end, status] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (status != std::errc{} || !(value > 0)) return std::nullopt;
  return value;
}

int whole_in(const std::string& cell) {
  const auto value = number_in(cell);
  return value && *value < 1e9 ? static_cast<int>(*value) : 1;
}

/// What the cells of a run say where its layout's text cannot be read.
void fill_from_cells(const RunRow& run, ReportRow& row) {
  row.tp = whole_in(run[RunColumn::tp]);
  row.pp = whole_in(run[RunColumn::pp]);
  row.dp = whole_in(run[RunColumn::dp]);
  row.cp = whole_in(run[RunColumn::cp]);
  row.micro_batch = whole_in(run[RunColumn::micro_batch]);
  row.recompute = run[RunColumn::recompute];
  row.zero = run[RunColumn::zero_stage];
  row.attention = run[RunColumn::attention_kernel];
  row.precision = run[RunColumn::precision];
  row.sequence_parallel = run[RunColumn::seq_parallel] == "1" ? "on" : "off";
}

void fill_from_layout(const ParallelLayout& layout, ReportRow& row) {
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

ReportRow row_of(const Trial& trial, const std::string& study) {
  ReportRow row;
  row.kind = kind_of(trial.clock);
  row.study = study;
  row.state = to_string(trial.state);
  row.layout = trial.layout;
  row.reason = trial.reason;
  if (const Expected<ParallelLayout> layout = parse_layout(trial.layout)) {
    fill_from_layout(*layout, row);
  } else {
    fill_from_cells(trial.run, row);
  }
  if (trial.state == TrialState::ok) {
    row.mfu = number_in(trial.run[RunColumn::mfu]);
    row.step_s = number_in(trial.run[RunColumn::step_time_s]);
    row.tokens_per_s_per_gpu = number_in(trial.run[RunColumn::tokens_per_s_per_gpu]);
  }
  if (const auto gb = number_in(trial.run[RunColumn::memory_gb])) row.memory_gib = *gb * 1e9 / GiB;
  if (trial.forecast) {
    row.predicted_step_s = trial.forecast->step_time_s;
    row.predicted_mfu = trial.forecast->mfu;
    row.fits = trial.forecast->fits_probability;
  }
  return row;
}

std::string date_text(double unix_s) {
  const auto seconds = static_cast<std::time_t>(unix_s);
  return fmt::format("{:%Y-%m-%d %H:%M} UTC", fmt::gmtime(seconds));
}

/// The best trial of the kind that weighs most, by MFU.
const Trial* best_trial(const std::vector<Trial>& trials) {
  const Trial* best = nullptr;
  for (const Trial& trial : trials) {
    if (trial.state != TrialState::ok || trial.mfu() <= 0) continue;
    if (best == nullptr || trial.clock < best->clock ||
        (trial.clock == best->clock && trial.mfu() > best->mfu())) {
      best = &trial;
    }
  }
  return best;
}

double median_mfu(const std::vector<Trial>& trials, TrialClock clock) {
  std::vector<double> values;
  for (const Trial& trial : trials) {
    if (trial.state == TrialState::ok && trial.clock == clock && trial.mfu() > 0) {
      values.push_back(trial.mfu());
    }
  }
  std::ranges::sort(values);
  return values.empty() ? 0 : values[values.size() / 2];
}

std::string name_of(const ReportRow& row) {
  std::string text =
      fmt::format("tp {} · pp {} · dp {} · mb {}", row.tp, row.pp, row.dp, row.micro_batch);
  if (!row.recompute.empty() && row.recompute != "none") text += " · " + row.recompute;
  return text;
}

void recommend(const std::vector<Trial>& trials, ReportContent& content) {
  const Trial* best = best_trial(trials);
  if (best == nullptr) return;
  const ReportRow row = row_of(*best, "");
  const Language language = content.language;
  const std::string kind(message(language, fmt::format("page.{}", key_of(row.kind))));
  Recommendation& r = content.recommendation;
  r.kind = row.kind;
  r.headline = text_of(language, "page.head_layout", name_of(row));
  r.detail = row.layout;
  r.gain = text_of(language, "page.gain_study", percent(best->mfu()),
                   percent(median_mfu(trials, best->clock)));
  r.certainty = best->step_time_spread ? text_of(language, "page.certain_study", kind,
                                                 percent(*best->step_time_spread))
                                       : text_of(language, "page.certain_unknown", kind);
  r.next = std::string(message(language, "page.next_repeat"));
}

}  // namespace

Expected<std::monostate> add_study(const std::filesystem::path& path, ReportContent& content) {
  auto store = Store::open(path, Database::Mode::read);
  if (!store) return store.errors();
  const Language language = content.language;
  const std::vector<Study> studies = store->studies();
  std::vector<Trial> told;
  std::vector<ReportRow> rows;
  for (const Study& study : studies) {
    const std::vector<Trial> trials = store->trials(study.id);
    for (const Trial& trial : trials) {
      if (trial.state == TrialState::running || trial.state == TrialState::cancelled) continue;
      rows.push_back(row_of(trial, study.name));
      told.push_back(trial);
    }
    content.provenance.emplace_back(text_of(language, "page.study_date", study.name),
                                    text_of(language, "page.study_text", study.kind, trials.size(),
                                            date_text(study.created_unix_s)));
  }
  for (const MachineRecord& machine : store->machines()) {
    content.provenance.emplace_back(std::string(message(language, "page.machine")),
                                    machine.host + ": " + machine.fingerprint);
  }
  content.provenance.emplace_back(std::string(message(language, "page.trials_file")),
                                  path.filename().string());
  if (content.title.empty()) {
    const std::string model =
        told.empty() ? path.filename().string() : told.front().run[RunColumn::model_name];
    content.title =
        text_of(language, "page.title", model.empty() ? path.filename().string() : model);
    content.subtitle = text_of(language, "page.subtitle_study", rows.size(), studies.size());
  }
  // What was measured weighs more than what was predicted, and stands first.
  recommend(told, content);
  std::ranges::stable_sort(rows, std::greater{},
                           [](const ReportRow& row) { return row.mfu.value_or(-1); });
  content.rows.insert(content.rows.begin(), rows.begin(), rows.end());
  return std::monostate{};
}

}  // namespace kumihimo

#include <algorithm>
#include <charconv>
#include <chrono>
#include <ctime>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <map>
#include <tuple>

#include "base/number_text.hpp"
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

/// Splits as the cells of a run state them, where its layout's text cannot be read.
void fill_from_cells(const RunRow& run, ReportRow& row) {
  row.tp = whole_in(run[RunColumn::tp]);
  row.pp = whole_in(run[RunColumn::pp]);
  row.dp = whole_in(run[RunColumn::dp]);
  row.cp = whole_in(run[RunColumn::cp]);
  row.micro_batch = whole_in(run[RunColumn::micro_batch]);
}

/// A quoted run says what its source says, and nothing where that is silent: its layout's text
/// holds defaults there.
void quote_cells(const RunRow& run, ReportRow& row) {
  row.schedule.clear();
  row.norm.clear();
  row.recompute = run[RunColumn::recompute];
  row.zero = run[RunColumn::zero_stage];
  row.attention = run[RunColumn::attention_kernel];
  row.precision = run[RunColumn::precision];
  const std::string& split = run[RunColumn::seq_parallel];
  row.sequence_parallel = split.empty() ? "" : split == "1" ? "on" : "off";
}

ReportRow row_of(const Trial& trial, const std::string& study) {
  ReportRow row;
  row.kind = kind_of(trial.clock);
  row.study = study;
  row.state = to_string(trial.state);
  row.layout = trial.layout;
  row.reason = trial.reason;
  if (const Expected<ParallelLayout> layout = parse_layout(trial.layout)) {
    fill_knobs(*layout, row);
  } else {
    fill_from_cells(trial.run, row);
  }
  if (trial.clock == TrialClock::quoted) quote_cells(trial.run, row);
  row.model = trial.run[RunColumn::model_name];
  row.gpus = whole_in(trial.run[RunColumn::gpus]);
  if (trial.state == TrialState::ok) {
    row.mfu = number_in(trial.run[RunColumn::mfu]);
    row.step_s = number_in(trial.run[RunColumn::step_time_s]);
    row.tokens_per_s_per_gpu = number_in(trial.run[RunColumn::tokens_per_s_per_gpu]);
  }
  row.memory_gib = number_in(trial.run[RunColumn::memory_gb]);  // GiB, as all readers take it
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

/// Trials that can be compared: one model on one number of devices, of one kind.
using Comparable = std::tuple<std::string, int, FigureKind>;

Comparable group_of(const ReportRow& row) { return {row.model, row.gpus, row.kind}; }

/// The largest group of trials that ran; of what was measured rather than quoted.
std::vector<ReportRow> main_group(const std::vector<ReportRow>& rows) {
  std::map<Comparable, std::vector<ReportRow>> groups;
  for (const ReportRow& row : rows) {
    if (row.mfu) groups[group_of(row)].push_back(row);
  }
  std::vector<ReportRow> largest;
  for (auto& [group, members] : groups) {
    const bool better =
        largest.empty() || std::get<2>(group) < largest.front().kind ||
        (std::get<2>(group) == largest.front().kind && members.size() > largest.size());
    if (better) largest = std::move(members);
  }
  std::ranges::stable_sort(largest, std::greater{}, [](const ReportRow& row) { return *row.mfu; });
  return largest;
}

/// MFU is a share of the peak of each trial's own precision: between precisions, tokens tell which
/// is the faster.
void put_fastest_first(std::vector<ReportRow>& group) {
  const bool mixed = std::ranges::any_of(
      group, [&](const ReportRow& row) { return row.precision != group.front().precision; });
  const bool told = std::ranges::all_of(
      group, [](const ReportRow& row) { return row.tokens_per_s_per_gpu.has_value(); });
  if (!mixed || !told) return;
  std::ranges::stable_sort(group, std::greater{},
                           [](const ReportRow& row) { return *row.tokens_per_s_per_gpu; });
}

std::string name_of(const ReportRow& row) {
  std::string text =
      fmt::format("tp {} · pp {} · dp {} · mb {}", row.tp, row.pp, row.dp, row.micro_batch);
  if (!row.recompute.empty() && row.recompute != "none") text += " · " + row.recompute;
  return text;
}

/// `group`: best first, not empty. `spread`: of the best one's step time, where it is known.
void recommend(const std::vector<ReportRow>& group, std::optional<double> spread,
               ReportContent& content) {
  const ReportRow& best = group.front();
  const Language language = content.language;
  const std::string kind(message(language, fmt::format("page.{}", key_of(best.kind))));
  Recommendation& r = content.recommendation;
  r.kind = best.kind;
  r.headline = text_of(language, "page.head_study", best.model, best.gpus, name_of(best));
  r.detail = best.layout;
  r.gain = text_of(language, "page.gain_study", percent(*best.mfu),
                   percent(*group[group.size() / 2].mfu));
  r.certainty = spread ? text_of(language, "page.certain_study", kind, percent(*spread))
                       : text_of(language, "page.certain_unknown", kind);
  r.next = group.size() > 1 ? text_of(language, "page.next_second", name_of(group[1]))
                            : std::string(message(language, "page.next_repeat"));
}

/// The best of each pair of settings that was tried.
HeatMap heat_map(const std::vector<ReportRow>& group, std::string key,
                 std::string (*x)(const ReportRow&), std::string (*y)(const ReportRow&)) {
  HeatMap map{std::move(key), {}};
  for (const ReportRow& row : group) {
    const auto found = std::ranges::find_if(
        map.cells, [&](const HeatCell& cell) { return cell.x == x(row) && cell.y == y(row); });
    if (found == map.cells.end()) map.cells.push_back({x(row), y(row), row.mfu, row.layout});
  }
  const auto number = [](const std::string& text) { return number_in(text).value_or(0); };
  std::ranges::stable_sort(map.cells, {}, [&](const HeatCell& cell) {
    return std::tuple(number(cell.y), cell.y, number(cell.x));
  });
  return map;
}

/// Columns must come in order, whatever the rows hold.
void add_heat_maps(const std::vector<ReportRow>& group, ReportContent& content) {
  content.heat_maps = {
      heat_map(
          group, "tp_pp", [](const ReportRow& row) { return std::to_string(row.tp); },
          [](const ReportRow& row) { return std::to_string(row.pp); }),
      heat_map(
          group, "mb_recompute",
          [](const ReportRow& row) { return std::to_string(row.micro_batch); },
          [](const ReportRow& row) { return row.recompute; })};
}

}  // namespace

void add_study(Store& store, ReportContent& content) {
  const Language language = content.language;
  const std::vector<Study> studies = store.studies();
  std::vector<Trial> told;
  std::vector<ReportRow> rows, firsts;  // a layout that ran again for the drift is judged once
  for (const Study& study : studies) {
    const std::vector<Trial> trials = store.trials(study.id);
    for (const Trial& trial : trials) {
      if (trial.state == TrialState::running || trial.state == TrialState::cancelled) continue;
      rows.push_back(row_of(trial, study.name));
      if (trial.repetition.value_or(0) == 0) firsts.push_back(rows.back());
      told.push_back(trial);
    }
    content.provenance.emplace_back(
        text_of(language, "page.study_date", study.name),
        text_of(
            language, "page.study_text",
            message(language, study.kind == "import" ? "page.study_import" : "page.study_sweep"),
            trials.size(), date_text(study.created_unix_s)));
  }
  for (const MachineRecord& machine : store.machines()) {
    content.provenance.emplace_back(std::string(message(language, "page.machine")),
                                    machine.host + ": " + machine.fingerprint);
  }
  content.provenance.emplace_back(std::string(message(language, "page.trials_file")),
                                  store.path().filename().string());
  std::vector<ReportRow> group = main_group(firsts);
  if (content.title.empty()) {
    content.title = text_of(language, "page.title", store.path().filename().string());
    content.subtitle = text_of(language, "page.subtitle_study", rows.size(), studies.size());
  }
  if (!group.empty()) {
    if (content.heat_maps.empty()) add_heat_maps(group, content);
    put_fastest_first(group);
    std::optional<double> spread;
    for (const Trial& trial : told) {
      if (trial.layout == group.front().layout && trial.mfu() == *group.front().mfu) {
        spread = trial.step_time_spread;
      }
    }
    // The advice of a plan stands; the best trial takes the place of the best prediction.
    if (content.steps.empty()) recommend(group, spread, content);
  }
  if (!content.what_if) add_what_if_of_study(store, content);
  std::ranges::stable_sort(rows, std::greater{},
                           [](const ReportRow& row) { return row.mfu.value_or(-1); });
  content.rows.insert(content.rows.begin(), rows.begin(), rows.end());
}

}  // namespace kumihimo

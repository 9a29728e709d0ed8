#include "calibrate/held_out.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <map>
#include <random>
#include <set>
#include <utility>

#include "calibrate/fit.hpp"

namespace kumihimo {
namespace {

using Sheet = std::pair<std::string, std::string>;  // file, sheet

Sheet sheet_of(const MeasuredRun& run) {
  RunGroup group = group_of(run);
  return {std::move(group.file), std::move(group.sheet)};
}

using Indices = std::vector<std::size_t>;

/// What draw_runs draws from: large groups on their own, the others by sheet.
std::vector<Indices> strata_of(std::span<const PredictableRun> runs, std::int64_t count) {
  std::map<RunGroup, Indices> groups;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const bool timed = runs[i].run.status == RunStatus::ok && runs[i].run.step_time_s;
    if (is_fittable(runs[i]) && timed) groups[group_of(runs[i].run)].push_back(i);
  }
  std::vector<Indices> strata;
  std::map<Sheet, Indices> pools;
  for (auto& [group, members] : groups) {
    if (std::cmp_less(members.size() / 2, count)) {
      Indices& pool = pools[{group.file, group.sheet}];
      pool.insert(pool.end(), members.begin(), members.end());
    } else {
      strata.push_back(std::move(members));
    }
  }
  for (auto& [sheet, pool] : pools) strata.push_back(std::move(pool));
  return strata;
}

FitReport fit_to(std::span<const PredictableRun> runs, const Indices& chosen, StackProfile base) {
  std::vector<PredictableRun> fitted;
  fitted.reserve(chosen.size());
  for (const std::size_t i : chosen) fitted.push_back(runs[i]);
  // The fit copies its base for every prediction; nothing computes with these.
  base.evidence.clear();
  base.spreads.clear();
  return fit_profile(fitted, base);
}

/// The profile that fits on some of `runs` start from, and the note of it.
StackProfile start_of(std::span<const PredictableRun> runs, const StackProfile& base,
                      HeldOut& result) {
  result.started_without_fit = has_seen(base, runs);
  return result.started_without_fit ? without_fit(base) : base;
}

/// A shuffle that is the same everywhere: the standard fixes what the engine yields, but not what
/// its distributions and shuffle do.
void shuffle(Indices& items, std::mt19937_64& engine) {
  for (std::size_t i = 0; i + 1 < items.size(); ++i) {
    std::swap(items[i], items[i + static_cast<std::size_t>(engine() % (items.size() - i))]);
  }
}

void report_progress(const FitProgress& progress, std::int64_t done, std::int64_t total) {
  if (progress) progress(done, total);
}

}  // namespace

bool has_seen(const StackProfile& profile, std::span<const PredictableRun> runs) {
  return std::ranges::any_of(runs, [&](const PredictableRun& run) {
    return std::ranges::any_of(profile.evidence, [&](const FitEvidence& evidence) {
      return !run.run.file.empty() && evidence.source.starts_with(run.run.file);
    });
  });
}

StackProfile without_fit(StackProfile profile) {
  const StackProfile uncalibrated;
  for (const ProfileParameter& parameter : profile_parameters()) {
    const bool fitted = std::ranges::any_of(profile.spreads, [&](const ParameterSpread& spread) {
      return spread.key == parameter.key;
    });
    if (fitted) profile.*parameter.member = uncalibrated.*parameter.member;
  }
  profile.time_residual = uncalibrated.time_residual;
  profile.memory_residual = uncalibrated.memory_residual;
  profile.range.reset();
  profile.evidence.clear();
  profile.spreads.clear();
  return profile;
}

bool is_fittable(const PredictableRun& run) {
  const bool known = (run.run.status == RunStatus::ok &&
                      (run.run.step_time_s.has_value() || run.run.memory_gb.has_value())) ||
                     run.run.status == RunStatus::out_of_memory;
  return run.usable() && known && run.run.suspect.empty();
}

std::vector<std::size_t> draw_runs(std::span<const PredictableRun> runs, std::int64_t count,
                                   std::uint64_t seed) {
  // The standard fixes what the engine yields, but not what its distributions and shuffle do.
  std::mt19937_64 engine(seed);
  Indices drawn;
  for (Indices& stratum : strata_of(runs, count)) {
    const std::size_t draws = std::cmp_less(stratum.size() / 2, count)
                                  ? stratum.size() / 2
                                  : static_cast<std::size_t>(count);
    for (std::size_t i = 0; i < draws; ++i) {
      const std::size_t other = i + static_cast<std::size_t>(engine() % (stratum.size() - i));
      std::swap(stratum[i], stratum[other]);
      drawn.push_back(stratum[i]);
    }
  }
  std::sort(drawn.begin(), drawn.end());
  return drawn;
}

Expected<HeldOut> fit_on(std::span<const PredictableRun> runs, const StackProfile& base,
                         std::int64_t count, std::uint64_t seed, const FitProgress& progress) {
  const Indices drawn = draw_runs(runs, count, seed);
  if (drawn.empty()) {
    return Error{"--fit-on",
                 "finds no sheet with two runs that can be predicted and state a step time",
                 "give more runs, or validate without fitting"};
  }
  report_progress(progress, 0, 1);
  HeldOut result{.fitted_runs = static_cast<std::int64_t>(drawn.size()), .fits = 1};
  const FitReport fit = fit_to(runs, drawn, start_of(runs, base, result));
  report_progress(progress, 1, 1);
  result.predictions = predict_runs(runs, fit.profile);
  for (const std::size_t i : drawn) {
    result.predictions[i] = {.reason = "took part in the fit"};
  }
  return result;
}

Expected<HeldOut> leave_parts_out(std::span<const PredictableRun> runs, const StackProfile& base,
                                  std::int64_t parts, const FitProgress& progress) {
  KUMIHIMO_CHECK(parts >= 2);
  // Timed runs are dealt out first, so that each part has as many.
  Indices timed, others;
  HeldOut result;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    result.predictions.push_back({.reason = "cannot be fitted to"});
    if (!is_fittable(runs[i])) continue;
    const bool has_time = runs[i].run.status == RunStatus::ok && runs[i].run.step_time_s;
    (has_time ? timed : others).push_back(i);
  }
  if (std::cmp_less(timed.size(), parts)) {
    return Error{"runs", fmt::format("have {} step times that a fit can use", timed.size()),
                 fmt::format("give at least {}", parts)};
  }
  std::mt19937_64 engine(1);
  shuffle(timed, engine);
  shuffle(others, engine);
  timed.insert(timed.end(), others.begin(), others.end());
  const StackProfile start = start_of(runs, base, result);
  for (std::int64_t part = 0; part < parts; ++part) {
    report_progress(progress, part, parts);
    Indices own, fitted;
    for (std::size_t i = 0; i < timed.size(); ++i) {
      (static_cast<std::int64_t>(i) % parts == part ? own : fitted).push_back(timed[i]);
    }
    const FitReport fit = fit_to(runs, fitted, start);
    for (const std::size_t i : own) {
      result.predictions[i] = predict_runs(runs.subspan(i, 1), fit.profile).front();
    }
    result.fitted_runs += static_cast<std::int64_t>(fitted.size());
    ++result.fits;
  }
  report_progress(progress, parts, parts);
  return result;
}

Expected<HeldOut> leave_one_sheet_out(std::span<const PredictableRun> runs,
                                      const StackProfile& base, const FitProgress& progress) {
  std::set<Sheet> sheets;
  for (const PredictableRun& run : runs) {
    if (is_fittable(run)) sheets.insert(sheet_of(run.run));
  }
  if (sheets.size() < 2) {
    return Error{"--leave-one-out",
                 fmt::format("needs two sheets with runs that a fit can use, but there is {}",
                             sheets.empty() ? "none" : "one"),
                 "give runs of more sheets"};
  }
  HeldOut result;
  const StackProfile start = start_of(runs, base, result);
  result.predictions = predict_runs(runs, start);
  for (const Sheet& left_out : sheets) {
    report_progress(progress, result.fits, static_cast<std::int64_t>(sheets.size()));
    Indices others, own;
    for (std::size_t i = 0; i < runs.size(); ++i) {
      const bool is_own = sheet_of(runs[i].run) == left_out;
      if (is_own) own.push_back(i);
      if (!is_own && is_fittable(runs[i])) others.push_back(i);
    }
    const FitReport fit = fit_to(runs, others, start);
    for (const std::size_t i : own) {
      result.predictions[i] = predict_runs(runs.subspan(i, 1), fit.profile).front();
    }
    result.fitted_runs += static_cast<std::int64_t>(others.size());
    ++result.fits;
  }
  report_progress(progress, result.fits, static_cast<std::int64_t>(sheets.size()));
  return result;
}

}  // namespace kumihimo

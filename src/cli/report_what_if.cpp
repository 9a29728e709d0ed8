// What a page needs to plan anew: from a plan, or from what a sweep's trials know of their job.
#include <algorithm>

#include "calibrate/run_predictor.hpp"
#include "cli/report_sources.hpp"
#include "cost/stack_profile_file.hpp"
#include "sweep/stored_runs.hpp"

namespace kumihimo {
namespace {

/// The job of a study's trials on the machine that they ran on, under the profile that was fitted
/// to them; nothing where the study lacks one of these.
std::optional<WhatIfBasis> basis_of(Store& store, const Study& study) {
  const auto record = store.newest_profile(study.id);
  if (!record) return std::nullopt;
  const auto profile = parse_stack_profile(record->toml, store.path().string() + ": a profile");
  const auto runs = stored_runs(store, study);
  if (!profile || !runs) return std::nullopt;
  for (const PredictableRun& run : prepare_runs(*runs, profile->defaults)) {
    // A machine of the catalog, looked up by name, would not be the one that was measured.
    if (!run.usable() || !run.run.cluster) continue;
    return WhatIfBasis{
        .job = run.run.job, .cluster = run.cluster, .profile = *profile, .devices = run.run.gpus};
  }
  return std::nullopt;
}

}  // namespace

void add_what_if(const WhatIfBasis& basis, const SearchRequest& request, const SearchResult& result,
                 ReportContent& content) {
  const std::vector<WhatIfControl> controls = what_if_controls(basis);
  WhatIfReport what_if{.basis = to_json_text(basis),
                       .controls = to_json_text(controls),
                       .answer = what_if_answer(request, result, std::nullopt)};
  for (const WhatIfControl& control : controls) {
    what_if.settings.emplace_back(control.key, control.stops[control.today].text);
  }
  content.what_if = std::move(what_if);
}

void add_what_if_of_study(Store& store, ReportContent& content) {
  std::vector<Study> studies = store.studies();
  std::ranges::reverse(studies);
  for (const Study& study : studies) {
    const auto basis = basis_of(store, study);
    if (!basis) continue;
    const auto request = what_if_request(*basis, settings_of(*basis));
    if (!request) continue;
    add_what_if(*basis, *request, search(*request), content);
    return;
  }
}

}  // namespace kumihimo

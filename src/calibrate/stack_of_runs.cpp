#include "calibrate/stack_of_runs.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "base/catalog.hpp"
#include "cluster/cluster_file.hpp"
#include "cost/stack_choice.hpp"
#include "cost/stack_profile_file.hpp"
#include "runs/spellings.hpp"

namespace kumihimo {
namespace {

bool is_named_by(const StackProfile& profile, const std::string& source) {
  const std::string text = lower_case(source);
  return std::ranges::any_of(profile.sources, [&](const std::string& word) {
    return text.find(lower_case(word)) != std::string::npos;
  });
}

std::optional<Cluster> cluster_of(const MeasuredRun& run) {
  if (run.cluster) return run.cluster;
  const Expected<Cluster> known = read_cluster(run.gpu_type);
  return known ? std::optional(*known) : std::nullopt;
}

std::vector<StackProfile> profiles_named_by_source() {
  std::vector<StackProfile> profiles;
  for (const std::string& name : catalog_names(CatalogKind::stacks)) {
    Expected<StackProfile> profile = read_stack_profile(name);
    if (profile && !profile->sources.empty()) profiles.push_back(*std::move(profile));
  }
  return profiles;
}

std::string stack_of(const MeasuredRun& run, const std::vector<StackProfile>& named_by_source) {
  const std::optional<Cluster> cluster = cluster_of(run);
  const StackProfile* named = nullptr;
  for (const StackProfile& profile : named_by_source) {
    if (!is_named_by(profile, run.source)) continue;
    if (cluster && !measured_elsewhere(profile, *cluster)) return profile.name;
    if (named == nullptr) named = &profile;
  }
  if (named != nullptr) return named->name;
  return cluster ? default_stack(*cluster) : "uncalibrated";
}

}  // namespace

std::string stack_of_runs(const std::vector<MeasuredRun>& runs) {
  const std::vector<StackProfile> named_by_source = profiles_named_by_source();
  std::map<std::pair<std::string, std::string>, std::string> choices;  // by source and device
  std::map<std::string, int> votes{{"uncalibrated", 0}};
  for (const MeasuredRun& run : runs) {
    if (!run.usable()) continue;
    const std::string device = run.cluster ? run.cluster->device.name : run.gpu_type;
    const auto [choice, is_new] = choices.try_emplace({run.source, device});
    if (is_new) choice->second = stack_of(run, named_by_source);
    ++votes[choice->second];
  }
  return std::ranges::max_element(votes, {}, [](const auto& vote) { return vote.second; })->first;
}

}  // namespace kumihimo

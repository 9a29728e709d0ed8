#include "cli/job_options.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "cli/model_options.hpp"
#include "cluster/cluster_file.hpp"
#include "cluster/topology.hpp"
#include "cost/stack_choice.hpp"
#include "cost/stack_profile_file.hpp"

namespace kumihimo {
namespace {

constexpr std::int64_t longest_default_sequence = 8192;
constexpr double default_tokens_per_step = 4 * 1024 * 1024;
constexpr std::int64_t most_gpus = 1'048'576;
constexpr std::int64_t longest_sequence = 16'777'216;
constexpr std::int64_t largest_batch = 16'777'216;

double nearest_power_of_two(double value) {
  return std::exp2(std::max(0.0, std::round(std::log2(value))));
}

std::optional<Cluster> read_cluster_flags(const Flags& flags, Errors& faults) {
  const auto name = flags.required_text(
      "--cluster", "name one of `kumihimo clusters`, or a cluster's TOML file", faults);
  const auto price = flags.money("--price", faults);
  if (!name) return std::nullopt;
  Expected<Cluster> cluster = read_cluster(*name);
  collect(faults, cluster);
  if (!cluster) return std::nullopt;
  if (price) cluster->price_per_device_hour = price;
  return *cluster;
}

std::optional<StackProfile> read_stack_flag(const Flags& flags,
                                            const std::optional<Cluster>& cluster,
                                            std::vector<std::string>& assumptions, Errors& faults) {
  const auto name = flags.text("--stack", faults);
  if (!name && !cluster) return std::nullopt;
  const Expected<StackProfile> profile = read_stack_profile(name ? *name : default_stack(*cluster));
  collect(faults, profile);
  if (!profile) return std::nullopt;
  if (!flags.given("--stack")) {
    assumptions.push_back("--stack " + profile->name);
  }
  return *profile;
}

}  // namespace

void add_job_flags(Flags& flags) {
  flags.group("Job");
  add_model_flag(flags);
  flags.add_value("--cluster", "NAME|PATH", "cluster of the catalog, or its TOML file");
  flags.add_value("--gpus", "N", "devices to use (default: all of the cluster)");
  flags.add_value("--seq-length", "N",
                  "tokens of a sequence (default: the model's positions, at most 8192)");
  flags.add_value("--global-batch-size", "N",
                  "sequences of a step (default: about 4 million tokens)");
  flags.add_value("--stack", "NAME|PATH",
                  "stack profile: how fast a framework runs here (default: by cluster)");
  flags.add_value("--price", "AMOUNT", "price of a device-hour, such as 2.10USD");
  add_model_change_flags(flags);
}

std::int64_t default_seq_length(const TransformerShape& model) {
  return std::clamp<std::int64_t>(model.max_positions, 1, longest_default_sequence);
}

std::int64_t default_global_batch_size(std::int64_t seq_length, std::int64_t devices) {
  const double sequences = std::max(1.0, default_tokens_per_step / static_cast<double>(seq_length));
  const double count = static_cast<double>(devices);
  const double batch = sequences < count ? nearest_power_of_two(sequences)
                                         : count * nearest_power_of_two(sequences / count);
  return static_cast<std::int64_t>(batch);
}

std::optional<PlannedJob> read_job(const Flags& flags, Errors& faults,
                                   std::optional<std::int64_t> devices_of_layout) {
  const std::size_t faults_before = faults.size();
  std::vector<std::string> assumptions;
  const auto model = read_model_flags(flags, faults);
  const auto cluster = read_cluster_flags(flags, faults);
  const auto profile = read_stack_flag(flags, cluster, assumptions, faults);
  const auto gpus = flags.whole("--gpus", 1, most_gpus, faults);
  const auto seq_length = flags.whole("--seq-length", 1, longest_sequence, faults);
  const auto batch = flags.whole("--global-batch-size", 1, largest_batch, faults);
  if (model && seq_length) judge_seq_length(*model, *seq_length, faults);
  if (faults.size() > faults_before || !model || !cluster || !profile) return std::nullopt;

  PlannedJob planned;
  planned.job.model = *model;
  planned.cluster = *cluster;
  planned.profile = *profile;
  planned.devices = gpus.value_or(devices_of_layout.value_or(cluster->devices()));
  planned.job.vocab_multiple = profile->defaults.vocab_multiple;
  planned.job.seq_length = seq_length.value_or(default_seq_length(*model));
  planned.job.global_batch_size =
      batch.value_or(default_global_batch_size(planned.job.seq_length, planned.devices));

  if (!gpus) assumptions.push_back(fmt::format("--gpus {}", planned.devices));
  if (!seq_length) assumptions.push_back(fmt::format("--seq-length {}", planned.job.seq_length));
  if (!batch) {
    assumptions.push_back(fmt::format("--global-batch-size {}", planned.job.global_batch_size));
  }
  const std::int64_t nodes = nodes_of(planned.devices, *cluster);
  if (nodes > cluster->nodes) {
    assumptions.push_back(fmt::format("nodes {} → {}", cluster->nodes, nodes));
  }
  planned.assumptions = std::move(assumptions);
  return planned;
}

}  // namespace kumihimo

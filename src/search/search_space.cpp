#include "search/search_space.hpp"

#include <algorithm>
#include <limits>

#include "layout/attention_support.hpp"

namespace kumihimo {
namespace {

constexpr std::int64_t largest_micro_batch = 16;
constexpr std::int64_t most_virtual_stages = 16;
constexpr std::int64_t tokens_worth_a_context_rank = 8192;

/// Whole numbers from 1 to `limit` that divide `number`.
std::vector<int> context_degrees(std::int64_t seq_length, std::int64_t devices) {
  std::vector<int> result{1};
  while (seq_length / (2 * result.back()) >= tokens_worth_a_context_rank &&
         devices % (2 * result.back()) == 0) {
    result.push_back(2 * result.back());
  }
  return result;
}

/// 1F1B, and interleaved with as many virtual stages as divide the layers or are a power of two.
std::vector<ScheduleChoice> schedule_choices(std::int64_t layers) {
  std::vector<ScheduleChoice> result{ScheduleChoice{}};
  for (int stages = 2; stages <= std::min(most_virtual_stages, layers / 2); ++stages) {
    if (layers % stages == 0 || (stages & (stages - 1)) == 0) {
      result.push_back({ScheduleKind::interleaved, stages});
    }
  }
  return result;
}

std::vector<int> zero_stages(const FrameworkDefaults& defaults) {
  std::vector<int> result{0, 1, 3};
  if (defaults.zero_stage == 2) result.insert(result.begin() + 2, 2);
  return result;
}

}  // namespace

std::vector<int> divisors(std::int64_t number, std::int64_t limit) {
  std::vector<int> result;
  const std::int64_t last = std::min({number, limit, std::int64_t{1} << 20});
  for (std::int64_t candidate = 1; candidate <= last; ++candidate) {
    if (number % candidate == 0) result.push_back(static_cast<int>(candidate));
  }
  if (result.empty()) result.push_back(1);
  return result;
}

std::int64_t SearchSpace::size() const {
  // Not std::size_t, which has 32 bits in a browser.
  constexpr std::uint64_t largest = std::numeric_limits<std::int64_t>::max();
  std::uint64_t product = 1;
  for (const std::uint64_t values :
       {tensor_parallel.size(), pipeline_parallel.size(), context_parallel.size(),
        micro_batch_size.size(), schedules.size(), recompute.size(), sequence_parallel.size(),
        zero_stage.size(), zero_group.size(), attention.size(), norm.size(), precision.size(),
        gradient_dtype.size(), overlap_data_parallel.size(), overlap_tensor_parallel.size(),
        offload.size()}) {
    if (values == 0) return 0;
    product = product > largest / values ? largest : product * values;
  }
  return static_cast<std::int64_t>(product);
}

AttentionKernel default_attention(const Device& device, const FrameworkDefaults& defaults,
                                  Precision precision, std::int64_t head_dim) {
  for (const AttentionKernel kernel :
       {AttentionKernel::flash3, AttentionKernel::flash2, AttentionKernel::flash1}) {
    if (kernel <= defaults.attention && has_kernel(device, kernel) &&
        takes_precision(kernel, precision) && head_dim <= widest_head(device, kernel)) {
      return kernel;
    }
  }
  return std::min(defaults.attention, AttentionKernel::fused_softmax);
}

Precision default_precision(const Device& device, const FrameworkDefaults& defaults) {
  for (const Precision precision : {defaults.precision, Precision::bf16, Precision::fp16}) {
    if (device.supports(precision)) return precision;
  }
  return Precision::fp32;
}

Precision default_gradient_dtype(Precision precision, const FrameworkDefaults& defaults) {
  if (defaults.gradient_dtype == Precision::fp32) return Precision::fp32;
  return stored_as(precision);
}

SearchSpace default_space(const TrainingJob& job, const Cluster& cluster, std::int64_t devices,
                          const StackProfile& profile) {
  const FrameworkDefaults& defaults = profile.defaults;
  SearchSpace space;

  space.tensor_parallel = divisors(devices, cluster.devices_per_node);
  std::erase_if(space.tensor_parallel, [&](int tp) { return job.model.heads % tp != 0; });
  space.pipeline_parallel = divisors(devices, job.model.layers);
  space.context_parallel = context_degrees(job.seq_length, devices);
  // Only divisors of the global batch can work.
  space.micro_batch_size = divisors(job.global_batch_size, largest_micro_batch);
  space.schedules = schedule_choices(job.model.layers);
  space.recompute = {Recompute::none, Recompute::selective, Recompute::full};
  space.sequence_parallel = {false, true};
  space.zero_stage = zero_stages(defaults);

  space.norm = {defaults.norm};
  const Precision precision = default_precision(cluster.device, defaults);
  space.precision = {precision};
  space.attention = {default_attention(cluster.device, defaults, precision, job.model.head_dim)};
  space.gradient_dtype = {default_gradient_dtype(precision, defaults)};
  space.overlap_data_parallel = {defaults.overlap_data_parallel};
  space.overlap_tensor_parallel = {defaults.overlap_tensor_parallel};
  space.layer_balance = defaults.layer_balance;
  return space;
}

}  // namespace kumihimo

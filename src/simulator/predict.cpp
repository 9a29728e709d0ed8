#include "simulator/predict.hpp"

#include <cmath>

#include "base/normal.hpp"
#include "cost/extrapolation.hpp"
#include "cost/peak_memory.hpp"
#include "model/parameters.hpp"
#include "simulator/host_memory.hpp"

namespace kumihimo {
namespace {

/// Exposed communication of one rank in a step: in its passes, with the host too, and around the
/// optimizer.
double exposed_communication_s(const StepCost& step, int rank) {
  double per_micro_batch = 0;
  for (std::size_t stage = rank; stage < step.chunks.size(); stage += step.ranks.size()) {
    const ChunkCost& chunk = step.chunks[stage];
    for (const PassTime* pass : {&chunk.forward, &chunk.backward_input, &chunk.backward_weight}) {
      per_micro_batch += pass->tensor_comm + pass->context_comm + pass->pipeline_comm +
                         pass->data_comm + pass->host_link;
    }
  }
  return per_micro_batch * static_cast<double>(step.num_micro_batches) + step.ranks[rank].reduce_s +
         step.ranks[rank].gather_s;
}

}  // namespace

Prediction predict(const PieceCosts& pieces, const Schedule& schedule, const TrainingJob& job,
                   const ParallelLayout& layout, const Cluster& cluster,
                   const StackProfile& profile) {
  const StepCost step = step_cost(pieces, job, layout, cluster, profile);
  const SimulatedStep played = simulate(schedule, step);

  Prediction result;
  result.memory = peak_memory(step, held_bytes(step, layout), layout, profile);
  result.peak_memory_bytes = fullest(result.memory).total();
  if (layout.offload.any()) {
    std::vector<double> host_bytes;
    for (const MemoryUse& use : result.memory) host_bytes.push_back(use.host);
    result.host_bytes_of_node = fullest_node_host_bytes(host_bytes, layout, cluster);
  }
  result.step_s = played.step_s;
  result.bubble_fraction = played.bubble_fraction();
  double communication = 0;
  for (int rank = 0; rank < layout.pipeline_parallel; ++rank) {
    communication += exposed_communication_s(step, rank);
  }
  result.communication_fraction = communication / layout.pipeline_parallel / result.step_s;

  const double tokens =
      static_cast<double>(job.global_batch_size) * static_cast<double>(job.seq_length);
  const double devices = static_cast<double>(layout.devices());
  result.tokens_per_s_per_device = tokens / result.step_s / devices;
  const double peak = devices * cluster.device.peak(layout.precision) * result.step_s;
  const double flops = model_flops_per_token(job.model, job.seq_length, AttentionCount::full);
  result.mfu = flops * tokens / peak;
  result.mfu_causal =
      model_flops_per_token(job.model, job.seq_length, AttentionCount::causal) * tokens / peak;
  result.hfu =
      result.mfu * (1 + recomputed_flops_per_token(job.model, job.seq_length, layout.recompute,
                                                   profile.defaults.recompute_head) /
                            flops);

  result.fits_probability =
      normal_cdf(std::log(static_cast<double>(cluster.device.memory) / result.peak_memory_bytes) /
                 profile.memory_residual);
  result.error_band = step_time_error(
      profile,
      extrapolation(profile, {&job, layout.devices(), cluster.device.name, layout.precision}));
  return result;
}

Prediction predict(const TrainingJob& job, const ParallelLayout& layout, const Cluster& cluster,
                   const StackProfile& profile) {
  const PieceCosts pieces = piece_costs(job, layout, cluster, profile);
  const auto schedule = make_schedule(job, layout);
  return predict(pieces, *schedule, job, layout, cluster, profile);
}

}  // namespace kumihimo

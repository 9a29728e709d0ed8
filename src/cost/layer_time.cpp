#include "cost/layer_time.hpp"

#include <algorithm>
#include <cmath>

#include "cost/collective_time.hpp"

namespace kumihimo {

PassTime& PassTime::operator+=(const PassTime& other) {
  matmul += other.matmul;
  attention += other.attention;
  norm += other.norm;
  elementwise += other.elementwise;
  tensor_comm += other.tensor_comm;
  context_comm += other.context_comm;
  pipeline_comm += other.pipeline_comm;
  data_comm += other.data_comm;
  host_link += other.host_link;
  host += other.host;
  hidden += other.hidden;
  launches += other.launches;
  tensor_hops += other.tensor_hops;
  return *this;
}

PassTime PassTime::scaled(double factor) const {
  PassTime result = *this;
  for (double PassTime::*part :
       {&PassTime::matmul, &PassTime::attention, &PassTime::norm, &PassTime::elementwise,
        &PassTime::tensor_comm, &PassTime::context_comm, &PassTime::pipeline_comm,
        &PassTime::data_comm, &PassTime::host_link, &PassTime::host, &PassTime::hidden,
        &PassTime::launches, &PassTime::tensor_hops}) {
    result.*part *= factor;
  }
  return result;
}

void expose_launches(double launches, PassTime& pass) {
  const double device = pass.total() - pass.host;
  const double device4 = std::pow(device, 4), launches4 = std::pow(launches, 4);
  pass.launches = launches;
  pass.host = std::sqrt(std::sqrt(device4 + launches4)) - device;
}

namespace {

enum class Pass { forward, backward_input, backward_weight };

/// Turns counts into seconds for one cluster and profile.
class Clock {
 public:
  Clock(bool overlap_tensor_parallel, const LayerGroups& groups, const Cluster& cluster,
        const StackProfile& profile)
      : overlap_tensor_parallel_(overlap_tensor_parallel),
        groups_(groups),
        cluster_(cluster),
        profile_(profile) {}

  /// Adds the device time of one pass of `operation` to `time`, and the time of its launches.
  void add(const Operation& operation, Pass pass, PassTime& time) const {
    const Work& work = pass == Pass::forward          ? operation.forward
                       : pass == Pass::backward_input ? operation.backward_input
                                                      : operation.backward_weight;
    const Collective& collective = pass == Pass::forward ? operation.forward_collective
                                   : pass == Pass::backward_input
                                       ? operation.backward_collective
                                       : operation.backward_weight_collective;
    if (work.kernels > 0) {
      (time.*category(operation.kind)) += seconds(operation, work, pass);
      time.launches += work.kernels * profile_.launch_s;
    }
    if (collective.kind != CollectiveKind::none) {
      add_collective(collective, pass, time);
      time.launches += profile_.collective_launch_s;
    }
  }

 private:
  static double PassTime::*category(OperationKind kind) {
    switch (kind) {
      case OperationKind::matmul: return &PassTime::matmul;
      case OperationKind::attention: return &PassTime::attention;
      case OperationKind::norm: return &PassTime::norm;
      case OperationKind::elementwise:
      case OperationKind::loss:
      case OperationKind::collective: break;
    }
    return &PassTime::elementwise;
  }

  double achievable(Precision precision) const {
    const Device& device = cluster_.device;
    if (device.supports(precision)) return device.achievable(precision);
    if (precision == Precision::bf16) return device.achievable(Precision::fp16);
    if (precision == Precision::fp16) return device.achievable(Precision::bf16);
    return device.achievable(Precision::fp32);
  }

  double seconds(const Operation& operation, const Work& work, Pass pass) const {
    const double bandwidth = cluster_.device.memory_bandwidth;
    const double fixed = work.kernels * profile_.kernel_s;
    switch (operation.kind) {
      case OperationKind::matmul:
        // Operand traffic hides behind arithmetic as far as there is enough of it.
        return std::hypot(work.flops / (achievable(operation.precision) *
                                        profile_.matmul(operation.precision)),
                          profile_.matmul_traffic * work.bytes / bandwidth) +
               fixed;
      case OperationKind::attention: return attention_seconds(operation, work, pass) + fixed;
      case OperationKind::norm: {
        return work.bytes / (bandwidth * profile_.norm(operation.norm)) + fixed;
      }
      case OperationKind::loss: return work.bytes / (bandwidth * profile_.loss) + fixed;
      case OperationKind::elementwise:
      case OperationKind::collective:
        return work.bytes / (bandwidth * profile_.elementwise) + fixed;
    }
    return fixed;
  }

  double attention_seconds(const Operation& operation, const Work& work, Pass pass) const {
    const double share = profile_.attention(operation.attention) *
                         (pass == Pass::forward ? 1 : profile_.attention_backward);
    const double arithmetic = achievable(operation.precision);
    if (is_flash(operation.attention)) {
      // Blocks at the edge of a short sequence are half empty, and there are too few to fill the
      // device evenly (arXiv:2307.08691, figures 4 to 6).
      const double filled = operation.keys / (operation.keys + profile_.attention_half_keys);
      const bool on_warps = operation.attention != AttentionKernel::flash3;
      const double instructions = on_warps ? cluster_.device.warp_mma : 1;
      return work.flops / (arithmetic * instructions * share * filled);
    }
    return work.flops / (arithmetic * profile_.matmul(operation.precision)) +
           work.bytes / (cluster_.device.memory_bandwidth * share);
  }

  void add_collective(const Collective& collective, Pass pass, PassTime& time) const {
    const bool tensor = collective.axis == LayerAxis::tensor;
    const double all = collective_seconds(collective.kind, collective.bytes,
                                          tensor ? groups_.tensor : groups_.context,
                                          groups_.job_nodes, cluster_, profile_);
    if (!tensor) {
      // Ring attention sends the next block while it computes this one.
      const double hidden = std::min(all, profile_.tensor_parallel_overlap * time.attention);
      time.context_comm += all - hidden;
      time.hidden += hidden;
      return;
    }
    // The input that sequence parallelism gathers again arrives while its gradient is computed.
    const double in_any_case = pass == Pass::forward           ? 0
                               : pass == Pass::backward_weight ? 1
                                                               : profile_.tensor_backward_overlap;
    const double share = overlap_tensor_parallel_
                             ? std::max(profile_.tensor_parallel_overlap, in_any_case)
                             : in_any_case;
    time.tensor_comm += (1 - share) * all;
    time.hidden += share * all;
    time.tensor_hops += ring_steps(collective.kind, groups_.tensor);
  }

  bool overlap_tensor_parallel_;
  const LayerGroups& groups_;
  const Cluster& cluster_;
  const StackProfile& profile_;
};

}  // namespace

PieceCost piece_cost(const std::vector<Operation>& operations, Recompute recompute,
                     double input_bytes, bool overlap_tensor_parallel, const LayerGroups& groups,
                     const Cluster& cluster, const StackProfile& profile) {
  const Clock clock(overlap_tensor_parallel, groups, cluster, profile);
  PieceCost cost;
  PassTime again;
  double all_saved = 0, saved_outside_core = 0;
  for (const Operation& operation : operations) {
    clock.add(operation, Pass::forward, cost.forward);
    clock.add(operation, Pass::backward_input, cost.backward_input);
    clock.add(operation, Pass::backward_weight, cost.backward_weight);
    if (recompute == Recompute::full ||
        (recompute == Recompute::selective && operation.attention_core)) {
      clock.add(operation, Pass::forward, again);
    }
    cost.temporary_bytes = std::max(cost.temporary_bytes, operation.live_bytes);
    all_saved += operation.saved_bytes;
    cost.pending_bytes += operation.pending_bytes;
    if (recompute == Recompute::full && operation.kind == OperationKind::matmul) {
      cost.pending_bytes += operation.saved_bytes;  // its input, computed again
    }
    if (!operation.attention_core) saved_outside_core += operation.saved_bytes;
  }
  for (PassTime* pass : {&cost.forward, &cost.backward_input, &cost.backward_weight, &again}) {
    expose_launches(pass->launches, *pass);
  }
  cost.backward_input += again.scaled(profile.recompute_overhead);

  switch (recompute) {
    case Recompute::none: cost.kept_bytes = all_saved; break;
    case Recompute::selective:
      cost.kept_bytes = saved_outside_core;
      cost.working_bytes = all_saved - saved_outside_core;
      break;
    case Recompute::full:
      cost.kept_bytes = input_bytes;
      cost.working_bytes = all_saved;
      break;
  }
  return cost;
}

}  // namespace kumihimo

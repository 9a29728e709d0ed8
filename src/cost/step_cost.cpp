#include "cost/step_cost.hpp"

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "base/ceil_divide.hpp"
#include "cost/collective_time.hpp"
#include "layout/layer_split.hpp"
#include "layout/rank_mapping.hpp"
#include "model/sharded_parameters.hpp"
#include "schedule/schedule.hpp"

namespace kumihimo {
namespace {

/// The process groups that share a rank's gradients and states.
struct DataGroups {
  GroupPlacement all;       ///< data x context: reduces gradients
  GroupPlacement shard;     ///< shares the sharded states
  GroupPlacement replicas;  ///< holds copies of one shard
  int shard_ranks = 1;
  std::int64_t job_nodes = 1;
};

DataGroups data_groups(const ParallelLayout& layout, const Cluster& cluster, std::int64_t devices) {
  const auto place = [&](const RankGroup& group) {
    return place_group(cluster, group.stride, group.size, devices);
  };
  const RankGroup shard = zero_shard_group(layout);
  return {place(gradient_group(layout)), place(shard), place(zero_replica_group(layout)),
          static_cast<int>(shard.size), nodes_of(devices, cluster)};
}

/// Whether a virtual stage's messages to the next pass between nodes, on some of the pipelines that
/// lie side by side. The last stage sends none.
std::vector<bool> messages_between_nodes(const ParallelLayout& layout, const Cluster& cluster) {
  const std::int64_t side_by_side = stride(layout, Axis::pipeline);
  std::vector<bool> result(layout.virtual_stages(), false);
  for (int stage = 0; stage + 1 < layout.virtual_stages(); ++stage) {
    const int from = stage % layout.pipeline_parallel, to = (stage + 1) % layout.pipeline_parallel;
    result[stage] = crosses_nodes(cluster, std::min(from, to) * side_by_side, side_by_side,
                                  std::abs(to - from) * side_by_side);
  }
  return result;
}

/// Seconds of data-parallel communication for `parameters` of one rank.
struct DataCommunication {
  double reduce_s = 0;  ///< gradients
  double gather_s = 0;  ///< weights, once
};

DataCommunication data_communication(double parameters, const ParallelLayout& layout,
                                     const DataGroups& groups, const Cluster& cluster,
                                     const StackProfile& profile) {
  const double gradients = parameters * element_bytes(layout.gradient_dtype);
  const double weights = parameters * element_bytes(layout.precision);
  const auto seconds = [&](CollectiveKind kind, double bytes, const GroupPlacement& group) {
    return collective_seconds(kind, bytes, group, groups.job_nodes, cluster, profile);
  };
  if (layout.zero_stage == 0) {
    return {seconds(CollectiveKind::all_reduce, gradients, groups.all), 0};
  }
  return {seconds(CollectiveKind::reduce_scatter, gradients, groups.shard) +
              seconds(CollectiveKind::all_reduce, gradients / groups.shard_ranks, groups.replicas),
          seconds(CollectiveKind::all_gather, weights, groups.shard)};
}

/// Parameters of one rank, and how many of them it owns where states are sharded. Each piece that
/// is gathered and reduced on its own (a layer, the table, the positions, the final norm, the head)
/// is padded to a multiple of the ranks that share it, as the trainer and FSDP do.
struct RankParameters {
  std::int64_t whole = 0;
  std::int64_t shard = 0;
  std::int64_t layers = 0;

  std::int64_t outside_layers(std::int64_t per_layer) const { return whole - layers * per_layer; }

  void add(std::int64_t elements, std::int64_t pieces, int shard_ranks) {
    whole += pieces * elements;
    shard += pieces * ceil_divide(elements, shard_ranks);
  }
};

/// Adds to a pass, as `kind`, the part of `communication` that does not hide behind it.
void expose(double communication, double share, PassTime& pass,
            double PassTime::*kind = &PassTime::data_comm) {
  const double hidden = std::min(communication, share * pass.total());
  pass.*kind += communication - hidden;
  pass.hidden += hidden;
}

/// A pipeline between nodes keeps the host busy: the ring steps of tensor-parallel collectives then
/// take it longer.
PieceCost beside_messages(PieceCost piece, const StackProfile& profile) {
  for (PassTime* pass : {&piece.forward, &piece.backward_input, &piece.backward_weight}) {
    if (pass->tensor_hops > 0) {
      expose_launches(pass->launches + pass->tensor_hops * profile.busy_hop_s, *pass);
    }
  }
  return piece;
}

/// One pass through all layers of a rank: by its end everything that the last step has updated has
/// been used.
double first_forward_s(const StepCost& step, int rank) {
  double seconds = 0;
  for (std::size_t stage = rank; stage < step.chunks.size(); stage += step.ranks.size()) {
    seconds += step.chunks[stage].forward.total();
  }
  return seconds;
}

void finish(ChunkCost& chunk) {
  chunk.forward_s = chunk.forward.total();
  chunk.backward_input_s = chunk.backward_input.total();
  chunk.backward_weight_s = chunk.backward_weight.total();
}

}  // namespace

PieceCosts piece_costs(const TrainingJob& job, const ParallelLayout& layout, const Cluster& cluster,
                       const StackProfile& profile) {
  const LayerShard shard{.micro_batch_size = layout.micro_batch_size,
                         .seq_length = job.seq_length,
                         .vocab = padded_vocab(job, layout.tensor_parallel),
                         .tensor_parallel = layout.tensor_parallel,
                         .context_parallel = layout.context_parallel,
                         .sequence_parallel = layout.sequence_parallel,
                         .vocab_parallel_loss = profile.defaults.vocab_parallel_loss,
                         .attention_dropout_buffers = profile.defaults.attention_dropout_buffers,
                         .attention = layout.attention,
                         .norm = layout.norm,
                         .precision = layout.precision};
  const LayerGroups groups{placement(layout, Axis::tensor, cluster),
                           placement(layout, Axis::context, cluster),
                           nodes_of(layout.devices(), cluster)};
  const auto piece = [&](const std::vector<Operation>& operations, Recompute recompute) {
    return piece_cost(operations, recompute, layer_input_bytes(job.model, shard),
                      layout.overlap_tensor_parallel, groups, cluster, profile);
  };
  return {piece(layer_operations(job.model, shard), layout.recompute),
          piece(embedding_operations(job.model, shard), Recompute::none),
          piece(head_operations(job.model, shard),
                profile.defaults.recompute_head && layout.recompute == Recompute::full
                    ? Recompute::full
                    : Recompute::none),
          boundary_bytes(job.model, shard, profile.defaults.scatter_gather_boundary)};
}

StepCost step_cost(const PieceCosts& alone, const TrainingJob& job, const ParallelLayout& layout,
                   const Cluster& cluster, const StackProfile& profile, std::int64_t devices) {
  const int stages = layout.virtual_stages();
  const int ranks = layout.pipeline_parallel;
  const std::vector<int> layers = stage_layers(layout, job);
  const std::int64_t vocab = padded_vocab(job, layout.tensor_parallel);
  const std::int64_t per_layer = layer_parameters(job.model, layout.tensor_parallel);
  const DataGroups groups = data_groups(layout, cluster, devices);
  const int data_ranks = layout.data_parallel * layout.context_parallel;
  const double hiding = layout.overlap_data_parallel ? profile.data_parallel_overlap : 0;
  const std::vector<bool> between_nodes = messages_between_nodes(layout, cluster);
  const bool some_between_nodes = std::ranges::find(between_nodes, true) != between_nodes.end();
  const double stalled = profile.congested_message_s * congestion(groups.job_nodes, profile);
  std::optional<PieceCosts> beside;
  if (some_between_nodes && layout.tensor_parallel > 1) {
    beside = {beside_messages(alone.layer, profile), beside_messages(alone.embedding, profile),
              beside_messages(alone.head, profile), alone.boundary_bytes};
  }

  StepCost step;
  step.num_micro_batches = num_micro_batches(job, layout);
  step.fixed_s = profile.step_s;
  step.chunks.resize(stages);
  step.ranks.resize(ranks);

  std::vector<RankParameters> rank_parameters(ranks);
  const double host_bandwidth = cluster.host_link_bandwidth * profile.host_link;

  for (int stage = 0; stage < stages; ++stage) {
    ChunkCost& chunk = step.chunks[stage];
    const bool reaches_other_nodes =
        between_nodes[stage] || (stage > 0 && between_nodes[stage - 1]);
    const PieceCosts& pieces = beside && reaches_other_nodes ? *beside : alone;
    const double count = layers[stage];
    chunk.forward += pieces.layer.forward.scaled(count);
    chunk.backward_input += pieces.layer.backward_input.scaled(count);
    chunk.backward_weight += pieces.layer.backward_weight.scaled(count);
    chunk.kept_bytes = pieces.layer.kept_bytes * count;
    chunk.layer_kept_bytes = count > 0 ? pieces.layer.kept_bytes : 0;
    chunk.pending_bytes = pieces.layer.pending_bytes * count;
    chunk.working_bytes = count > 0 ? profile.activation_factor * pieces.layer.working_bytes +
                                          profile.buffer_layers * pieces.layer.temporary_bytes
                                    : 0;
    RankParameters stage_parameters;
    stage_parameters.add(per_layer, layers[stage], groups.shard_ranks);

    const bool first = stage == 0;
    const bool last = stage == stages - 1;
    const auto add = [&chunk](const PieceCost& piece) {
      chunk.forward += piece.forward;
      chunk.backward_input += piece.backward_input;
      chunk.backward_weight += piece.backward_weight;
      chunk.kept_bytes += piece.kept_bytes;
      chunk.working_bytes = std::max(chunk.working_bytes, piece.working_bytes);
    };
    if (first) {
      add(pieces.embedding);
      const std::int64_t table = vocab / layout.tensor_parallel * job.model.hidden;
      stage_parameters.add(table, 1, groups.shard_ranks);
      stage_parameters.add(embedding_parameters(job.model, vocab, layout.tensor_parallel) - table,
                           1, groups.shard_ranks);
    }
    if (last) {
      // The logits are the head's own: they have a factor of their own and live in one micro-batch.
      PieceCost head = pieces.head;
      head.working_bytes = profile.logits_factor * std::max(head.kept_bytes, head.working_bytes);
      head.kept_bytes = 0;
      add(head);
      const auto head_and_norm = [&](bool shares_table) {
        return head_parameters(job.model, vocab, layout.tensor_parallel, shares_table);
      };
      const std::int64_t norm = head_and_norm(true);
      stage_parameters.add(norm, 1, groups.shard_ranks);
      stage_parameters.add(head_and_norm(job.model.tied_embeddings && ranks == 1) - norm, 1,
                           groups.shard_ranks);
    }
    const std::int64_t parameters = stage_parameters.whole;
    if (ranks > 1) {
      // A forward pass that is played again starts with an idle device, like the first.
      const double passes = layout.recompute == Recompute::full ? 2 : 1;
      chunk.forward.host += profile.micro_batch_s;
      chunk.backward_input.host += passes * profile.micro_batch_s;
    }
    if (!last) {
      chunk.message_s = ranks == 1 ? 0
                                   : message_seconds(pieces.boundary_bytes, between_nodes[stage],
                                                     cluster, profile);
      const double blocking = (1 - profile.point_to_point_overlap) * chunk.message_s;
      const double held_up = blocking + (between_nodes[stage] ? stalled : 0);
      for (const int end : {stage, stage + 1}) {
        step.chunks[end].forward.pipeline_comm += held_up;
        step.chunks[end].backward_input.pipeline_comm += held_up;
      }
      chunk.message_s -= blocking;
    }

    if (data_ranks > 1 && layout.zero_stage >= 2) {
      // Sharded gradients cannot accumulate whole: every micro-batch reduces its own. Sharded
      // weights are gathered for forward and again for backward.
      const DataCommunication traffic =
          data_communication(static_cast<double>(parameters), layout, groups, cluster, profile);
      if (layout.zero_stage == 3) expose(traffic.gather_s, hiding, chunk.forward);
      expose((layout.zero_stage == 3 ? traffic.gather_s : 0) + traffic.reduce_s, hiding,
             chunk.backward_input);
    }
    if (host_bandwidth > 0) {
      const double activations_s =
          layout.offload.activations ? chunk.kept_bytes / host_bandwidth : 0;
      const double weights_s =
          layout.offload.weights
              ? static_cast<double>(parameters) * element_bytes(layout.precision) /
                    (layout.zero_stage == 3 ? groups.shard_ranks : 1) / host_bandwidth
              : 0;
      const auto copy = [&](double seconds, PassTime& pass) {
        expose(seconds, profile.data_parallel_overlap, pass, &PassTime::host_link);
      };
      // The link carries as much in each direction at once: weights come as activations leave.
      copy(std::max(activations_s, weights_s), chunk.forward);
      copy(activations_s + weights_s, chunk.backward_input);
      // By the time that a split backward computes weight gradients, the layer has left again.
      if (layout.schedule == ScheduleKind::zb_h1) copy(activations_s, chunk.backward_weight);
    }
    finish(chunk);
    rank_parameters[stage % ranks].whole += stage_parameters.whole;
    rank_parameters[stage % ranks].shard += stage_parameters.shard;
    rank_parameters[stage % ranks].layers += layers[stage];
  }

  for (int rank = 0; rank < ranks; ++rank) {
    RankCost& cost = step.ranks[rank];
    const int zero = layout.zero_stage;
    const std::int64_t shard = rank_parameters[rank].shard;
    const std::int64_t parameters =
        zero == 0 ? rank_parameters[rank].whole : shard * groups.shard_ranks;
    const bool master = element_bytes(layout.precision) < 4;
    const std::int64_t state_bytes = master ? 12 : 8;
    const std::int64_t weight_bytes = element_bytes(layout.precision);
    const std::int64_t gradient_bytes = element_bytes(layout.gradient_dtype);

    // Under ZeRO-3 every pass reduces and gathers for itself.
    if (data_ranks > 1 && zero <= 2) {
      const DataCommunication traffic =
          data_communication(static_cast<double>(parameters), layout, groups, cluster, profile);
      if (zero <= 1) {
        double last_backward = 0;
        for (int stage = rank; stage < stages; stage += ranks) {
          const ChunkCost& chunk = step.chunks[stage];
          last_backward += chunk.backward_input.total() + chunk.backward_weight.total();
        }
        cost.reduce_hidden_s = std::min(traffic.reduce_s, hiding * last_backward);
        cost.reduce_s = traffic.reduce_s - cost.reduce_hidden_s;
      }
      if (zero >= 1) {
        cost.gather_s = traffic.gather_s;
        if (profile.defaults.weight_gathering_behind_forward) {
          cost.gather_hidden_s = std::min(cost.gather_s, hiding * first_forward_s(step, rank));
          cost.gather_s -= cost.gather_hidden_s;
        }
      }
    }
    const double updated = static_cast<double>(zero >= 1 ? shard : parameters);
    const double own_gradients = static_cast<double>(zero >= 2 ? shard : parameters);
    // Gradients are cleared, measured for clipping and read; states are read and written. So are
    // weights that have no master copy; those that have one are written.
    const double bytes =
        3.0 * static_cast<double>(gradient_bytes) * own_gradients +
        static_cast<double>(2 * state_bytes + (master ? 1 : 2) * weight_bytes) * updated;
    cost.optimizer_s = bytes / (cluster.device.memory_bandwidth * profile.optimizer);
    if (layout.offload.optimizer && host_bandwidth > 0) {
      double copies_s = static_cast<double>(state_bytes) * updated / host_bandwidth;
      if (profile.defaults.offloaded_update_behind_forward) {
        copies_s -= first_forward_s(step, rank);
      }
      cost.optimizer_s += std::max(0.0, copies_s);
    }

    MemoryUse& states = cost.states;
    states.weights = weight_bytes * (zero == 3 ? shard : parameters);
    states.gradients = gradient_bytes * (zero >= 2 ? shard : parameters);
    states.optimizer = state_bytes * (zero >= 1 ? shard : parameters);
    // Whole on the device beside what it keeps: the layer in use and the one that is on its way,
    // and the table and the head, which are used at the ends of a pass.
    const std::int64_t whole_layers = rank_parameters[rank].layers > 0 ? 2 : 0;
    const auto whole = static_cast<double>(whole_layers * per_layer +
                                           rank_parameters[rank].outside_layers(per_layer));
    const bool shards = groups.shard_ranks > 1;
    if ((zero == 3 && shards) || layout.offload.weights) {
      states.communication += static_cast<double>(weight_bytes) * whole;
    }
    if (zero >= 2 && shards) states.communication += static_cast<double>(gradient_bytes) * whole;
    if (layout.offload.optimizer) {
      states.host += static_cast<double>(states.optimizer);
      states.optimizer = state_bytes * offload_room(zero >= 1 ? shard : parameters);
    }
    if (layout.offload.weights) {
      states.host += static_cast<double>(states.weights);
      states.weights = 0;
    }
  }
  return step;
}

std::vector<MemoryUse> peak_memory(const StepCost& step, const std::vector<int>& in_flight,
                                   const std::vector<int>& waiting, const ParallelLayout& layout,
                                   const StackProfile& profile) {
  const int ranks = static_cast<int>(step.ranks.size());
  std::vector<MemoryUse> result;
  result.reserve(ranks);
  for (int rank = 0; rank < ranks; ++rank) {
    MemoryUse use = step.ranks[rank].states;
    double kept = 0;
    double kept_of_layer = 0;
    double pending = 0;
    double chunks = 0;
    for (std::size_t stage = rank; stage < step.chunks.size(); stage += ranks) {
      const ChunkCost& chunk = step.chunks[stage];
      kept += chunk.kept_bytes;
      kept_of_layer = std::max(kept_of_layer, chunk.layer_kept_bytes);
      pending += chunk.pending_bytes;
      chunks += 1;
      use.workspace = std::max(use.workspace, chunk.working_bytes);
    }
    // Chunks of a rank differ by a layer at most: a chunk in flight holds their mean.
    double in_flight_bytes = profile.activation_factor * kept * in_flight[rank] / chunks;
    if (layout.offload.activations) {
      use.host += kept * in_flight[rank] / chunks;  // the tensors alone
      // The layer in use and the one that is being copied.
      in_flight_bytes = std::min(in_flight_bytes, 2 * profile.activation_factor * kept_of_layer);
    }
    use.activations =
        in_flight_bytes + profile.activation_factor * pending * waiting[rank] / chunks;
    const int communicators = (layout.tensor_parallel > 1) + (layout.pipeline_parallel > 1) +
                              (layout.data_parallel > 1) + (layout.context_parallel > 1);
    use.context = (profile.context_gib + communicators * profile.communicator_gib) * GiB;
    // States are allocated once; what comes and goes leaves holes.
    use.context += profile.allocator_overhead * (use.activations + use.workspace);
    result.push_back(use);
  }
  return result;
}

}  // namespace kumihimo

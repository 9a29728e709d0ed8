#include "cost/step_cost.hpp"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <utility>

#include "cost/collective_time.hpp"
#include "cost/rank_states.hpp"
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

/// Adds to a pass, as `kind`, the part of `communication` that does not hide behind the share of
/// `beside_s` that may.
void expose(double communication, double beside_s, PassTime& pass,
            double PassTime::*kind = &PassTime::data_comm) {
  const double hidden = std::min(communication, beside_s);
  pass.*kind += communication - hidden;
  pass.hidden += hidden;
}

/// Both halves of a backward that is not split.
double backward_s(const ChunkCost& chunk) {
  return chunk.backward_input.total() + chunk.backward_weight.total();
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

void add_piece(const PieceCost& piece, ChunkCost& chunk) {
  chunk.forward += piece.forward;
  chunk.backward_input += piece.backward_input;
  chunk.backward_weight += piece.backward_weight;
  chunk.kept_bytes += piece.kept_bytes;
  chunk.working_bytes = std::max(chunk.working_bytes, piece.working_bytes);
}

void finish(ChunkCost& chunk) {
  chunk.forward_s = chunk.forward.total();
  chunk.backward_input_s = chunk.backward_input.total();
  chunk.backward_weight_s = chunk.backward_weight.total();
}

/// Makes a step's costs, stage by stage and then rank by rank.
class StepBuilder {
 public:
  StepBuilder(const PieceCosts& alone, const TrainingJob& job, const ParallelLayout& layout,
              const Cluster& cluster, const StackProfile& profile, std::int64_t devices)
      : alone_(alone),
        job_(job),
        layout_(layout),
        cluster_(cluster),
        profile_(profile),
        groups_(data_groups(layout, cluster, devices)),
        layers_(stage_layers(layout, job)),
        between_nodes_(messages_between_nodes(layout, cluster)) {
    const bool some = std::ranges::find(between_nodes_, true) != between_nodes_.end();
    if (some && layout.tensor_parallel > 1) {
      beside_ = {beside_messages(alone.layer, profile), beside_messages(alone.embedding, profile),
                 beside_messages(alone.head, profile), alone.boundary_bytes};
    }
  }

  StepCost build() {
    step_.num_micro_batches = num_micro_batches(job_, layout_);
    step_.fixed_s = profile_.step_s;
    step_.chunks.resize(layers_.size());
    step_.ranks.resize(ranks_);
    std::vector<RankParameters> of_rank(ranks_);
    for (int stage = 0; stage < std::ssize(layers_); ++stage) {
      const RankParameters parameters = stage_parameters(job_, layout_, layers_[stage], stage == 0,
                                                         is_last(stage), groups_.shard_ranks);
      add_pieces(stage);
      add_messages(stage);
      ChunkCost& chunk = step_.chunks[stage];
      add_sharded_traffic(parameters, chunk);
      add_host_copies(parameters, chunk);
      finish(chunk);
      of_rank[stage % ranks_] += parameters;
    }
    for (int rank = 0; rank < ranks_; ++rank) {
      reduce_and_gather(rank, of_rank[rank]);
      if (rank == 0 || rank == ranks_ - 1) sum_tied_table(step_.ranks[rank]);
      update(rank, of_rank[rank]);
      step_.ranks[rank].states = rank_states(of_rank[rank], job_, layout_, groups_.shard_ranks);
    }
    return std::move(step_);
  }

 private:
  bool is_last(int stage) const { return stage + 1 == std::ssize(layers_); }

  const PieceCosts& pieces_of(int stage) const {
    const bool reaches_other_nodes =
        between_nodes_[stage] || (stage > 0 && between_nodes_[stage - 1]);
    return beside_ && reaches_other_nodes ? *beside_ : alone_;
  }

  /// Layers, and what the ends of the pipeline have beside them.
  void add_pieces(int stage) {
    const PieceCosts& pieces = pieces_of(stage);
    ChunkCost& chunk = step_.chunks[stage];
    const double count = layers_[stage];
    chunk.forward += pieces.layer.forward.scaled(count);
    chunk.backward_input += pieces.layer.backward_input.scaled(count);
    chunk.backward_weight += pieces.layer.backward_weight.scaled(count);
    chunk.kept_bytes = pieces.layer.kept_bytes * count;
    chunk.pending_bytes = pieces.layer.pending_bytes * count;
    if (count > 0) {
      chunk.layer_kept_bytes = pieces.layer.kept_bytes;
      chunk.working_bytes = profile_.activation_factor * pieces.layer.working_bytes +
                            profile_.buffer_layers * pieces.layer.temporary_bytes;
    }
    if (stage == 0) add_piece(pieces.embedding, chunk);
    if (is_last(stage)) {
      // The logits are the head's own: they have a factor of their own and live in one micro-batch.
      PieceCost head = pieces.head;
      head.working_bytes = profile_.logits_factor * std::max(head.kept_bytes, head.working_bytes);
      head.kept_bytes = 0;
      add_piece(head, chunk);
    }
    if (ranks_ > 1) {
      // A forward pass that is played again starts with an idle device, like the first.
      const double passes = layout_.recompute == Recompute::full ? 2 : 1;
      chunk.forward.host += profile_.micro_batch_s;
      chunk.backward_input.host += passes * profile_.micro_batch_s;
    }
  }

  /// To the next stage, and back from it.
  void add_messages(int stage) {
    if (ranks_ == 1 || is_last(stage)) return;
    const bool between = between_nodes_[stage];
    const double stalled = profile_.congested_message_s * congestion(groups_.job_nodes, profile_);
    const double message_s = message_seconds(alone_.boundary_bytes, between, cluster_, profile_);
    const double blocking = (1 - profile_.point_to_point_overlap) * message_s;
    const double held_up = blocking + (between ? stalled : 0);
    for (const int end : {stage, stage + 1}) {
      step_.chunks[end].forward.pipeline_comm += held_up;
      step_.chunks[end].backward_input.pipeline_comm += held_up;
    }
    step_.chunks[stage].message_s = message_s - blocking;
  }

  /// Sharded gradients cannot accumulate whole: every micro-batch reduces its own. Sharded weights
  /// are gathered for forward and again for backward.
  void add_sharded_traffic(const RankParameters& parameters, ChunkCost& chunk) const {
    if (data_ranks_ == 1 || layout_.zero_stage < 2) return;
    const DataCommunication traffic = communication(parameters.whole);
    const double gather_s = layout_.zero_stage == 3 ? traffic.gather_s : 0;
    expose(gather_s, hiding_ * chunk.forward.total(), chunk.forward);
    if (splits_backward_) {
      expose(gather_s, hiding_ * chunk.backward_input.total(), chunk.backward_input);
      expose(traffic.reduce_s, hiding_ * chunk.backward_weight.total(), chunk.backward_weight);
    } else {
      expose(gather_s + traffic.reduce_s, hiding_ * backward_s(chunk), chunk.backward_input);
    }
  }

  /// Of offloaded activations and weights.
  void add_host_copies(const RankParameters& parameters, ChunkCost& chunk) const {
    if (host_bandwidth_ <= 0) return;
    const double activations_s =
        layout_.offload.activations ? chunk.kept_bytes / host_bandwidth_ : 0;
    const int shares = layout_.zero_stage == 3 ? groups_.shard_ranks : 1;
    const double weights_s =
        layout_.offload.weights
            ? static_cast<double>(parameters.whole * bytes_.weights) / shares / host_bandwidth_
            : 0;
    const auto copy = [&](double seconds, double beside_s, PassTime& pass) {
      expose(seconds, profile_.data_parallel_overlap * beside_s, pass, &PassTime::host_link);
    };
    // The link carries as much in each direction at once: weights come as activations leave.
    copy(std::max(activations_s, weights_s), chunk.forward.total(), chunk.forward);
    if (splits_backward_) {
      copy(activations_s + weights_s, chunk.backward_input.total(), chunk.backward_input);
      // By the time that weight gradients are computed, the layer has left again.
      copy(activations_s, chunk.backward_weight.total(), chunk.backward_weight);
    } else {
      copy(activations_s + weights_s, backward_s(chunk), chunk.backward_input);
    }
  }

  /// Once per step. Under ZeRO-3 every pass reduces and gathers for itself.
  void reduce_and_gather(int rank, const RankParameters& parameters) {
    const int zero = layout_.zero_stage;
    if (data_ranks_ == 1 || zero == 3) return;
    RankCost& cost = step_.ranks[rank];
    const DataCommunication traffic =
        communication(owned_parameters(parameters, layout_, groups_.shard_ranks).weights);
    if (zero <= 1) {
      cost.reduce_hidden_s = std::min(traffic.reduce_s, hiding_ * last_backward_s(rank));
      cost.reduce_s = traffic.reduce_s - cost.reduce_hidden_s;
    }
    if (zero >= 1) {
      cost.gather_s = traffic.gather_s;
      if (profile_.defaults.weight_gathering_behind_forward) {
        cost.gather_hidden_s = std::min(cost.gather_s, hiding_ * first_forward_s(rank));
        cost.gather_s -= cost.gather_hidden_s;
      }
    }
  }

  /// First and last stage each hold a tied table with a part of its gradient; a shard of it where
  /// the states are sharded.
  void sum_tied_table(RankCost& cost) const {
    if (ranks_ == 1 || !job_.model.tied_embeddings) return;
    const std::int64_t table = table_parameters(
        job_.model, padded_vocab(job_, layout_.tensor_parallel), layout_.tensor_parallel);
    const int shares = layout_.zero_stage >= 1 ? groups_.shard_ranks : 1;
    const std::int64_t side_by_side = stride(layout_, Axis::pipeline);
    const bool apart = crosses_nodes(cluster_, 0, side_by_side, (ranks_ - 1) * side_by_side);
    const GroupPlacement ends = apart ? GroupPlacement{2, 1, 2} : GroupPlacement{2, 2, 1};
    cost.reduce_s += collective_seconds(CollectiveKind::all_reduce,
                                        static_cast<double>(table * bytes_.gradients) / shares,
                                        ends, groups_.job_nodes, cluster_, profile_);
  }

  void update(int rank, const RankParameters& parameters) {
    const OwnedParameters owned = owned_parameters(parameters, layout_, groups_.shard_ranks);
    const auto updated = static_cast<double>(owned.optimizer);
    // Gradients are cleared, measured for clipping and read; states are read and written. So are
    // weights that have no master copy; those that have one are written.
    const double moved =
        static_cast<double>(3 * bytes_.gradients) * static_cast<double>(owned.gradients) +
        static_cast<double>(2 * bytes_.optimizer + (bytes_.master ? 1 : 2) * bytes_.weights) *
            updated;
    RankCost& cost = step_.ranks[rank];
    cost.optimizer_s = moved / (cluster_.device.memory_bandwidth * profile_.optimizer);
    if (layout_.offload.optimizer && host_bandwidth_ > 0) {
      double copies_s = static_cast<double>(bytes_.optimizer) * updated / host_bandwidth_;
      if (profile_.defaults.offloaded_update_behind_forward) copies_s -= first_forward_s(rank);
      cost.optimizer_s += std::max(0.0, copies_s);
    }
  }

  DataCommunication communication(std::int64_t parameters) const {
    return data_communication(static_cast<double>(parameters), layout_, groups_, cluster_,
                              profile_);
  }

  /// One pass through all layers of a rank: by its end everything that the last step has updated
  /// has been used.
  double first_forward_s(int rank) const {
    return over_chunks(rank, [](const ChunkCost& chunk) { return chunk.forward.total(); });
  }

  double last_backward_s(int rank) const { return over_chunks(rank, backward_s); }

  /// Sum of the rank's chunks.
  template <class Seconds>
  double over_chunks(int rank, Seconds seconds_of) const {
    double seconds = 0;
    for (std::size_t stage = rank; stage < step_.chunks.size(); stage += ranks_) {
      seconds += seconds_of(step_.chunks[stage]);
    }
    return seconds;
  }

  const PieceCosts& alone_;
  const TrainingJob& job_;
  const ParallelLayout& layout_;
  const Cluster& cluster_;
  const StackProfile& profile_;
  const DataGroups groups_;
  const std::vector<int> layers_;  ///< by virtual stage
  const std::vector<bool> between_nodes_;
  const int ranks_ = layout_.pipeline_parallel;
  const int data_ranks_ = layout_.data_parallel * layout_.context_parallel;
  const bool splits_backward_ = layout_.schedule == ScheduleKind::zb_h1;
  const double hiding_ = layout_.overlap_data_parallel ? profile_.data_parallel_overlap : 0;
  const double host_bandwidth_ = cluster_.host_link_bandwidth * profile_.host_link;
  const StateBytes bytes_ = state_bytes(layout_);
  std::optional<PieceCosts> beside_;  ///< pieces of stages that send to other nodes
  StepCost step_;
};

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
  return StepBuilder(alone, job, layout, cluster, profile, devices).build();
}

}  // namespace kumihimo

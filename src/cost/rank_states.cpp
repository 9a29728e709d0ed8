#include "cost/rank_states.hpp"

#include "base/ceil_divide.hpp"
#include "layout/layer_split.hpp"
#include "model/sharded_parameters.hpp"

namespace kumihimo {

RankParameters& RankParameters::operator+=(const RankParameters& other) {
  whole += other.whole;
  shard += other.shard;
  outside_layers += other.outside_layers;
  layers += other.layers;
  return *this;
}

RankParameters stage_parameters(const TrainingJob& job, const ParallelLayout& layout,
                                std::int64_t layers, bool first, bool last, int shard_ranks) {
  const int tp = layout.tensor_parallel;
  const std::int64_t vocab = padded_vocab(job, tp);
  const std::int64_t per_layer = layer_parameters(job.model, tp);
  RankParameters stage{.whole = layers * per_layer,
                       .shard = layers * ceil_divide(per_layer, shard_ranks),
                       .layers = layers};
  const auto add = [&](std::int64_t elements) {
    stage.whole += elements;
    stage.shard += ceil_divide(elements, shard_ranks);
    stage.outside_layers += elements;
  };
  if (first) {
    const std::int64_t table = table_parameters(job.model, vocab, tp);
    add(table);
    add(embedding_parameters(job.model, vocab, tp) - table);  // learned positions
  }
  if (last) {
    const bool shares_table = job.model.tied_embeddings && layout.pipeline_parallel == 1;
    const std::int64_t norm = head_parameters(job.model, vocab, tp, true);
    add(norm);
    add(head_parameters(job.model, vocab, tp, shares_table) - norm);
  }
  return stage;
}

StateBytes state_bytes(const ParallelLayout& layout) {
  const std::int64_t weights = element_bytes(layout.precision);
  const bool master = weights < 4;
  return {weights, element_bytes(layout.gradient_dtype), master ? 12 : 8, master};
}

OwnedParameters owned_parameters(const RankParameters& rank, const ParallelLayout& layout,
                                 int shard_ranks) {
  const int zero = layout.zero_stage;
  const std::int64_t whole = zero == 0 ? rank.whole : rank.shard * shard_ranks;
  return {zero == 3 ? rank.shard : whole, zero >= 2 ? rank.shard : whole,
          zero >= 1 ? rank.shard : whole};
}

MemoryUse rank_states(const RankParameters& rank, const TrainingJob& job,
                      const ParallelLayout& layout, int shard_ranks) {
  const StateBytes bytes = state_bytes(layout);
  const OwnedParameters owned = owned_parameters(rank, layout, shard_ranks);
  MemoryUse states;
  states.weights = bytes.weights * owned.weights;
  states.gradients = bytes.gradients * owned.gradients;
  states.optimizer = bytes.optimizer * owned.optimizer;

  // Whole on the device beside what it keeps: the layer in use and the one that is on its way, and
  // the table and the head, which are used at the ends of a pass.
  const std::int64_t layers_at_once = rank.layers > 0 ? 2 : 0;
  const auto whole = static_cast<double>(
      layers_at_once * layer_parameters(job.model, layout.tensor_parallel) + rank.outside_layers);
  const bool shards = shard_ranks > 1;
  if ((layout.zero_stage == 3 && shards) || layout.offload.weights) {
    states.communication += static_cast<double>(bytes.weights) * whole;
  }
  if (layout.zero_stage >= 2 && shards) {
    states.communication += static_cast<double>(bytes.gradients) * whole;
  }
  if (layout.offload.optimizer) {
    states.host += static_cast<double>(states.optimizer);
    states.optimizer = bytes.optimizer * offload_room(owned.optimizer);
  }
  if (layout.offload.weights) {
    states.host += static_cast<double>(states.weights);
    states.weights = 0;
  }
  return states;
}

}  // namespace kumihimo

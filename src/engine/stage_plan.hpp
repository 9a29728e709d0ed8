#pragma once

#include <vector>

#include "engine/layer_activations.hpp"
#include "engine/parameter_units.hpp"
#include "schedule/schedule.hpp"

namespace kumihimo {

/// A model chunk of one pipeline rank: which units it computes, as indices; -1 where it has none.
struct Chunk {
  int virtual_stage = 0;
  bool first = false;  ///< of the model: embeds tokens
  bool last = false;   ///< of the model: computes the loss
  int table = -1;
  int positions = -1;
  std::vector<int> layers;
  int final_norm = -1;
  int head = -1;  ///< the table's unit where it is tied and on the same rank
};

/// What a rank's share of a schedule needs, known before it is played.
struct StagePlan {
  std::vector<Chunk> chunks;
  std::vector<Action> actions;
  std::vector<int> use_order;      ///< of units' weights in a step
  std::vector<int> gradient_uses;  ///< by unit: how often a step finishes its gradients
  bool split_backward = false;
  int layers_in_flight = 0;   ///< the most layers that hold activations at once
  int layers_pending = 0;     ///< the most layers that wait for their weight pass at once
  int inputs_in_flight = 0;   ///< the most micro-batches whose tokens are held
  int losses_in_flight = 0;   ///< the most micro-batches between their loss and its backward pass
  int forward_messages = 0;   ///< the most activations that may wait for the next stage at once
  int backward_messages = 0;  ///< the most gradients that may wait for the previous stage at once
};

StagePlan plan_stages(const Schedule& schedule, int pipeline_rank,
                      const std::vector<ParameterUnit>& units);

}  // namespace kumihimo

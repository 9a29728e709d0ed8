#pragma once

#include "cost/step_cost.hpp"
#include "schedule/schedule.hpp"
#include "simulator/simulate.hpp"

namespace kumihimo::testing_example {

inline PassTime pass(double matmul, double tensor_comm = 0) {
  PassTime time;
  time.matmul = matmul;
  time.tensor_comm = tensor_comm;
  return time;
}

/// Every virtual stage: 1 s forward (0.25 s of it communication), 1 s for each half of backward.
inline StepCost uniform_cost(int ranks, int chunks_per_rank, int micro_batches) {
  StepCost cost;
  cost.num_micro_batches = micro_batches;
  cost.ranks.resize(ranks);
  cost.chunks.resize(ranks * chunks_per_rank);
  for (ChunkCost& chunk : cost.chunks) {
    chunk.forward = pass(0.75, 0.25);
    chunk.backward_input = chunk.backward_weight = pass(1);
    chunk.forward_s = chunk.backward_input_s = chunk.backward_weight_s = 1;
  }
  return cost;
}

inline SimulatedStep play(const Schedule& schedule, const StepCost& cost) {
  return simulate(schedule, cost, Keep::spans);
}

}  // namespace kumihimo::testing_example

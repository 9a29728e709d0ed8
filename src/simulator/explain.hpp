#pragma once

#include <array>
#include <string_view>

#include "cost/step_cost.hpp"

namespace kumihimo {

struct TimePart {
  std::string_view key;    ///< "tensor_communication", for machines
  std::string_view label;  ///< "tensor communication", for people
  double seconds = 0;
};

/// Where a training step goes on its busiest pipeline rank, in seconds. The parts add up to the
/// step; what is hidden runs beside them.
struct StepBreakdown {
  int pipeline_rank = 0;
  double matmul_s = 0;
  double attention_s = 0;
  double norm_s = 0;
  double elementwise_s = 0;
  double tensor_comm_s = 0;  ///< exposed, like all four
  double context_comm_s = 0;
  double pipeline_comm_s = 0;
  double data_comm_s = 0;  ///< gradient reduction, sharded weights
  double host_link_s = 0;  ///< exposed copies of offloaded activations and weights
  double bubble_s = 0;     ///< waiting for other pipeline ranks
  double optimizer_s = 0;  ///< with exposed copies of its offloaded states
  double host_s = 0;       ///< the device waits for launches
  double fixed_s = 0;      ///< once per step: data, logging, clipping

  double hidden_layer_comm_s = 0;     ///< behind the passes: tensor, context, sharded weights
  double hidden_reduce_s = 0;         ///< gradients, behind the last backward
  double hidden_gather_s = 0;         ///< updated weights, behind the first forward passes
  double hidden_pipeline_comm_s = 0;  ///< messages that travel beside compute

  std::array<TimePart, 13> parts() const;
  double total_s() const;
};

/// Breaks down the step that took `step_s` when it was played from `cost`.
StepBreakdown break_down(const StepCost& cost, double step_s);

/// What more of would shorten the step most.
enum class Resource { arithmetic, memory_bandwidth, network, host_link, pipeline, host };

struct Binding {
  Resource resource = Resource::arithmetic;
  double share = 0;  ///< of the step
};

/// The resource that the largest share of the step is spent on.
Binding binding_resource(const StepBreakdown& breakdown);

/// "matrix units", "memory bandwidth", ...
std::string_view label(Resource resource);

}  // namespace kumihimo

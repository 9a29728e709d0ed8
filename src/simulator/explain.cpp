#include "simulator/explain.hpp"

#include <algorithm>

namespace kumihimo {
namespace {

/// All passes of one rank in a step.
PassTime passes_of(const StepCost& cost, int rank) {
  PassTime sum;
  for (std::size_t stage = rank; stage < cost.chunks.size(); stage += cost.ranks.size()) {
    const ChunkCost& chunk = cost.chunks[stage];
    for (const PassTime* pass : {&chunk.forward, &chunk.backward_input, &chunk.backward_weight}) {
      sum += *pass;
    }
  }
  return sum.scaled(static_cast<double>(cost.num_micro_batches));
}

double own_work_s(const StepCost& cost, int rank) {
  const RankCost& own = cost.ranks[rank];
  return passes_of(cost, rank).total() + own.reduce_s + own.optimizer_s + own.gather_s;
}

int busiest_rank(const StepCost& cost) {
  int busiest = 0;
  for (int rank = 1; rank < static_cast<int>(cost.ranks.size()); ++rank) {
    if (own_work_s(cost, rank) > own_work_s(cost, busiest)) busiest = rank;
  }
  return busiest;
}

/// Messages that the rank's chunks send and receive, beside its compute.
double travelling_s(const StepCost& cost, int rank) {
  double seconds = 0;
  for (std::size_t stage = rank; stage < cost.chunks.size(); stage += cost.ranks.size()) {
    seconds += cost.chunks[stage].message_s;
    if (stage > 0) seconds += cost.chunks[stage - 1].message_s;
  }
  return seconds * static_cast<double>(cost.num_micro_batches);
}

}  // namespace

std::array<TimePart, 13> StepBreakdown::parts() const {
  return {{{"matrix_products", "matrix products", matmul_s},
           {"attention", "attention", attention_s},
           {"norms", "norms", norm_s},
           {"elementwise", "element-wise", elementwise_s},
           {"tensor_communication", "tensor communication", tensor_comm_s},
           {"context_communication", "context communication", context_comm_s},
           {"pipeline_communication", "pipeline communication", pipeline_comm_s},
           {"data_communication", "data communication", data_comm_s},
           {"host_link", "copies to and from host", host_link_s},
           {"bubble", "pipeline bubble", bubble_s},
           {"optimizer", "optimizer", optimizer_s},
           {"host", "host launches", host_s},
           {"fixed", "fixed per step", fixed_s}}};
}

double StepBreakdown::total_s() const {
  double total = 0;
  for (const TimePart& part : parts()) total += part.seconds;
  return total;
}

StepBreakdown break_down(const StepCost& cost, double step_s) {
  StepBreakdown result;
  const int rank = busiest_rank(cost);
  const RankCost& own = cost.ranks[rank];
  const PassTime passes = passes_of(cost, rank);
  result.pipeline_rank = rank;
  result.matmul_s = passes.matmul;
  result.attention_s = passes.attention;
  result.norm_s = passes.norm;
  result.elementwise_s = passes.elementwise;
  result.tensor_comm_s = passes.tensor_comm;
  result.context_comm_s = passes.context_comm;
  result.pipeline_comm_s = passes.pipeline_comm;
  result.data_comm_s = passes.data_comm + own.reduce_s + own.gather_s;
  result.host_link_s = passes.host_link;
  result.optimizer_s = own.optimizer_s;
  result.host_s = passes.host;
  result.fixed_s = cost.fixed_s;
  // Whatever the rank does not do itself, it waits: within the schedule, for the slowest rank's
  // gradients, and for the slowest update. A rank without a pipeline waits for rounding only.
  result.bubble_s =
      cost.ranks.size() == 1 ? 0 : std::max(0.0, step_s - cost.fixed_s - own_work_s(cost, rank));

  result.hidden_layer_comm_s = passes.hidden;
  result.hidden_reduce_s = own.reduce_hidden_s;
  result.hidden_gather_s = own.gather_hidden_s;
  result.hidden_pipeline_comm_s = travelling_s(cost, rank);
  return result;
}

Binding binding_resource(const StepBreakdown& parts) {
  const std::array<Binding, 6> shares{{
      {Resource::arithmetic, parts.matmul_s + parts.attention_s},
      {Resource::memory_bandwidth, parts.norm_s + parts.elementwise_s + parts.optimizer_s},
      {Resource::network,
       parts.tensor_comm_s + parts.context_comm_s + parts.pipeline_comm_s + parts.data_comm_s},
      {Resource::host_link, parts.host_link_s},
      {Resource::pipeline, parts.bubble_s},
      {Resource::host, parts.host_s + parts.fixed_s},
  }};
  Binding largest = *std::ranges::max_element(shares, {}, &Binding::share);
  largest.share /= parts.total_s();
  return largest;
}

std::string_view label(Resource resource) {
  switch (resource) {
    case Resource::arithmetic: return "arithmetic";
    case Resource::memory_bandwidth: return "memory bandwidth";
    case Resource::network: return "communication";
    case Resource::host_link: return "the host link";
    case Resource::pipeline: return "the pipeline";
    case Resource::host: return "the host";
  }
  return "?";
}

}  // namespace kumihimo

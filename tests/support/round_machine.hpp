#pragma once

#include "cost/stack_profile.hpp"
#include "layout/parallel_layout.hpp"

namespace kumihimo::testing {

/// Four nodes of four devices whose rates are round: 1 TFLOP/s in 16 bit, 100 GB/s of memory,
/// 10 GB/s within a node and 1 GB/s between nodes, no latency.
inline Cluster round_cluster() {
  Cluster cluster;
  cluster.name = "round";
  cluster.device.name = "round";
  cluster.device.architecture = "hopper";
  cluster.device.memory = static_cast<Bytes>(16 * GiB);
  cluster.device.memory_bandwidth = 1e11;
  cluster.device.peak_flop_per_s = {0.5e12, 0.5e12, 1e12, 1e12, 2e12};
  cluster.device.achievable_flop_per_s = cluster.device.peak_flop_per_s;
  cluster.devices_per_node = 4;
  cluster.nodes = 4;
  cluster.intra_node = {1e10, 0};
  cluster.inter_node = {1e9, 0};
  cluster.host_memory = static_cast<Bytes>(64 * GiB);
  cluster.host_link_bandwidth = 1e9;
  return cluster;
}

/// A stack that reaches every rate of the vendor, starts kernels and collectives in no time, hides
/// no communication and needs no memory beyond what is counted. Each test changes what it is about.
inline StackProfile ideal_profile() {
  StackProfile profile;
  profile.name = "ideal";
  for (double StackProfile::*rate : {&StackProfile::matmul_fp32,
                                     &StackProfile::matmul_16bit,
                                     &StackProfile::matmul_fp8,
                                     &StackProfile::attention_unfused,
                                     &StackProfile::attention_fused_softmax,
                                     &StackProfile::attention_flash1,
                                     &StackProfile::attention_flash2,
                                     &StackProfile::attention_flash3,
                                     &StackProfile::attention_backward,
                                     &StackProfile::norm_unfused,
                                     &StackProfile::norm_fused,
                                     &StackProfile::elementwise,
                                     &StackProfile::loss,
                                     &StackProfile::optimizer,
                                     &StackProfile::intra_node,
                                     &StackProfile::inter_node,
                                     &StackProfile::congested_bandwidth,
                                     &StackProfile::point_to_point,
                                     &StackProfile::host_link,
                                     &StackProfile::recompute_overhead,
                                     &StackProfile::activation_factor,
                                     &StackProfile::logits_factor}) {
    profile.*rate = 1;
  }
  for (double StackProfile::*loss : {&StackProfile::matmul_traffic,
                                     &StackProfile::inter_node_scaling,
                                     &StackProfile::kernel_s,
                                     &StackProfile::launch_s,
                                     &StackProfile::collective_launch_s,
                                     &StackProfile::busy_hop_s,
                                     &StackProfile::collective_s,
                                     &StackProfile::hop_s,
                                     &StackProfile::node_hop_s,
                                     &StackProfile::congested_message_s,
                                     &StackProfile::attention_half_keys,
                                     &StackProfile::micro_batch_s,
                                     &StackProfile::step_s,
                                     &StackProfile::data_parallel_overlap,
                                     &StackProfile::tensor_parallel_overlap,
                                     &StackProfile::tensor_backward_overlap,
                                     &StackProfile::point_to_point_overlap,
                                     &StackProfile::context_gib,
                                     &StackProfile::buffer_layers,
                                     &StackProfile::allocator_overhead}) {
    profile.*loss = 0;
  }
  profile.memory_residual = 0.1;
  profile.time_residual = 0.1;
  profile.defaults = {};
  profile.defaults.vocab_parallel_loss = true;
  profile.defaults.scatter_gather_boundary = false;
  profile.defaults.layer_balance = LayerBalance::layers;
  return profile;
}

/// A small LLaMA: 8 layers, hidden 64 in 4 heads, 8 sequences of 32 tokens.
inline TrainingJob small_job() {
  TrainingJob job;
  job.model = {.name = "small",
               .layers = 8,
               .hidden = 64,
               .heads = 4,
               .kv_heads = 4,
               .head_dim = 16,
               .ffn_hidden = 96,
               .vocab = 256,
               .max_positions = 32};
  job.seq_length = 32;
  job.global_batch_size = 8;
  return job;
}

}  // namespace kumihimo::testing

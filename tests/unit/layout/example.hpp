#pragma once

#include "cluster/cluster.hpp"
#include "layout/parallel_layout.hpp"

namespace kumihimo::testing {

/// LLaMA 13B at 2,048 tokens, global batch 2,048.
inline TrainingJob llama_13b() {
  TrainingJob job;
  job.model.name = "llama-13b";
  job.model.layers = 40;
  job.model.hidden = 5120;
  job.model.heads = 40;
  job.model.kv_heads = 40;
  job.model.head_dim = 128;
  job.model.ffn_hidden = 13824;
  job.model.vocab = 32000;
  job.model.max_positions = 2048;
  job.seq_length = 2048;
  job.global_batch_size = 2048;
  return job;
}

/// Nodes of eight A100: 8 GPUs of 312 TFLOP/s in bf16, with host memory behind PCIe.
inline Cluster a100_nodes() {
  Cluster cluster;
  cluster.name = "a100";
  cluster.device.name = "A100";
  cluster.device.architecture = "ampere";
  cluster.device.memory = Bytes{80} << 30;
  cluster.device.memory_bandwidth = 2.0e12;
  cluster.device.peak_flop_per_s = {19.5e12, 156e12, 312e12, 312e12, 0};
  cluster.devices_per_node = 8;
  cluster.nodes = 8;
  cluster.intra_node = {300e9, 1e-6};
  cluster.inter_node = {25e9, 5e-6};
  cluster.host_memory = Bytes{1} << 40;
  cluster.host_link_bandwidth = 25e9;
  return cluster;
}

}  // namespace kumihimo::testing

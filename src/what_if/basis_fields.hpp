#pragma once

#include "what_if/what_if.hpp"

// Every field of a basis and of settings, by name: one list for writing and reading.

namespace kumihimo {

template <class Visit>
void visit_fields(TransformerShape& model, Visit& visit) {
  visit("name", model.name);
  visit("layers", model.layers);
  visit("hidden", model.hidden);
  visit("heads", model.heads);
  visit("kv_heads", model.kv_heads);
  visit("head_dim", model.head_dim);
  visit("ffn_hidden", model.ffn_hidden);
  visit("vocab", model.vocab);
  visit("max_positions", model.max_positions);
  visit("tied_embeddings", model.tied_embeddings);
  visit("qkv_bias", model.qkv_bias);
  visit("output_bias", model.output_bias);
  visit("mlp_bias", model.mlp_bias);
  visit("qk_norm", model.qk_norm);
  visit("dropout", model.dropout);
  visit("norm", model.norm);
  visit("norm_bias", model.norm_bias);
  visit("activation", model.activation);
  visit("positions", model.positions);
  visit("norm_epsilon", model.norm_epsilon);
  visit("rope_theta", model.rope_theta);
}

template <class Visit>
void visit_fields(TrainingJob& job, Visit& visit) {
  visit("model", job.model);
  visit("seq_length", job.seq_length);
  visit("global_batch_size", job.global_batch_size);
  visit("vocab_multiple", job.vocab_multiple);
}

template <class Visit>
void visit_fields(Device& device, Visit& visit) {
  visit("name", device.name);
  visit("architecture", device.architecture);
  visit("memory", device.memory);
  visit("memory_bandwidth", device.memory_bandwidth);
  visit("warp_mma", device.warp_mma);
  visit("power_w", device.power_w);
  for (const Precision precision : all_precisions) {
    visit(to_string(precision), device.peak_flop_per_s[static_cast<std::size_t>(precision)]);
    visit("achievable_" + std::string(to_string(precision)),
          device.achievable_flop_per_s[static_cast<std::size_t>(precision)]);
  }
}

template <class Visit>
void visit_fields(Link& link, Visit& visit) {
  visit("bandwidth", link.bandwidth);
  visit("latency_s", link.latency_s);
}

template <class Visit>
void visit_fields(Cluster& cluster, Visit& visit) {
  visit("name", cluster.name);
  visit("description", cluster.description);
  visit("device", cluster.device);
  visit("devices_per_node", cluster.devices_per_node);
  visit("nodes", cluster.nodes);
  visit("intra_node", cluster.intra_node);
  visit("intra_node_mesh", cluster.intra_node_mesh);
  visit("inter_node", cluster.inter_node);
  visit("nics_per_node", cluster.nics_per_node);
  visit("nic_bandwidth", cluster.nic_bandwidth);
  visit("host_memory", cluster.host_memory);
  visit("host_link_bandwidth", cluster.host_link_bandwidth);
}

template <class Visit>
void visit_fields(FrameworkDefaults& defaults, Visit& visit) {
  visit("recompute", defaults.recompute);
  visit("attention", defaults.attention);
  visit("norm", defaults.norm);
  visit("precision", defaults.precision);
  visit("gradient_dtype", defaults.gradient_dtype);
  visit("zero_stage", defaults.zero_stage);
  visit("sequence_parallel", defaults.sequence_parallel);
  visit("overlap_data_parallel", defaults.overlap_data_parallel);
  visit("overlap_tensor_parallel", defaults.overlap_tensor_parallel);
  visit("vocab_parallel_loss", defaults.vocab_parallel_loss);
  visit("attention_dropout_buffers", defaults.attention_dropout_buffers);
  visit("scatter_gather_boundary", defaults.scatter_gather_boundary);
  visit("recompute_head", defaults.recompute_head);
  visit("offloaded_update_behind_forward", defaults.offloaded_update_behind_forward);
  visit("weight_gathering_behind_forward", defaults.weight_gathering_behind_forward);
  visit("layer_balance", defaults.layer_balance);
  visit("vocab_multiple", defaults.vocab_multiple);
}

template <class Visit>
void visit_fields(Interval& interval, Visit& visit) {
  visit("least", interval.least);
  visit("most", interval.most);
}

template <class Visit>
void visit_fields(FittedRange& range, Visit& visit) {
  visit("layer_parameters", range.layer_parameters);
  visit("devices", range.devices);
  visit("seq_length", range.seq_length);
  visit("device_names", range.device_names);
  visit("precisions", range.precisions);
}

template <class Visit>
void visit_fields(StackProfile& profile, Visit& visit) {
  visit("name", profile.name);
  visit("cluster", profile.cluster);
  visit("defaults", profile.defaults);
  for (const ProfileParameter& parameter : profile_parameters()) {
    visit(parameter.key, profile.*parameter.member);
  }
  visit("memory_residual", profile.memory_residual);
  visit("time_residual", profile.time_residual);
  visit("range", profile.range);
}

template <class Visit>
void visit_fields(Constraints& constraints, Visit& visit) {
  visit("tp", constraints.tensor_parallel);
  visit("pp", constraints.pipeline_parallel);
  visit("cp", constraints.context_parallel);
  visit("dp", constraints.data_parallel);
  visit("micro_batch", constraints.micro_batch_size);
}

template <class Visit>
void visit_fields(WhatIfBasis& basis, Visit& visit) {
  visit("job", basis.job);
  visit("cluster", basis.cluster);
  visit("profile", basis.profile);
  visit("devices", basis.devices);
  visit("constraints", basis.constraints);
}

template <class Visit>
void visit_fields(WhatIfSettings& settings, Visit& visit) {
  visit("devices", settings.devices);
  visit("inter_node_bandwidth", settings.inter_node_bandwidth);
  visit("intra_node_bandwidth", settings.intra_node_bandwidth);
  visit("device_memory", settings.device_memory);
  visit("global_batch_size", settings.global_batch_size);
  visit("seq_length", settings.seq_length);
  visit("attention", settings.attention);
  visit("norm", settings.norm);
  visit("precision", settings.precision);
}

template <class Visit>
void visit_fields(WhatIfBest& best, Visit& visit) {
  visit("mfu", best.mfu);
  visit("step_s", best.step_s);
  visit("tokens_per_s", best.tokens_per_s);
  visit("memory_bytes", best.memory_bytes);
}

}  // namespace kumihimo

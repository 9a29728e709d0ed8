#include "cost/stack_profile.hpp"

#include <array>

namespace kumihimo {

std::span<const ProfileParameter> profile_parameters() {
  using P = StackProfile;
  static const std::array parameters{
      ProfileParameter{"rates.matmul_fp32", &P::matmul_fp32, 0.05, 1.25, 0.2,
                       "large matrix products in fp32 (or tf32) over the device's achievable rate"},
      ProfileParameter{"rates.matmul_16bit", &P::matmul_16bit, 0.05, 1.25, 0.2,
                       "large matrix products in fp16 or bf16 over the device's achievable rate"},
      ProfileParameter{"rates.matmul_fp8", &P::matmul_fp8, 0.05, 1.25, 0.3,
                       "large matrix products in fp8 over the device's achievable rate"},
      ProfileParameter{"rates.matmul_traffic", &P::matmul_traffic, 0.01, 10.0, 0.7,
                       "operand bytes over memory bandwidth that do not hide behind arithmetic"},
      ProfileParameter{"rates.attention_unfused", &P::attention_unfused, 0.02, 1.0, 0.4,
                       "share of memory bandwidth in the passes over attention scores"},
      ProfileParameter{"rates.attention_fused_softmax", &P::attention_fused_softmax, 0.02, 1.0, 0.4,
                       "the same with one fused softmax pass"},
      ProfileParameter{
          "rates.attention_flash1", &P::attention_flash1, 0.02, 1.25, 0.3,
          "share of the achievable 16-bit rate, times device.warp_mma, in FlashAttention 1's "
          "forward"},
      ProfileParameter{
          "rates.attention_flash2", &P::attention_flash2, 0.02, 1.25, 0.3,
          "share of the achievable 16-bit rate, times device.warp_mma, in FlashAttention 2's "
          "forward"},
      ProfileParameter{"rates.attention_flash3", &P::attention_flash3, 0.02, 1.25, 0.3,
                       "share of the achievable 16-bit rate in FlashAttention 3's forward"},
      ProfileParameter{"rates.attention_half_keys", &P::attention_half_keys, 1, 1e5, 0.7,
                       "keys to a sequence at which FlashAttention reaches half its share"},
      ProfileParameter{"rates.attention_backward", &P::attention_backward, 0.2, 1.2, 0.15,
                       "attention backward's share of the forward rate"},
      ProfileParameter{"rates.norm_unfused", &P::norm_unfused, 0.02, 1.0, 0.4,
                       "share of memory bandwidth in the passes of the unfused norm"},
      ProfileParameter{"rates.norm_fused", &P::norm_fused, 0.02, 1.0, 0.4,
                       "share of memory bandwidth in the fused norm"},
      ProfileParameter{"rates.elementwise", &P::elementwise, 0.02, 1.0, 0.4,
                       "share of memory bandwidth in element-wise operations, counted as if fused"},
      ProfileParameter{"rates.loss", &P::loss, 0.02, 1.0, 0.5,
                       "share of memory bandwidth in the cross-entropy, counted as six passes"},
      ProfileParameter{"rates.optimizer", &P::optimizer, 0.02, 1.0, 0.5,
                       "share of memory bandwidth in the optimizer step"},
      ProfileParameter{"rates.intra_node", &P::intra_node, 0.02, 1.0, 0.3,
                       "share of the intra-node link that collectives reach"},
      ProfileParameter{"rates.inter_node", &P::inter_node, 0.02, 1.0, 0.4,
                       "share of the inter-node link that collectives reach"},
      ProfileParameter{"rates.inter_node_scaling", &P::inter_node_scaling, 0.001, 1.0, 1.0,
                       "inter-node bandwidth falls with the nodes of the job to this power"},
      ProfileParameter{"rates.congested_nodes", &P::congested_nodes, 2, 1e5, 0.5,
                       "nodes of a job beyond which the network between them is congested"},
      ProfileParameter{"rates.congested_bandwidth", &P::congested_bandwidth, 0.02, 1.0, 0.7,
                       "share of the inter-node bandwidth that is left then"},
      ProfileParameter{"rates.point_to_point", &P::point_to_point, 0.005, 1.0, 0.5,
                       "share of a link that one pipeline message reaches"},
      ProfileParameter{"rates.host_link", &P::host_link, 0.05, 1.0, 0.2,
                       "share of the host link that offloaded states reach"},
      ProfileParameter{"seconds.kernel", &P::kernel_s, 1e-8, 1e-3, 0.5,
                       "device time lost at the start and end of every kernel"},
      ProfileParameter{"seconds.launch", &P::launch_s, 1e-8, 1e-3, 0.5,
                       "host time to launch one kernel; it hides behind longer kernels"},
      ProfileParameter{"seconds.collective_launch", &P::collective_launch_s, 1e-8, 1e-2, 1.5,
                       "host time to start one collective of a layer; it hides likewise"},
      ProfileParameter{"seconds.busy_hop", &P::busy_hop_s, 1e-8, 1e-2, 2.0,
                       "host time of one step of a layer's ring while a pipeline sends between "
                       "nodes; it hides likewise"},
      ProfileParameter{"seconds.collective", &P::collective_s, 1e-7, 1e-2, 1.0,
                       "fixed time of one collective on top of the links' latency"},
      ProfileParameter{"seconds.hop", &P::hop_s, 1e-8, 1e-3, 1.5,
                       "time of one step of a ring on top of the link's latency"},
      ProfileParameter{"seconds.node_hop", &P::node_hop_s, 1e-8, 1e-1, 1.5,
                       "further time of a step from one node to the next"},
      ProfileParameter{"seconds.congested_message", &P::congested_message_s, 1e-6, 10.0, 2.5,
                       "time by which a pipeline message between nodes holds up both its ends "
                       "where the network is congested"},
      ProfileParameter{"seconds.micro_batch", &P::micro_batch_s, 1e-7, 1.0, 1.5,
                       "time that a pipeline rank loses around each pass: it waits for the host "
                       "after a message"},
      ProfileParameter{"seconds.step", &P::step_s, 1e-6, 100.0, 0.7,
                       "fixed time of a step: data, logging, clipping, synchronisation"},
      ProfileParameter{"overlap.data_parallel", &P::data_parallel_overlap, 0.001, 1.0, 0.5,
                       "share of the compute beside it that hides data-parallel communication"},
      ProfileParameter{"overlap.tensor_parallel", &P::tensor_parallel_overlap, 0.001, 1.0, 0.3,
                       "share of tensor-parallel communication hidden when overlap is on"},
      ProfileParameter{"overlap.tensor_backward", &P::tensor_backward_overlap, 0.001, 1.0, 0.5,
                       "share of it that hides behind weight gradients in any case"},
      ProfileParameter{"overlap.point_to_point", &P::point_to_point_overlap, 0.001, 1.0, 0.5,
                       "share of a pipeline message that travels beside its ranks' compute"},
      ProfileParameter{"rates.recompute", &P::recompute_overhead, 0.7, 2.0, 0.04,
                       "time of a recomputed forward over that of the first one"},
      ProfileParameter{"memory.context_gib", &P::context_gib, 1e-6, 20.0, 0.3,
                       "driver context and libraries, in GiB"},
      ProfileParameter{"memory.communicator_gib", &P::communicator_gib, 1e-6, 5.0, 0.5,
                       "buffers of one communicator (a process group of several ranks), in GiB"},
      ProfileParameter{"memory.activations", &P::activation_factor, 0.3, 3.0, 0.1,
                       "kept activations over what the layers declare"},
      ProfileParameter{
          "memory.logits", &P::logits_factor, 0.1, 5.0, 0.3,
          "peak memory at the loss over that of 16-bit logits, their fp32 copy and its gradient"},
      ProfileParameter{"memory.buffer_layers", &P::buffer_layers, 0.01, 10.0, 0.5,
                       "layers' worth of temporary activations and gradients in backward"},
      ProfileParameter{
          "memory.allocator", &P::allocator_overhead, 0.001, 0.5, 0.5,
          "allocator's unused reserve over the activations and temporaries that it serves"},
  };
  return parameters;
}

}  // namespace kumihimo

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/precision.hpp"
#include "layout/framework_defaults.hpp"
#include "model/kernels.hpp"

namespace kumihimo {

/// How well a profile predicted some measured runs.
struct FitEvidence {
  std::string source;  ///< the run file, or what part of it
  std::int64_t runs = 0;
  double mape = 0;          ///< mean of |predicted / measured - 1| of step time
  double median_error = 0;  ///< median of the same
  bool held_out = false;    ///< none of the runs took part in the fit that predicted it

  bool operator==(const FitEvidence&) const = default;
};

/// What a fit left open about one parameter: one standard deviation of its logarithm.
struct ParameterSpread {
  std::string key;  ///< as in profile_parameters()
  double log_spread = 0;

  bool operator==(const ParameterSpread&) const = default;
};

struct Interval {
  double least = 0;
  double most = 0;

  bool operator==(const Interval&) const = default;
};

/// What the runs that a profile was fitted to span; cost/extrapolation.hpp says what that is for.
struct FittedRange {
  Interval layer_parameters;  ///< of the models, without what the vocabulary takes
  Interval devices;
  Interval seq_length;
  std::vector<std::string> device_names;
  std::vector<Precision> precisions;

  bool operator==(const FittedRange&) const = default;
};

/// How well a software stack reaches the rates of a cluster's vendor: the only fitted numbers of
/// the planner. Time = counts / (rates x profile). Every figure is a plain double with an entry in
/// profile_parameters(), which gives its key in the file, its meaning, its bounds and its prior.
struct StackProfile {
  std::string name;
  std::string description;
  std::string origin;   ///< the runs it was fitted to, or why its numbers are what they are
  std::string cluster;  ///< catalog name of the cluster it was measured on
  std::vector<std::string> sources;  ///< words by which the source of a run tells this stack
  FrameworkDefaults defaults;

  // Shares of a device's rate. A model's own matrix products seldom have the best of all shapes.
  double matmul_fp32 = 0.9;
  double matmul_16bit = 0.9;
  double matmul_fp8 = 0.9;
  double matmul_traffic = 0.5;  ///< operand bytes that do not hide behind arithmetic
  double attention_unfused = 0.6;
  double attention_fused_softmax = 0.6;
  double attention_flash1 = 0.45;
  double attention_flash2 = 0.70;
  double attention_flash3 = 0.75;
  double attention_half_keys = 400;
  double attention_backward = 0.85;
  double norm_unfused = 0.7;
  double norm_fused = 0.4;
  double elementwise = 0.5;
  double loss = 0.5;
  double optimizer = 0.6;
  double intra_node = 0.7;
  double inter_node = 0.7;
  double inter_node_scaling = 0.1;
  double congested_nodes = 48;  ///< a count
  double congested_bandwidth = 1.0;
  double point_to_point = 0.5;
  double host_link = 0.8;

  // Seconds.
  double kernel_s = 3e-6;
  double launch_s = 5e-6;
  double collective_launch_s = 5e-6;
  double busy_hop_s = 10e-6;
  double collective_s = 30e-6;
  double hop_s = 10e-6;
  double node_hop_s = 10e-6;
  double congested_message_s = 100e-6;
  double micro_batch_s = 2e-3;
  double step_s = 20e-3;

  // Shares of a communication that may hide behind compute.
  double data_parallel_overlap = 0.5;
  double tensor_parallel_overlap = 0.7;
  double tensor_backward_overlap = 0.3;
  double point_to_point_overlap = 0.7;
  double recompute_overhead = 1.0;

  // Memory.
  double context_gib = 0.6;
  double communicator_gib = 0.6;
  double activation_factor = 1.05;
  double logits_factor = 1.2;
  double buffer_layers = 1.0;
  double allocator_overhead = 0.03;
  double memory_residual = 0.3;

  // What the fit left over: standard deviation of log(measured / predicted) step time.
  // That is within `range`; see step_time_error() for what lies beyond it.
  double time_residual = 0.10;
  std::optional<FittedRange> range;  ///< none: fitted to nothing, or nobody noted it

  std::vector<FitEvidence> evidence;     ///< for people: nothing computes with it
  std::vector<ParameterSpread> spreads;  ///< the same

  bool operator==(const StackProfile&) const = default;

  double matmul(Precision precision) const {
    switch (precision) {
      case Precision::fp32:
      case Precision::tf32: return matmul_fp32;
      case Precision::fp16:
      case Precision::bf16: return matmul_16bit;
      case Precision::fp8: return matmul_fp8;
    }
    return matmul_16bit;
  }
  /// Share of memory bandwidth for the unfused kinds, of the achievable FLOP/s for flash.
  double attention(AttentionKernel kernel) const {
    switch (kernel) {
      case AttentionKernel::unfused: return attention_unfused;
      case AttentionKernel::fused_softmax: return attention_fused_softmax;
      case AttentionKernel::flash1: return attention_flash1;
      case AttentionKernel::flash2: return attention_flash2;
      case AttentionKernel::flash3: return attention_flash3;
    }
    return attention_flash2;
  }
  double norm(NormKernel kernel) const {
    return kernel == NormKernel::fused ? norm_fused : norm_unfused;
  }
};

/// What a parameter of a profile is, for files, fits and explanations.
struct ProfileParameter {
  std::string_view key;  ///< "rates.matmul_16bit"
  double StackProfile::*member;
  double lower, upper;
  double prior_spread;  ///< standard deviation of its logarithm across stacks before any fit
  std::string_view meaning;
};

std::span<const ProfileParameter> profile_parameters();

}  // namespace kumihimo

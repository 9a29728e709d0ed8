#pragma once

#include <cstdint>

#include "base/error.hpp"
#include "base/units.hpp"
#include "layout/parallel_layout.hpp"
#include "tensor/kernels.hpp"

namespace kumihimo {

enum class OptimizerKind : std::uint8_t { adamw, sgd };

struct OptimizerOptions {
  OptimizerKind kind = OptimizerKind::adamw;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double momentum = 0.9;      ///< sgd
  double weight_decay = 0.1;  ///< of matrices; norms and biases do not decay
  double clip_norm = 1.0;     ///< of the gradient over all parameters; 0: no clipping
};

enum class LearningRateShape : std::uint8_t { constant, cosine, wsd };

/// Warms up linearly over warmup_steps, then: constant; cosine down to minimum_share x peak at
/// total_steps; wsd: constant, and over the last decay_share of the steps linearly down to
/// minimum_share x peak (warm-up, stable, decay: Hu et al. 2024, arXiv:2404.06395).
struct LearningRate {
  LearningRateShape shape = LearningRateShape::cosine;
  double peak = 1e-3;
  double minimum_share = 0.1;
  std::int64_t warmup_steps = 0;
  std::int64_t total_steps = 1;
  double decay_share = 0.2;
};

/// The rate of step `step` (0, 1, ...); after total_steps it stays where it was.
double learning_rate_at(const LearningRate& rate, std::int64_t step);

/// How a tensor's scale for fp8 is found: from the largest magnitudes of the last steps, or from
/// the tensor itself.
enum class Fp8Scaling : std::uint8_t { delayed, current };

/// Linear layers in fp8 (Micikevicius et al. 2022, arXiv:2209.05433): E4M3 for activations and
/// weights, E5M2 for gradients, a scale for each tensor, sums in fp32.
struct Fp8Options {
  Fp8Scaling scaling = Fp8Scaling::delayed;
  int amax_history = 16;       ///< steps that delayed scaling looks back
  bool edges_in_bf16 = false;  ///< the first and the last layer stay in bf16
};

/// Everything that decides what is trained and how: a value, the same on every rank.
struct TrainingOptions {
  TrainingJob job;
  ParallelLayout layout;
  OptimizerOptions optimizer;
  LearningRate learning_rate;
  Fp8Options fp8;
  Backend backend = Backend::cpu;
  int threads_per_rank = 1;
  Bytes device_memory = 0;  ///< of a rank; 0: as much as there is
  std::int64_t offload_portion =
      kumihimo::offload_portion;  ///< parameters whose states pass at once
  std::uint64_t seed = 1;         ///< of the initial weights and of the order of the data
  bool shuffle = true;
  bool record_passes = false;  ///< hand a GPU whole passes, each recorded once (CUDA graphs)
};

/// Why the engine cannot train this, beyond what layout/validate refuses: what it does not
/// implement, each with a remedy. Empty: it can.
Errors engine_faults(const TrainingOptions& options);

/// Micro-batches of one data-parallel rank in a step. Requires a valid layout.
std::int64_t micro_batches_per_step(const TrainingOptions& options);

/// How activations and weights are stored: fp32, or bf16 (fp8 casts the operands of its products).
DType storage_dtype(Precision precision);

}  // namespace kumihimo

#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/linear_products.hpp"
#include "engine/pipeline.hpp"
#include "engine/training_options.hpp"

namespace kumihimo {

/// Two trainings that differ in nothing but their precision.
struct PrecisionComparisonOptions {
  TrainingOptions training;             ///< its layout's precision is replaced by each of the two
  std::array<Precision, 2> precisions;  ///< the one compared against, the one in question
  std::int64_t steps = 1;               ///< at least 1
  double tolerance = 0.01;              ///< on mean_gap
};

/// One step of both. The gap is (second loss - first loss) / first loss.
struct PrecisionStep {
  std::int64_t step = 0;
  std::array<double, 2> losses{};
  double gap = 0;
  double smoothed_gap = 0;     ///< running mean with weight 0.9^age, as if begun long ago
  double gradient_cosine = 1;  ///< between the gradients of the whole model
};

/// How far the two gradients of one parameter point the same way, over all steps taken together
/// (the gradients of all steps as one long vector).
struct ParameterAgreement {
  std::string parameter;
  double cosine = 1;
};

/// What the casts of one tensor to fp8 did, over all steps, micro-batches and ranks. A tensor is
/// cast once for each product it enters, recomputation included.
struct Fp8TensorCounts {
  int layer = 0;  ///< of the whole model
  LinearRole role = LinearRole::qkv;
  Fp8Operand operand = Fp8Operand::input;
  Fp8CastCounts counts;

  double overflow_share() const;
  double underflow_share() const;
};

struct PrecisionComparison {
  std::array<Precision, 2> precisions{};
  double tolerance = 0;
  std::vector<PrecisionStep> steps;            ///< those that both completed
  std::vector<ParameterAgreement> parameters;  ///< by name
  /// fp8 casts of each of the two, by layer, role, operand; empty where it does not use fp8.
  std::array<std::vector<Fp8TensorCounts>, 2> tensors;
  /// Why training could not go on, of each of the two; empty: it could.
  std::array<std::string, 2> failures;
  double mean_gap = 0;  ///< mean magnitude of the gap over the last quarter of the steps
  /// The first step whose gap is beyond the tolerance; -1: none.
  std::int64_t first_step_beyond = -1;

  bool uses_fp8() const;
  /// Both trained to the end and mean_gap is at most the tolerance.
  bool within_tolerance() const;
};

/// Called by rank 0 after each step: its number, 0, 1, ..., and both losses.
using OnPrecisionStep = std::function<void(std::int64_t step, const std::array<double, 2>& losses)>;

/// Trains both in lock step on threads, from the same weights and samples: every rank has two
/// trainers, and needs the memory of both (the budget holds for each alone). `read_samples` is
/// called by all ranks at once. Requires options without faults in either precision. A training
/// that cannot go on (TrainingFailure) ends the comparison, which says so; other exceptions are
/// run_threads'. `place`: none where ranks compute on the host.
PrecisionComparison compare_precision(const PrecisionComparisonOptions& options,
                                      const ReadSamples& read_samples,
                                      const OnPrecisionStep& on_step = {},
                                      const PlaceRank& place = {});

}  // namespace kumihimo

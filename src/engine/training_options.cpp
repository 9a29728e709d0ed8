#include "engine/training_options.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <numbers>

#include "layout/names.hpp"
#include "schedule/schedule.hpp"

namespace kumihimo {

double learning_rate_at(const LearningRate& rate, std::int64_t step) {
  if (step < rate.warmup_steps) {
    return rate.peak * static_cast<double>(step + 1) / static_cast<double>(rate.warmup_steps);
  }
  const double lowest = rate.minimum_share * rate.peak;
  const double done = static_cast<double>(step - rate.warmup_steps);
  const double all =
      static_cast<double>(std::max<std::int64_t>(1, rate.total_steps - rate.warmup_steps));
  switch (rate.shape) {
    case LearningRateShape::constant: return rate.peak;
    case LearningRateShape::cosine: {
      const double share = std::min(1.0, done / all);
      return lowest + (rate.peak - lowest) * 0.5 * (1 + std::cos(std::numbers::pi * share));
    }
    case LearningRateShape::wsd: {
      const double decay = rate.decay_share * static_cast<double>(rate.total_steps);
      const double left = static_cast<double>(rate.total_steps - step);
      if (decay <= 0 || left >= decay) return rate.peak;
      return lowest + (rate.peak - lowest) * std::max(0.0, left / decay);
    }
  }
  return rate.peak;
}

std::int64_t micro_batches_per_step(const TrainingOptions& options) {
  return num_micro_batches(options.job, options.layout);
}

DType storage_dtype(Precision precision) {
  return precision == Precision::fp32 ? DType::fp32 : DType::bf16;
}

Errors engine_faults(const TrainingOptions& options) {
  Errors errors;
  const ParallelLayout& layout = options.layout;
  const TransformerShape& model = options.job.model;
  const auto refuse = [&](bool wrong, const char* where, std::string what, std::string fix) {
    if (wrong) errors.push_back({where, std::move(what), std::move(fix)});
  };

  refuse(layout.context_parallel != 1, "--cp",
         fmt::format("is {}: the trainer has no ring attention", layout.context_parallel),
         "give --cp 1, or split by --tp with --sequence-parallel");
  refuse(layout.precision == Precision::fp16 || layout.precision == Precision::tf32, "--precision",
         fmt::format("{} is planned, not trained", to_string(layout.precision)),
         "use fp32, bf16 or fp8");
  refuse(layout.gradient_dtype != Precision::fp32, "--gradient-dtype",
         fmt::format("is {}: the trainer sums gradients in fp32", to_string(layout.gradient_dtype)),
         "use fp32");
  refuse(layout.offload.activations || layout.offload.weights, "--offload",
         "of activations and weights is planned, not trained", "give --offload optimizer");
  refuse(layout.overlap_tensor_parallel, "--overlap-tp", "is planned, not trained", "leave it out");
  refuse(layout.zero_group != 0, "--zero-group", "is planned, not trained",
         "leave it out: states are shared among all data-parallel ranks");
  // Norm gradients belong to the input pass, those of matrices to the weight pass: sharded
  // gradients would have to be reduced twice for every layer and micro-batch.
  refuse(layout.schedule == ScheduleKind::zb_h1 && layout.zero_stage >= 2, "--zero",
         fmt::format("{} with the zb-h1 schedule would reduce every layer's gradients twice",
                     layout.zero_stage),
         "use --zero 1, or --schedule 1f1b");

  // What communicates cannot be recorded.
  refuse(options.record_passes && layout.tensor_parallel > 1, "--cuda-graphs",
         fmt::format("is given with --tp {}, whose ranks communicate within a layer",
                     layout.tensor_parallel),
         "give --tp 1, or leave out --cuda-graphs");

  refuse(model.qk_norm, "--model",
         fmt::format("{} norms queries and keys, which the trainer does not", model.name),
         "choose a model without, such as llama-tiny or qwen2.5-0.5b");
  refuse(model.positions == Positions::alibi, "--model",
         fmt::format("{} uses ALiBi, which the trainer does not", model.name),
         "choose a model with rotary or learned positions");
  refuse(model.dropout, "--model", fmt::format("{} trains with dropout", model.name),
         "give --no-dropout to train it without");

  refuse(options.optimizer.clip_norm < 0, "--clip-norm",
         fmt::format("is {}", options.optimizer.clip_norm), "give 0 (no clipping) or more");
  refuse(options.fp8.amax_history < 1, "--fp8-amax-history",
         fmt::format("is {}", options.fp8.amax_history), "give at least 1");
  return errors;
}

}  // namespace kumihimo

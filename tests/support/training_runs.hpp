#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/trainer.hpp"
#include "tensor/gpu.hpp"

namespace kumihimo::testing {

/// Tokens that a model can learn, sample by sample: t' = (5 t + 17 + r mod 8) mod vocab, where r
/// comes from splitmix64: the stream of bench/torch_llama_step.py with batches of `batch`
/// sequences.
inline ReadSamples learnable_tokens(std::uint64_t seed, std::int64_t seq_length,
                                    std::int64_t vocab) {
  const auto random = [start = seed * 1000003u + 999983u](std::int64_t number) {
    std::uint64_t z = start + static_cast<std::uint64_t>(number + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  };
  return [=](std::int64_t first_sample, std::span<std::int32_t> inputs,
             std::span<std::int32_t> targets) {
    const std::int64_t sequences = std::ssize(inputs) / seq_length;
    for (std::int64_t s = 0; s < sequences; ++s) {
      const std::int64_t row = (first_sample + s) * (seq_length + 1);
      std::int64_t token =
          static_cast<std::int64_t>(random(row) % static_cast<std::uint64_t>(vocab));
      for (std::int64_t i = 0; i < seq_length; ++i) {
        inputs[static_cast<std::size_t>(s * seq_length + i)] = static_cast<std::int32_t>(token);
        token = (5 * token + 17 + static_cast<std::int64_t>(random(row + i + 1) % 8)) % vocab;
        targets[static_cast<std::size_t>(s * seq_length + i)] = static_cast<std::int32_t>(token);
      }
    }
  };
}

/// What a run leaves behind.
struct RunResult {
  std::vector<double> losses;
  std::vector<double> gradient_norms;
  /// Of the whole model, after the last step, by parameter; summed from all ranks' pieces.
  std::map<std::string, double> squared_weights;
  std::map<std::string, double> squared_first_gradients;
  std::map<std::string, std::vector<float>> weights;  ///< whole parameters, row by row
};

/// Adds what this rank owns of every parameter.
inline void add_pieces(Trainer& trainer, std::map<std::string, double>& squares, bool gradients,
                       std::map<std::string, std::vector<float>>* whole = nullptr) {
  ModelStates& states = trainer.states();
  for (int unit = 0; unit < std::ssize(states.units()); ++unit) {
    for (const OwnedPiece& piece : states.pieces_to_save(unit)) {
      std::vector<float> values(static_cast<std::size_t>(piece.count));
      if (gradients) {
        states.read_gradient(unit, piece, values.data());
      } else {
        states.read_state(unit, piece, StateKind::weight, values.data());
      }
      double& sum = squares[piece.parameter->name];
      for (const float value : values) sum += static_cast<double>(value) * value;
      if (whole == nullptr) continue;
      const Parameter& p = *piece.parameter;
      std::vector<float>& all = (*whole)[p.name];
      for (std::int64_t i = 0; i < piece.count; ++i) {
        const std::int64_t row = p.first_row + (piece.first + i) / p.cols;
        const std::int64_t col = p.first_col + (piece.first + i) % p.cols;
        const auto at = static_cast<std::size_t>(row * p.whole_cols + col);
        if (all.size() <= at) all.resize(at + 1);
        all[at] = values[static_cast<std::size_t>(i)];
      }
    }
  }
}

/// Opens a rank's GPU, where it has one.
using OpenGpu = std::function<std::unique_ptr<Gpu>(int rank)>;

/// body(trainer, world) on a thread for each rank; they share a GPU if there is one.
template <class Body>
void with_trainers(const TrainingOptions& options, const OpenGpu& open_gpu, const Body& body) {
  run_threads(static_cast<int>(options.layout.devices()), [&](World& host) {
    const std::unique_ptr<Gpu> gpu = open_gpu ? open_gpu(host.rank()) : nullptr;
    const std::unique_ptr<World> on_gpu = gpu ? host.sharing(*gpu) : nullptr;
    World& world = on_gpu ? *on_gpu : host;
    Trainer trainer(
        world, options,
        learnable_tokens(options.seed, options.job.seq_length, options.job.model.vocab));
    body(trainer, world);
  });
}

/// Trains `steps` steps.
inline RunResult train(const TrainingOptions& options, std::int64_t steps,
                       bool keep_weights = false, const OpenGpu& open_gpu = nullptr) {
  RunResult result;
  std::mutex mutex;
  with_trainers(options, open_gpu, [&](Trainer& trainer, const World& world) {
    for (std::int64_t step = 0; step < steps; ++step) {
      const StepReport report = trainer.run_step();
      const std::lock_guard lock(mutex);
      if (step == 0) add_pieces(trainer, result.squared_first_gradients, true);
      if (world.rank() > 0) continue;
      result.losses.push_back(report.loss);
      result.gradient_norms.push_back(report.gradient_norm);
    }
    const std::lock_guard lock(mutex);
    add_pieces(trainer, result.squared_weights, false, keep_weights ? &result.weights : nullptr);
  });
  return result;
}

}  // namespace kumihimo::testing

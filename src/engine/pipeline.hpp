#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/block_pool.hpp"
#include "engine/embedding.hpp"
#include "engine/language_head.hpp"
#include "engine/message_buffers.hpp"
#include "engine/model_states.hpp"
#include "engine/rank_groups.hpp"
#include "engine/recorded_passes.hpp"
#include "engine/stage_plan.hpp"
#include "engine/step_recorder.hpp"
#include "engine/transformer_layer.hpp"

namespace kumihimo {

/// Fills inputs and targets, [sequences of a micro-batch x seq_length] each, of the micro-batch
/// that begins with that sample of the run.
using ReadSamples = std::function<void(std::int64_t first_sample, std::span<std::int32_t> inputs,
                                       std::span<std::int32_t> targets)>;

/// One pipeline rank's forward and backward passes of a step: plays the actions of a schedule, the
/// same object that the simulator plays.
class Pipeline {
 public:
  Pipeline(const TrainingOptions& options, const ShardShape& shape, StagePlan plan,
           DeviceMemory& memory, Kernels& kernels, Workspace& workspace, ModelStates& states,
           LinearProducts& products, RankGroups& groups, StepRecorder& recorder,
           RecordedPasses& passes);

  /// Runs all micro-batches of the step whose first sample is `first_sample`. Gradients are then
  /// complete in `states` but for what its end_gradients waits for.
  void run_step(std::int64_t first_sample, const ReadSamples& read_samples);

  /// The sum of the losses of all tokens of this rank's micro-batches, once for the model: 0 unless
  /// this rank computes losses and is the first of its tensor group.
  double loss_sum();

 private:
  /// A micro-batch between its forward pass and its last backward pass through a chunk.
  struct InFlight {
    std::vector<void*> kept;     ///< by layer
    std::vector<void*> pending;  ///< by layer, between the two halves of a split backward pass
    void* tokens = nullptr;
    void* head_gradient = nullptr;
  };

  void forward(const Chunk& chunk, InFlight& flight, std::int64_t first_sample,
               const ReadSamples& read_samples);
  void backward(const Chunk& chunk, InFlight& flight, bool with_weights);
  void backward_weights(const Chunk& chunk, InFlight& flight);
  void embed(const Chunk& chunk, InFlight& flight, const Matrix& output);
  void compute_loss(const Chunk& chunk, InFlight& flight, const Matrix& x);
  void load_samples(std::int64_t first_sample, const ReadSamples& read_samples);
  LayerParameters layer_weights(int unit);
  LayerGradients layer_gradients(int unit);
  const TransformerLayer& layer(int unit) const {
    return layers_[static_cast<std::size_t>(layer_of_unit_[static_cast<std::size_t>(unit)])];
  }
  Matrix residual_at(void* data) const {
    return matrix_at(data, shape_.norm_tokens, shape_.hidden, shape_.dtype);
  }
  int neighbour(int virtual_stage) const { return virtual_stage % pipeline_parallel_; }
  InFlight& in_flight(const Action& action) {
    return in_flight_[static_cast<std::size_t>(action.chunk * num_micro_batches_ +
                                               action.micro_batch)];
  }

  const ShardShape& shape_;
  StagePlan plan_;
  int pipeline_parallel_;
  int num_micro_batches_;
  int data_parallel_;
  int data_rank_;
  int micro_batch_size_;
  Kernels& kernels_;
  Workspace& workspace_;
  ModelStates& states_;
  StepRecorder& recorder_;
  RecordedPasses& passes_;

  Buffer rotary_memory_;
  TensorParallel tensor_parallel_;
  Embedding embedding_;
  LanguageHead head_;
  std::vector<int> layer_of_unit_;
  std::vector<TransformerLayer> layers_;

  BlockPool kept_;
  BlockPool pending_;
  BlockPool tokens_;
  BlockPool head_gradients_;
  Buffer scratch_;
  MessageBuffers activations_out_;
  MessageBuffers gradients_out_;
  Buffer targets_memory_;
  Buffer loss_memory_;  ///< fp64 [1, 1]
  std::vector<std::int32_t> host_inputs_, host_targets_;
  std::vector<InFlight> in_flight_;  ///< [chunk][micro-batch]
};

}  // namespace kumihimo

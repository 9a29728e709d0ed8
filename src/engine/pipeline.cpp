#include "engine/pipeline.hpp"

#include <cmath>
#include <utility>

namespace kumihimo {
namespace {

/// Cosines and sines of every position, in double until the end: [positions, head_dim].
std::vector<float> rotary_table(const ShardShape& shape, double theta) {
  const std::int64_t half = shape.head_dim / 2;
  std::vector<float> table(static_cast<std::size_t>(shape.seq_length * shape.head_dim));
  for (std::int64_t position = 0; position < shape.seq_length; ++position) {
    float* row = table.data() + position * shape.head_dim;
    for (std::int64_t i = 0; i < half; ++i) {
      const double exponent = 2.0 * static_cast<double>(i) / static_cast<double>(shape.head_dim);
      const double angle = static_cast<double>(position) / std::pow(theta, exponent);
      row[i] = static_cast<float>(std::cos(angle));
      row[half + i] = static_cast<float>(std::sin(angle));
    }
  }
  return table;
}

Bytes residual_bytes(const ShardShape& shape) { return size_of(shape, Saved::input).bytes(); }

/// One copy of what is computed again. The forward pass puts there whatever is not kept.
Bytes scratch_bytes(const ShardShape& shape) {
  return block_bytes(shape, Lifetime::scratch, false);
}

float loss_scale(const TrainingJob& job) {
  return static_cast<float>(
      1.0 / (static_cast<double>(job.global_batch_size) * static_cast<double>(job.seq_length)));
}

}  // namespace

Pipeline::Pipeline(const TrainingOptions& options, const ShardShape& shape, StagePlan plan,
                   DeviceMemory& memory, Kernels& kernels, Workspace& workspace,
                   ModelStates& states, LinearProducts& products, RankGroups& groups,
                   StepRecorder& recorder, RecordedPasses& passes)
    : shape_(shape),
      plan_(std::move(plan)),
      pipeline_parallel_(options.layout.pipeline_parallel),
      num_micro_batches_(static_cast<int>(micro_batches_per_step(options))),
      data_parallel_(options.layout.data_parallel),
      data_rank_(groups.place.data),
      micro_batch_size_(options.layout.micro_batch_size),
      kernels_(kernels),
      workspace_(workspace),
      states_(states),
      recorder_(recorder),
      passes_(passes),
      rotary_memory_(memory, MemoryCategory::workspace,
                     shape.positions == Positions::rotary
                         ? shape.seq_length * shape.head_dim * bytes_of(DType::fp32)
                         : 0),
      tensor_parallel_(shape_, *groups.tensor, workspace),
      embedding_(shape_, kernels, workspace, tensor_parallel_),
      head_(shape_, kernels, workspace, tensor_parallel_, loss_scale(options.job)),
      kept_(memory, MemoryCategory::activations,
            block_bytes(shape, Lifetime::kept, plan_.split_backward), plan_.layers_in_flight),
      pending_(memory, MemoryCategory::activations,
               block_bytes(shape, Lifetime::pending, plan_.split_backward), plan_.layers_pending),
      tokens_(memory, MemoryCategory::activations, shape.tokens * bytes_of(DType::int32),
              plan_.inputs_in_flight),
      // What the next stage of the pipeline would have sent.
      head_gradients_(memory, MemoryCategory::communication, residual_bytes(shape),
                      plan_.losses_in_flight),
      scratch_(memory, MemoryCategory::workspace, scratch_bytes(shape)),
      activations_out_(memory, shape.norm_tokens, shape.hidden, shape.dtype,
                       pipeline_parallel_ > 1 ? plan_.forward_messages : 0,
                       *groups.forward_messages),
      gradients_out_(memory, shape.norm_tokens, shape.hidden, shape.dtype,
                     pipeline_parallel_ > 1 ? plan_.backward_messages : 0,
                     *groups.backward_messages),
      targets_memory_(memory, MemoryCategory::workspace, shape.tokens * bytes_of(DType::int32)),
      loss_memory_(memory, MemoryCategory::workspace, bytes_of(DType::fp64)),
      host_inputs_(static_cast<std::size_t>(shape.tokens)),
      host_targets_(static_cast<std::size_t>(shape.tokens)),
      in_flight_(plan_.chunks.size() * static_cast<std::size_t>(num_micro_batches_)) {
  Matrix table;
  if (shape.positions == Positions::rotary) {
    table = matrix_at(rotary_memory_.data(), shape.seq_length, shape.head_dim, DType::fp32);
    kernels.upload(rotary_table(shape, options.job.model.rope_theta).data(), table);
  }
  layer_of_unit_.resize(states.units().size(), -1);
  for (const Chunk& chunk : plan_.chunks) {
    for (const int unit : chunk.layers) {
      const int index = static_cast<int>(layers_.size());
      layer_of_unit_[static_cast<std::size_t>(unit)] = index;
      layers_.emplace_back(shape_, index, kernels, workspace, products, tensor_parallel_, table);
    }
  }
}

void Pipeline::run_step(std::int64_t first_sample, const ReadSamples& read_samples) {
  const double zero = 0;
  kernels_.upload(&zero, matrix_at(loss_memory_.data(), 1, 1, DType::fp64));
  for (const Action& action : plan_.actions) {
    const Chunk& chunk = plan_.chunks[static_cast<std::size_t>(action.chunk)];
    InFlight& flight = in_flight(action);
    recorder_.set_micro_batch(action.micro_batch);
    switch (action.kind) {
      case ActionKind::forward: {
        const std::int64_t before = std::int64_t{action.micro_batch} * data_parallel_ + data_rank_;
        forward(chunk, flight, first_sample + before * micro_batch_size_, read_samples);
        break;
      }
      case ActionKind::backward: backward(chunk, flight, true); break;
      case ActionKind::backward_input: backward(chunk, flight, false); break;
      case ActionKind::backward_weight: backward_weights(chunk, flight); break;
    }
  }
  recorder_.set_micro_batch(-1);
  activations_out_.finish_all();
  gradients_out_.finish_all();
}

double Pipeline::loss_sum() {
  double sum = 0;
  kernels_.download(matrix_at(loss_memory_.data(), 1, 1, DType::fp64), &sum);
  return shape_.tensor_rank == 0 ? sum : 0;
}

void Pipeline::load_samples(std::int64_t first_sample, const ReadSamples& read_samples) {
  const StepRecorder::Span span(recorder_, Activity::data_loading);
  read_samples(first_sample, host_inputs_, host_targets_);
}

LayerParameters Pipeline::layer_weights(int unit) {
  return layer_parameters_in(states_.units()[static_cast<std::size_t>(unit)],
                             states_.use_weights(unit));
}

LayerGradients Pipeline::layer_gradients(int unit) {
  const GradientSums sums = states_.gradients(unit);
  return {layer_parameters_in(states_.units()[static_cast<std::size_t>(unit)], sums.flat),
          sums.products};
}

// --- Forward

void Pipeline::forward(const Chunk& chunk, InFlight& flight, std::int64_t first_sample,
                       const ReadSamples& read_samples) {
  const Workspace::Scope scope(workspace_);
  if (chunk.first || chunk.last) load_samples(first_sample, read_samples);
  for (std::size_t i = 0; i < chunk.layers.size(); ++i) flight.kept.push_back(kept_.acquire());

  const Matrix output = chunk.last
                            ? workspace_.take(shape_.norm_tokens, shape_.hidden, shape_.dtype)
                            : activations_out_.acquire();
  const auto input_of = [&](std::size_t i) {  // of layer i, or what follows the last one
    return i < flight.kept.size() ? residual_at(flight.kept[i]) : output;
  };
  if (chunk.first) {
    embed(chunk, flight, input_of(0));
  } else {
    activations_out_.receive(input_of(0), neighbour(chunk.virtual_stage - 1 + pipeline_parallel_));
  }
  for (std::size_t i = 0; i < chunk.layers.size(); ++i) {
    const int unit = chunk.layers[i];
    const LayerActivations saved =
        bind_activations(shape_, false, {flight.kept[i], scratch_.data(), nullptr});
    const LayerParameters weights = layer_weights(unit);
    const Matrix into = input_of(i + 1);
    passes_.run({Pass::forward, unit, {flight.kept[i], into.data, weights.qkv.data}},
                [&] { layer(unit).forward(weights, saved, into); });
  }
  if (chunk.last) {
    compute_loss(chunk, flight, output);
  } else {
    activations_out_.send(neighbour(chunk.virtual_stage + 1));
  }
}

void Pipeline::embed(const Chunk& chunk, InFlight& flight, const Matrix& output) {
  flight.tokens = tokens_.acquire();
  const Matrix tokens = matrix_at(flight.tokens, shape_.tokens, 1, DType::int32);
  kernels_.upload(host_inputs_.data(), tokens);
  const auto& units = states_.units();
  const auto table = static_cast<std::size_t>(chunk.table);
  const Matrix table_weights = matrix_in(units[table], states_.use_weights(chunk.table));
  Matrix positions;
  if (chunk.positions >= 0) {
    positions = matrix_in(units[static_cast<std::size_t>(chunk.positions)],
                          states_.use_weights(chunk.positions));
  }
  embedding_.forward(tokens, table_weights, positions, output);
}

void Pipeline::compute_loss(const Chunk& chunk, InFlight& flight, const Matrix& x) {
  const Matrix targets = matrix_at(targets_memory_.data(), shape_.tokens, 1, DType::int32);
  kernels_.upload(host_targets_.data(), targets);
  flight.head_gradient = head_gradients_.acquire();
  const ParameterUnit& norm = states_.units()[static_cast<std::size_t>(chunk.final_norm)];
  const ParameterUnit& head = states_.units()[static_cast<std::size_t>(chunk.head)];
  const NormParameters norm_weights =
      norm_parameters_in(norm, states_.use_weights(chunk.final_norm));
  const LanguageHead::Weights weights{norm_weights,
                                      matrix_in(head, states_.use_weights(chunk.head))};
  const GradientSums head_sums = states_.gradients(chunk.head);
  const LanguageHead::Gradients gradients{
      {norm_parameters_in(norm, states_.gradients(chunk.final_norm).flat),
       matrix_in(head, head_sums.flat)},
      head_sums.products};
  const Matrix d_x = residual_at(flight.head_gradient);
  passes_.run({Pass::head,
               chunk.head,
               {x.data, d_x.data, weights.norm.weight.data, weights.head.data,
                gradients.norm.weight.data, gradients.head.data},
               gradients.product},
              [&] {
                head_.run(x, targets, weights, gradients, d_x,
                          matrix_at(loss_memory_.data(), 1, 1, DType::fp64));
              });
  states_.finish_gradients(chunk.final_norm);
  states_.finish_gradients(chunk.head);
}

// --- Backward

void Pipeline::backward(const Chunk& chunk, InFlight& flight, bool with_weights) {
  // The gradient of the residual stream, in one piece of memory from the end of the chunk to its
  // start, from where it goes on to the previous stage.
  Matrix gradient;
  if (chunk.last) {
    gradient = residual_at(flight.head_gradient);
    if (!chunk.first) {
      const Matrix& message = gradients_out_.acquire();
      kernels_.copy(gradient, message);
      gradient = message;
    }
  } else {
    const Workspace::Scope scope(workspace_);
    gradient = gradients_out_.acquire();
    gradients_out_.receive(gradient, neighbour(chunk.virtual_stage + 1));
  }

  for (std::size_t i = chunk.layers.size(); i-- > 0;) {
    const int unit = chunk.layers[i];
    if (!with_weights) flight.pending.push_back(pending_.acquire());
    void* const pending = with_weights ? nullptr : flight.pending.back();
    const LayerActivations saved =
        bind_activations(shape_, plan_.split_backward, {flight.kept[i], scratch_.data(), pending});
    const LayerParameters weights = layer_weights(unit);
    if (shape_.recompute != Recompute::none) {
      passes_.run({Pass::recompute, unit, {flight.kept[i], weights.qkv.data}},
                  [&] { layer(unit).recompute(weights, saved); });
    }
    const LayerGradients gradients = layer_gradients(unit);
    passes_.run(
        {with_weights ? Pass::backward : Pass::backward_input,
         unit,
         {flight.kept[i], pending, gradient.data, weights.qkv.data, gradients.qkv.data},
         gradients.products},
        [&] { layer(unit).backward(weights, saved, gradients, gradient, gradient, with_weights); });
    if (with_weights) states_.finish_gradients(unit);
  }

  if (chunk.first) {
    const auto& units = states_.units();
    const auto gradients_of = [&](int unit) {
      return unit < 0
                 ? Matrix{}
                 : matrix_in(units[static_cast<std::size_t>(unit)], states_.gradients(unit).flat);
    };
    embedding_.backward(matrix_at(flight.tokens, shape_.tokens, 1, DType::int32), gradient,
                        gradients_of(chunk.table), gradients_of(chunk.positions));
    states_.finish_gradients(chunk.table);
    if (chunk.positions >= 0) states_.finish_gradients(chunk.positions);
    tokens_.release(std::exchange(flight.tokens, nullptr));
  } else {
    gradients_out_.send(neighbour(chunk.virtual_stage - 1 + pipeline_parallel_));
  }
  if (chunk.last) head_gradients_.release(std::exchange(flight.head_gradient, nullptr));
  if (with_weights) kept_.release_all(flight.kept);
}

void Pipeline::backward_weights(const Chunk& chunk, InFlight& flight) {
  for (std::size_t i = chunk.layers.size(); i-- > 0;) {
    const int unit = chunk.layers[i];
    void* const pending = flight.pending[chunk.layers.size() - 1 - i];
    const LayerActivations saved =
        bind_activations(shape_, true, {flight.kept[i], scratch_.data(), pending});
    const LayerGradients gradients = layer_gradients(unit);
    passes_.run({Pass::backward_weights,
                 unit,
                 {flight.kept[i], pending, gradients.qkv.data},
                 gradients.products},
                [&] { layer(unit).backward_weights(saved, gradients); });
    states_.finish_gradients(unit);
  }
  pending_.release_all(flight.pending);
  kept_.release_all(flight.kept);
}

}  // namespace kumihimo

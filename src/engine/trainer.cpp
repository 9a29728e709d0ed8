#include "engine/trainer.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "engine/measured_kernels.hpp"
#include "engine/tensor_files.hpp"
#include "tensor/gpu.hpp"

namespace kumihimo {
namespace {

constexpr int most_numbers = 64;
constexpr int times_of_a_rank = static_cast<int>(all_activities.size()) + 1;  ///< and overlapped_s
constexpr int steps_to_settle = 2;
/// First values that pass through the workspace at once: it stays as large as it has ever been.
constexpr std::int64_t values_at_once = std::int64_t{1} << 20;

Schedule schedule_of(const TrainingOptions& options) {
  return *make_schedule(options.job, options.layout);
}

std::vector<int> layers_of(const std::vector<ParameterUnit>& units) {
  std::vector<int> layers;
  for (const ParameterUnit& unit : units) {
    if (unit.kind == UnitKind::layer) layers.push_back(unit.layer);
  }
  return layers;
}

/// Before an update: it would spoil the weights, and whatever is saved of them.
void check_finite(std::string_view what, double value, std::int64_t step) {
  if (std::isfinite(value)) return;
  throw TrainingFailure(fmt::format(
      "the {} of step {} is {}: lower --learning-rate or raise --warmup, and resume from the last "
      "saved state",
      what, step + 1, std::isnan(value) ? "not a number" : "infinite"));
}

std::vector<bool> bf16_layers(const TrainingOptions& options, const std::vector<int>& layers) {
  std::vector<bool> result;
  for (const int layer : layers) {
    const bool edge = layer == 0 || layer == options.job.model.layers - 1;
    result.push_back(options.fp8.edges_in_bf16 && edge);
  }
  return result;
}

}  // namespace

Expected<std::unique_ptr<Kernels>> try_kernels(Backend backend, int threads, Workspace& workspace) {
  switch (backend) {
    case Backend::reference: return make_reference_kernels(workspace);
    case Backend::cpu: return make_cpu_kernels(workspace, threads);
    case Backend::cuda: break;  // made by the world's device
  }
  KUMIHIMO_CHECK(false);
}

std::unique_ptr<Kernels> make_kernels(Backend backend, int threads, Workspace& workspace) {
  auto kernels = try_kernels(backend, threads, workspace);
  if (!kernels) throw std::runtime_error(to_string(kernels.errors()));
  return *std::move(kernels);
}

Trainer::Trainer(World& world, const TrainingOptions& options, ReadSamples read_samples)
    : options_(options),
      world_(world),
      read_samples_(std::move(read_samples)),
      memory_(memory_of(world.gpu()), options.device_memory),
      host_memory_(host_memory_for(world.gpu())),
      workspace_(memory_),
      recorder_(world.clock()),
      kernels_(measured(world.gpu() != nullptr
                            ? world.gpu()->make_kernels(workspace_)
                            : make_kernels(options.backend, options.threads_per_rank, workspace_),
                        recorder_)),
      groups_(make_rank_groups(world, options_, recorder_)),
      passes_(options.record_passes && world.gpu() != nullptr ? &world.gpu()->queue() : nullptr,
              memory_, workspace_, recorder_),
      numbers_(memory_, MemoryCategory::workspace,
               std::max<std::int64_t>(most_numbers, times_of_a_rank * world.size()) *
                   bytes_of(DType::fp64)) {
  KUMIHIMO_CHECK(world.size() == options.layout.devices());
  shape_ = shard_shape(options_, groups_.place.tensor);
  std::vector<ParameterUnit> units = parameter_units(options_, groups_.place);
  StagePlan plan = plan_stages(schedule_of(options_), groups_.place.pipeline, units);
  const std::vector<int> layers = layers_of(units);
  const RankMemory memory{memory_, host_memory_, world.gpu()};
  states_ =
      std::make_unique<ModelStates>(options_, std::move(units), plan.use_order, plan.gradient_uses,
                                    memory, *kernels_, workspace_, groups_, recorder_);
  products_ = std::make_unique<LinearProducts>(
      *kernels_, memory_, workspace_, options_.layout.precision, options_.fp8,
      static_cast<int>(layers.size()), bf16_layers(options_, layers));
  pipeline_ =
      std::make_unique<Pipeline>(options_, shape_, std::move(plan), memory_, *kernels_, workspace_,
                                 *states_, *products_, groups_, recorder_, passes_);
  initialise_weights();
}

Trainer::~Trainer() { groups_.stream.reset(); }

void Trainer::initialise_weights() {
  std::vector<float> values;
  for (int unit = 0; unit < std::ssize(states_->units()); ++unit) {
    for (const OwnedPiece& piece : states_->owned_pieces(unit)) {
      values.resize(static_cast<std::size_t>(piece.parameter->elements()));
      initial_values(*piece.parameter, options_.seed, values.data());
      for (const OwnedPiece& part : in_parts(piece, values_at_once)) {
        states_->write_state(unit, part, StateKind::weight, values.data() + part.first);
      }
    }
  }
  states_->spread_weights();
}

StepReport Trainer::run_step() {
  StepReport report;
  report.step = step_;
  recorder_.take_times();
  const double begin_s = recorder_.now_s();

  states_->begin_step();
  pipeline_->run_step(samples_, read_samples_);
  states_->end_gradients();
  report.loss = mean_loss();
  check_finite("loss", report.loss, step_);
  report.gradient_norm = states_->gradient_norm();
  check_finite("gradient norm", report.gradient_norm, step_);
  report.learning_rate = learning_rate_at(options_.learning_rate, step_);
  states_->update(step_, report.learning_rate, clip(report.gradient_norm));
  end_fp8_step();

  ++step_;
  samples_ += options_.job.global_batch_size;
  summarise(report, begin_s);
  // The first steps have shown how much room temporaries take.
  if (++steps_here_ == steps_to_settle) workspace_.settle();
  return report;
}

double Trainer::mean_loss() {
  std::vector<double> sum{pipeline_->loss_sum()};
  reduce_over_all(sum, Reduction::sum);
  return sum[0] / (static_cast<double>(options_.job.global_batch_size) *
                   static_cast<double>(options_.job.seq_length));
}

/// As PyTorch's clip_grad_norm_ counts.
double Trainer::clip(double norm) const {
  const double limit = options_.optimizer.clip_norm;
  return limit > 0 ? std::min(1.0, limit / (norm + 1e-6)) : 1.0;
}

/// Ranks that hold parts of one tensor agree on its largest magnitude.
void Trainer::end_fp8_step() {
  const Matrix maxima = products_->step_maxima();
  if (maxima.elements() == 0) return;
  groups_.stage_peers->all_reduce(maxima, Reduction::max);
  products_->end_step();
}

void Trainer::reduce_over_all(std::vector<double>& values, Reduction reduction) {
  KUMIHIMO_CHECK(std::ssize(values) <= most_numbers);
  const Matrix numbers = matrix_at(numbers_.data(), 1, std::ssize(values), DType::fp64);
  kernels_->upload(values.data(), numbers);
  groups_.all->all_reduce(numbers, reduction);
  kernels_->download(numbers, values.data());
}

std::vector<StepTimes> Trainer::times_of_all_ranks(const StepTimes& own) {
  const int ranks = world_.size();
  std::vector<double> values(static_cast<std::size_t>(times_of_a_rank * ranks));
  std::copy(own.seconds.begin(), own.seconds.end(), values.begin());
  values[own.seconds.size()] = own.overlapped_s;
  const Matrix whole = matrix_at(numbers_.data(), ranks, times_of_a_rank, DType::fp64);
  const Matrix part = rows_of(whole, world_.rank(), 1);
  kernels_->upload(values.data(), part);
  groups_.all->all_gather(part, whole);
  kernels_->download(whole, values.data());

  std::vector<StepTimes> times(static_cast<std::size_t>(ranks));
  auto next = values.begin();
  for (StepTimes& of_rank : times) {
    std::copy_n(next, of_rank.seconds.size(), of_rank.seconds.begin());
    of_rank.overlapped_s = next[times_of_a_rank - 1];
    next += times_of_a_rank;
  }
  return times;
}

void Trainer::summarise(StepReport& report, double begin_s) {
  const double step_time_s = recorder_.now_s() - begin_s;
  report.rank_times = times_of_all_ranks(recorder_.take_times());
  for (const StepTimes& times : report.rank_times) {
    for (const Activity activity : all_activities) {
      report.mean_times[activity] += times[activity] / world_.size();
    }
    report.mean_times.overlapped_s += times.overlapped_s / world_.size();
  }

  std::vector<double> most{step_time_s, static_cast<double>(memory_.peak_total()),
                           static_cast<double>(host_memory_.peak_total())};
  for (const Bytes bytes : memory_.peak().bytes) most.push_back(static_cast<double>(bytes));
  reduce_over_all(most, Reduction::max);
  report.step_time_s = most[0];
  report.peak_memory_total = static_cast<Bytes>(most[1]);
  report.offloaded_memory = static_cast<Bytes>(most[2]);
  for (std::size_t i = 0; i < all_memory_categories.size(); ++i) {
    report.peak_memory.bytes[i] = static_cast<Bytes>(most[3 + i]);
  }
}

void Trainer::resume_at(std::int64_t step, std::int64_t samples) {
  step_ = step;
  samples_ = samples;
}

std::vector<int> Trainer::layers_of_this_rank() const { return layers_of(states_->units()); }

}  // namespace kumihimo

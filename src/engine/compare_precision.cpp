#include "engine/compare_precision.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include "comm/world.hpp"
#include "engine/trainer.hpp"

namespace kumihimo {
namespace {

constexpr double smoothing = 0.9;

/// What a cosine is made of; sums over parts add up.
struct DotProducts {
  double mixed = 0, first = 0, second = 0;

  void add(const DotProducts& other) {
    mixed += other.mixed;
    first += other.first;
    second += other.second;
  }
  double cosine() const {
    if (first == 0 && second == 0) return 1;
    // The product of the two sums themselves could underflow.
    const double lengths = std::sqrt(first) * std::sqrt(second);
    return lengths > 0 ? mixed / lengths : 0;
  }
};

struct TensorKey {
  int layer = 0;
  int role = 0;
  int operand = 0;
  auto operator<=>(const TensorKey&) const = default;
};

/// What one rank has seen of both trainings. Each rank writes its own: they are put together, in
/// the order of ranks, when all threads have ended.
struct RankRecord {
  std::vector<std::array<double, 2>> losses;
  std::vector<DotProducts> by_step;
  std::map<std::string, DotProducts> by_parameter;
  std::array<std::map<TensorKey, Fp8CastCounts>, 2> tensors;
  std::array<std::string, 2> failures;
};

DotProducts dot_products(const std::vector<float>& a, const std::vector<float>& b) {
  DotProducts sums;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double x = a[i], y = b[i];
    sums.add({x * y, x * x, y * y});
  }
  return sums;
}

/// Of what this rank holds of the last step's gradients: a piece at a time, never the whole model.
void record_gradients(Trainer& a, Trainer& b, RankRecord& record) {
  DotProducts all;
  std::vector<float> first, second;
  for (int unit = 0; unit < std::ssize(a.states().units()); ++unit) {
    const std::vector<OwnedPiece> pieces = a.states().pieces_to_save(unit);
    for (const OwnedPiece& piece : pieces) {
      first.resize(static_cast<std::size_t>(piece.count));
      second.resize(first.size());
      // Both have the same pieces: precision does not enter into what a rank owns.
      a.states().read_gradient(unit, piece, first.data());
      b.states().read_gradient(unit, piece, second.data());
      const DotProducts sums = dot_products(first, second);
      record.by_parameter[piece.parameter->name].add(sums);
      all.add(sums);
    }
  }
  record.by_step.push_back(all);
}

void add(Fp8CastCounts& sum, const Fp8CastCounts& counts) {
  sum.elements += counts.elements;
  sum.overflowed += counts.overflowed;
  sum.underflowed += counts.underflowed;
}

void record_casts(const Trainer& trainer, std::map<TensorKey, Fp8CastCounts>& tensors) {
  if (!trainer.products().uses_fp8()) return;
  const std::vector<int> layers = trainer.layers_of_this_rank();
  for (int layer = 0; layer < std::ssize(layers); ++layer) {
    for (int role = 0; role < linear_roles; ++role) {
      for (int operand = 0; operand < fp8_operands; ++operand) {
        const Fp8Tensor& tensor = trainer.products().tensor({layer, static_cast<LinearRole>(role)},
                                                            static_cast<Fp8Operand>(operand));
        if (tensor.last_counts.elements == 0) continue;  // stays in bf16
        add(tensors[{layers[static_cast<std::size_t>(layer)], role, operand}], tensor.last_counts);
      }
    }
  }
}

PrecisionStep step_of(std::int64_t step, const std::array<double, 2>& losses,
                      const DotProducts& gradients) {
  return {.step = step,
          .losses = losses,
          .gap = (losses[1] - losses[0]) / losses[0],
          .smoothed_gap = 0,
          .gradient_cosine = gradients.cosine()};
}

/// Running means begin at nothing; dividing by the weights so far takes that out.
void smooth(std::vector<PrecisionStep>& steps) {
  double sum = 0, weights = 0;
  for (PrecisionStep& step : steps) {
    sum = smoothing * sum + step.gap;
    weights = smoothing * weights + 1;
    step.smoothed_gap = sum / weights;
  }
}

double mean_gap_of_last_quarter(const std::vector<PrecisionStep>& steps) {
  if (steps.empty()) return 0;
  const std::size_t count = (steps.size() + 3) / 4;
  double sum = 0;
  for (std::size_t i = steps.size() - count; i < steps.size(); ++i) sum += std::abs(steps[i].gap);
  return sum / static_cast<double>(count);
}

std::vector<Fp8TensorCounts> tensor_counts(const std::vector<RankRecord>& records,
                                           std::size_t which) {
  std::map<TensorKey, Fp8CastCounts> sums;
  for (const RankRecord& record : records) {
    for (const auto& [key, counts] : record.tensors[which]) add(sums[key], counts);
  }
  std::vector<Fp8TensorCounts> result;
  for (const auto& [key, counts] : sums) {
    result.push_back({key.layer, static_cast<LinearRole>(key.role),
                      static_cast<Fp8Operand>(key.operand), counts});
  }
  return result;
}

PrecisionComparison summary(const PrecisionComparisonOptions& options,
                            const std::vector<RankRecord>& records) {
  PrecisionComparison result;
  result.precisions = options.precisions;
  result.tolerance = options.tolerance;
  result.failures = records.front().failures;
  for (std::size_t step = 0; step < records.front().losses.size(); ++step) {
    DotProducts gradients;
    for (const RankRecord& record : records) gradients.add(record.by_step[step]);
    result.steps.push_back(
        step_of(static_cast<std::int64_t>(step), records.front().losses[step], gradients));
  }
  smooth(result.steps);
  result.mean_gap = mean_gap_of_last_quarter(result.steps);
  const auto beyond = std::ranges::find_if(result.steps, [&](const PrecisionStep& step) {
    return std::abs(step.gap) > options.tolerance;
  });
  if (beyond != result.steps.end()) result.first_step_beyond = beyond->step;

  std::map<std::string, DotProducts> parameters;
  for (const RankRecord& record : records) {
    for (const auto& [name, sums] : record.by_parameter) parameters[name].add(sums);
  }
  for (const auto& [name, sums] : parameters) result.parameters.push_back({name, sums.cosine()});
  for (std::size_t i = 0; i < result.tensors.size(); ++i) {
    result.tensors[i] = tensor_counts(records, i);
  }
  return result;
}

TrainingOptions with_precision(TrainingOptions options, Precision precision) {
  options.layout.precision = precision;
  return options;
}

double share(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

double Fp8TensorCounts::overflow_share() const { return share(counts.overflowed, counts.elements); }

double Fp8TensorCounts::underflow_share() const {
  return share(counts.underflowed, counts.elements);
}

bool PrecisionComparison::uses_fp8() const {
  return std::ranges::find(precisions, Precision::fp8) != precisions.end();
}

bool PrecisionComparison::within_tolerance() const {
  return failures[0].empty() && failures[1].empty() && mean_gap <= tolerance;
}

PrecisionComparison compare_precision(const PrecisionComparisonOptions& options,
                                      const ReadSamples& read_samples,
                                      const OnPrecisionStep& on_step, const PlaceRank& place) {
  KUMIHIMO_CHECK(options.steps >= 1);
  const auto ranks = static_cast<int>(options.training.layout.devices());
  std::vector<RankRecord> records(static_cast<std::size_t>(ranks));
  run_threads(ranks, [&](World& host) {
    const std::shared_ptr<World> placed = place ? place(host) : nullptr;
    World& world = placed ? *placed : host;
    RankRecord& record = records[static_cast<std::size_t>(world.rank())];
    Trainer a(world, with_precision(options.training, options.precisions[0]), read_samples);
    Trainer b(world, with_precision(options.training, options.precisions[1]), read_samples);
    const std::array<Trainer*, 2> trainers{&a, &b};
    for (std::int64_t step = 0; step < options.steps; ++step) {
      std::array<double, 2> losses{};
      bool failed = false;
      for (std::size_t i = 0; i < trainers.size(); ++i) {
        try {
          losses[i] = trainers[i]->run_step().loss;
        } catch (const TrainingFailure& failure) {  // all ranks throw it alike, and end here
          record.failures[i] = failure.what();
          failed = true;
        }
      }
      if (failed) return;
      record.losses.push_back(losses);
      record_gradients(a, b, record);
      for (std::size_t i = 0; i < trainers.size(); ++i) {
        record_casts(*trainers[i], record.tensors[i]);
      }
      if (on_step && world.rank() == 0) on_step(step, losses);
    }
  });
  return summary(options, records);
}

}  // namespace kumihimo

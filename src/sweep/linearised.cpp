#include "sweep/linearised.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <thread>

#include "cost/stack_choice.hpp"
#include "search/parallel.hpp"

namespace kumihimo {
namespace {

using Eigen::VectorXd;

/// How fast likeness is lost: for each doubling of a degree, for each other choice.
constexpr double loss_per_doubling = 0.25, loss_per_choice = 0.3;
/// A parameter that the shipped profile knows from other runs may still differ here.
constexpr double transfer_spread = 0.10;

double doublings(int a, int b) {
  return std::abs(std::log2(static_cast<double>(a)) - std::log2(static_cast<double>(b)));
}

/// Whether its spreads are those of kernels and links that were timed on that cluster.
bool is_measured(const StackProfile& base, const Cluster& cluster) {
  return base.evidence.empty() && !base.spreads.empty() && base.cluster == cluster.name;
}

double prior_spread(const ProfileParameter& parameter, const StackProfile& base, bool known_here) {
  const auto known = std::ranges::find(base.spreads, parameter.key, &ParameterSpread::key);
  if (!known_here || known == base.spreads.end()) return parameter.prior_spread;
  return std::min(parameter.prior_spread, std::hypot(known->log_spread, transfer_spread));
}

Eigen::Index parameter_count() { return static_cast<Eigen::Index>(profile_parameters().size()); }

const ProfileParameter& parameter_at(Eigen::Index i) {
  return profile_parameters()[static_cast<std::size_t>(i)];
}

}  // namespace

double likeness(const ParallelLayout& a, const ParallelLayout& b) {
  double distance =
      loss_per_doubling * (doublings(a.tensor_parallel, b.tensor_parallel) +
                           doublings(a.pipeline_parallel, b.pipeline_parallel) +
                           doublings(a.data_parallel, b.data_parallel) +
                           doublings(a.context_parallel, b.context_parallel) +
                           doublings(a.micro_batch_size, b.micro_batch_size) +
                           doublings(a.virtual_stages_per_rank, b.virtual_stages_per_rank));
  const auto choice = [&](auto x, auto y) { distance += x == y ? 0 : loss_per_choice; };
  choice(a.schedule, b.schedule);
  choice(a.recompute, b.recompute);
  choice(a.sequence_parallel, b.sequence_parallel);
  choice(a.zero_stage, b.zero_stage);
  choice(a.attention, b.attention);
  choice(a.norm, b.norm);
  choice(a.precision, b.precision);
  choice(a.overlap_data_parallel, b.overlap_data_parallel);
  choice(a.offload.any(), b.offload.any());
  return std::exp(-distance);
}

bool is_proven(const StackProfile& base, const Cluster& cluster) {
  return !base.evidence.empty() && !measured_elsewhere(base, cluster);
}

Lineariser::Lineariser(const StackProfile& base, const StackProfile& fitted, const Cluster& cluster)
    : fitted_(fitted), from_base_(VectorXd::Zero(parameter_count())) {
  const bool known_here = is_proven(base, cluster) || is_measured(base, cluster);
  for (Eigen::Index i = 0; i < parameter_count(); ++i) {
    const ProfileParameter& parameter = parameter_at(i);
    const double value = fitted.*parameter.member;
    // Away from the bound that is nearer.
    double step = 0.05;
    if (value * std::exp(step) > parameter.upper) step = -step;
    steps_.push_back(step);
    spreads_.push_back(prior_spread(parameter, base, known_here));
    const double from = std::log(value / (base.*parameter.member));
    from_base_[i] = std::isfinite(from) ? from / spreads_.back() : 0;
  }
}

Linearised Lineariser::operator()(const Candidate& candidate) const {
  const Prediction here = predict(candidate, fitted_);
  Linearised result{std::log(here.step_s), std::log(here.peak_memory_bytes),
                    VectorXd::Zero(parameter_count()), VectorXd::Zero(parameter_count())};
  for (Eigen::Index i = 0; i < parameter_count(); ++i) {
    const auto index = static_cast<std::size_t>(i);
    StackProfile moved = fitted_;
    moved.*parameter_at(i).member *= std::exp(steps_[index]);
    const Prediction there = predict(candidate, moved);
    const double scale = spreads_[index] / steps_[index];
    result.step_slopes[i] = (std::log(there.step_s) - result.log_step_s) * scale;
    result.memory_slopes[i] = (std::log(there.peak_memory_bytes) - result.log_memory) * scale;
  }
  return result;
}

std::vector<Linearised> Lineariser::all(std::span<const Candidate> candidates,
                                        std::span<const std::size_t> which) const {
  std::vector<Linearised> result(candidates.size());
  const auto cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  for_each_in_parallel(std::ssize(which), cores, [&](int, std::int64_t item) {
    const std::size_t i = which[static_cast<std::size_t>(item)];
    result[i] = (*this)(candidates[i]);
  });
  return result;
}

std::vector<std::size_t> most_promising(const StudySoFar& study, std::span<const double> log_step_s,
                                        std::size_t most) {
  std::vector<std::size_t> order(study.candidates.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (order.size() <= most) return order;
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return log_step_s[i]; });
  order.resize(most);
  for (const TriedCandidate& trial : study.tried) {
    if (std::ranges::find(order, trial.candidate) == order.end()) {
      order.push_back(trial.candidate);
    }
  }
  return order;
}

}  // namespace kumihimo

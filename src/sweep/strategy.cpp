#include "sweep/strategy.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <numeric>
#include <random>

#include "base/units.hpp"

namespace kumihimo {
namespace {

/// In the given order until nothing is left.
class Ordered : public Strategy {
 public:
  explicit Ordered(std::optional<std::uint64_t> seed) : seed_(seed) {}

  Choice next(const StudySoFar& study) override {
    if (order_.empty()) fill(study.candidates.size());
    for (const std::size_t i : order_) {
      if (!study.done[i]) return {.candidate = i, .reason = "next in order"};
    }
    return {.reason = "every layout was tried"};
  }

 private:
  void fill(std::size_t count) {
    order_.resize(count);
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    if (!seed_) return;
    // std::shuffle differs between libraries; the same seed shall mean the same order.
    std::mt19937_64 numbers(*seed_);
    for (std::size_t i = count; i > 1; --i) std::swap(order_[i - 1], order_[numbers() % i]);
  }

  std::optional<std::uint64_t> seed_;
  std::vector<std::size_t> order_;
};

/// Tries what is expected to improve the best most, and thinks again after every trial.
class Guided : public Strategy {
 public:
  explicit Guided(StrategyOptions options) : options_(std::move(options)) {}

  Choice next(const StudySoFar& study) override {
    const std::size_t trials = study.tried.size();
    if (trials <= always_refitted || trials >= fitted_to_ + fitted_to_ / 4) {
      fitted_ = refit(study, options_.base);
      fitted_to_ = trials;
    }
    beliefs_ = believe(study, options_.base, fitted_, options_.beliefs);
    const TriedCandidate* best = study.best();
    return best == nullptr ? most_promising(study)
                           : most_improving(study, std::log(*best->outcome.step_time_s));
  }

  const Beliefs* beliefs() const override { return &beliefs_; }

 private:
  /// Before anything ran: fast, and likely to fit.
  Choice most_promising(const StudySoFar& study) const {
    Choice choice{.reason = "every layout was tried"};
    double least = 0;
    for (std::size_t i = 0; i < study.candidates.size(); ++i) {
      if (study.done[i]) continue;
      const Belief& belief = beliefs_.layouts[i];
      const double cost = belief.log_step_s - std::log(std::max(belief.fits_probability, 1e-12));
      if (choice.candidate && cost >= least) continue;
      least = cost;
      choice = {.candidate = i,
                .reason = fmt::format("predicted fastest: {}",
                                      format_seconds(std::exp(belief.log_step_s)))};
    }
    return choice;
  }

  Choice most_improving(const StudySoFar& study, double best_log_s) const {
    Choice choice;
    for (std::size_t i = 0; i < study.candidates.size(); ++i) {
      if (study.done[i]) continue;
      const double improvement = expected_improvement(beliefs_.layouts[i], best_log_s);
      if (choice.candidate && improvement <= choice.expected_improvement) continue;
      choice.candidate = i;
      choice.expected_improvement = improvement;
    }
    if (!choice.candidate) return {.reason = "every layout was tried"};
    choice.reason =
        fmt::format("expected to improve by {:.2f} %", 100 * choice.expected_improvement);
    if (choice.expected_improvement < options_.tolerance) {
      choice.candidate = std::nullopt;
      choice.reason =
          fmt::format("no layout is expected to improve by {:.2g} %", 100 * options_.tolerance);
    }
    return choice;
  }

  /// A fit to many trials hardly moves with one more.
  static constexpr std::size_t always_refitted = 8;

  StrategyOptions options_;
  StackProfile fitted_;
  std::size_t fitted_to_ = 0;
  Beliefs beliefs_;
};

}  // namespace

std::string_view to_string(StrategyKind kind) {
  return NameTable<StrategyKind>::rows[static_cast<std::size_t>(kind)].name;
}

std::unique_ptr<Strategy> make_strategy(const StrategyOptions& options) {
  switch (options.kind) {
    case StrategyKind::guided: return std::make_unique<Guided>(options);
    case StrategyKind::random: return std::make_unique<Ordered>(options.seed);
    case StrategyKind::exhaustive: return std::make_unique<Ordered>(std::nullopt);
  }
  return nullptr;
}

}  // namespace kumihimo

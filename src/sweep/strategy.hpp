#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "layout/names.hpp"
#include "sweep/beliefs.hpp"

namespace kumihimo {

enum class StrategyKind : std::uint8_t { guided, random, exhaustive };

template <>
struct NameTable<StrategyKind> {
  static constexpr std::array<Named<StrategyKind>, 3> rows{
      {{StrategyKind::guided, "guided"},
       {StrategyKind::random, "random"},
       {StrategyKind::exhaustive, "exhaustive"}}};
};

std::string_view to_string(StrategyKind kind);

/// Why a strategy chose what it did, or stopped.
struct Choice {
  std::optional<std::size_t> candidate;  ///< nothing: stop
  std::string reason;
  double expected_improvement = 0;  ///< as a share of step time; guided only
};

/// Chooses what to try next. It never touches the outside world.
class Strategy {
 public:
  virtual ~Strategy() = default;
  /// Requires `study` to have grown by the outcome of the last choice, if there was one.
  virtual Choice next(const StudySoFar& study) = 0;
  /// What it believes after the last next(); nothing if it does not think.
  virtual const Beliefs* beliefs() const { return nullptr; }
};

struct StrategyOptions {
  StrategyKind kind = StrategyKind::guided;
  std::uint64_t seed = 1;  ///< random only
  StackProfile base;       ///< guided only: where it starts from
  /// Guided stops when no layout is expected to improve the step time by this share.
  double tolerance = 0.001;
  BeliefOptions beliefs;
};

std::unique_ptr<Strategy> make_strategy(const StrategyOptions& options);

}  // namespace kumihimo

#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "calibrate/validation.hpp"

// What knobs do to the speed of measured layouts, and how they depend on one another. Only layouts
// that were measured are compared, and only with those that differ in the knobs in question (data
// parallelism takes up the slack). Effects are of the logarithm of speed: 0.10 is 10 % faster.

namespace kumihimo {

/// The knobs by the keys of parse_layout, and a layout's value of each as text.
std::span<const std::string_view> interaction_knobs();
std::string knob_value(const ParallelLayout& layout, std::string_view knob);

/// From one value of a knob to another, all else equal.
struct MainEffect {
  std::string knob, from, to;
  std::int64_t pairs = 0;  ///< pairs of layouts that differ in this alone
  double mean = 0;
  double least = 0, most = 0;
};

/// How the effect of one knob changes when another does: effect(knob | other = other_to) less
/// effect(knob | other = other_from), over layouts of which all four combinations were measured.
struct Interaction {
  MainEffect effect;  ///< of the first knob, where the other is other_from
  std::string other, other_from, other_to;
  double mean_then = 0;  ///< effect of the first knob where the other is other_to
  std::int64_t quadruples = 0;
  double difference() const { return mean_then - effect.mean; }
};

/// The best layout under one value of a knob.
struct BestUnder {
  std::string value;
  ParallelLayout layout;
  double step_time_s = 0;
  std::int64_t layouts = 0;  ///< that were measured under it
};

/// The best layout changes beyond the knob itself when the knob does.
struct Flip {
  std::string knob;
  BestUnder a, b;
  std::vector<std::string> also;  ///< other knobs that differ: "recompute full -> none"
};

struct InteractionReport {
  RunGroup group;
  std::int64_t layouts = 0;
  std::vector<MainEffect> effects;
  std::vector<Interaction> interactions;  ///< the largest first
  std::vector<Flip> flips;
};

/// One report for each group with four layouts or more that ran. A layout that was measured several
/// times counts with the median.
std::vector<InteractionReport> find_interactions(std::span<const PredictableRun> runs);

}  // namespace kumihimo

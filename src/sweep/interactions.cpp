#include "sweep/interactions.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <fmt/format.h>
#include <optional>

#include "layout/layout_text.hpp"
#include "layout/names.hpp"
#include "sweep/replay.hpp"

namespace kumihimo {
namespace {

constexpr std::array<std::string_view, 11> all_knobs{
    "tp", "pp",   "cp",        "micro-batch", "schedule", "recompute",
    "sp", "zero", "attention", "norm",        "precision"};
constexpr std::size_t least_layouts = 4;

struct Measured {
  ParallelLayout layout;
  double step_time_s = 0;
  std::array<std::string, all_knobs.size()> values;
};

/// The values of all knobs but one or two, as one text: equal texts, comparable layouts.
std::string rest(const Measured& measured, std::size_t without, std::size_t and_without) {
  std::string text;
  for (std::size_t i = 0; i < all_knobs.size(); ++i) {
    if (i != without && i != and_without) text += measured.values[i] + "|";
  }
  return text;
}

/// Values of one knob in the order in which a person would list them.
std::vector<std::string> values_of(const std::vector<Measured>& all, std::size_t knob) {
  std::vector<std::string> values;
  for (const Measured& one : all) {
    if (std::ranges::count(values, one.values[knob]) == 0) values.push_back(one.values[knob]);
  }
  std::ranges::sort(values, [](const std::string& a, const std::string& b) {
    const bool numbers = !a.empty() && !b.empty() && std::isdigit(a[0]) && std::isdigit(b[0]);
    return numbers && a.size() != b.size() ? a.size() < b.size() : a < b;
  });
  return values;
}

/// Seconds by the rest of the layout, for one value of a knob (and of another).
using ByRest = std::map<std::string, double>;
ByRest select(const std::vector<Measured>& all, std::size_t knob, const std::string& value,
              std::size_t other, const std::optional<std::string>& other_value) {
  ByRest selected;
  for (const Measured& one : all) {
    if (one.values[knob] != value) continue;
    if (other_value && one.values[other] != *other_value) continue;
    selected.emplace(rest(one, knob, other_value ? other : knob), one.step_time_s);
  }
  return selected;
}

void add(MainEffect& effect, double gain) {
  effect.least = effect.pairs == 0 ? gain : std::min(effect.least, gain);
  effect.most = effect.pairs == 0 ? gain : std::max(effect.most, gain);
  effect.mean += gain;
  ++effect.pairs;
}

MainEffect effect_between(const ByRest& from, const ByRest& to) {
  MainEffect effect;
  for (const auto& [key, seconds] : from) {
    const auto match = to.find(key);
    if (match != to.end()) add(effect, std::log(seconds / match->second));
  }
  if (effect.pairs > 0) effect.mean /= static_cast<double>(effect.pairs);
  return effect;
}

void find_effects(const std::vector<Measured>& all, InteractionReport& report) {
  for (std::size_t knob = 0; knob < all_knobs.size(); ++knob) {
    const auto values = values_of(all, knob);
    for (std::size_t i = 0; i + 1 < values.size(); ++i) {
      MainEffect effect = effect_between(select(all, knob, values[i], knob, std::nullopt),
                                         select(all, knob, values[i + 1], knob, std::nullopt));
      if (effect.pairs == 0) continue;
      effect.knob = all_knobs[knob];
      effect.from = values[i];
      effect.to = values[i + 1];
      report.effects.push_back(std::move(effect));
    }
  }
}

/// One knob's step between neighbouring values, under two values of another.
std::optional<Interaction> interaction_of(const std::vector<Measured>& all, std::size_t knob,
                                          const std::string& from, const std::string& to,
                                          std::size_t other, const std::string& other_from,
                                          const std::string& other_to) {
  const ByRest a = select(all, knob, from, other, other_from);
  const ByRest b = select(all, knob, to, other, other_from);
  const ByRest c = select(all, knob, from, other, other_to);
  const ByRest d = select(all, knob, to, other, other_to);
  Interaction found{
      .other = std::string(all_knobs[other]), .other_from = other_from, .other_to = other_to};
  for (const auto& [key, seconds] : a) {
    const auto in_b = b.find(key), in_c = c.find(key), in_d = d.find(key);
    if (in_b == b.end() || in_c == c.end() || in_d == d.end()) continue;
    add(found.effect, std::log(seconds / in_b->second));
    found.mean_then += std::log(in_c->second / in_d->second);
  }
  found.quadruples = found.effect.pairs;
  if (found.quadruples == 0) return std::nullopt;
  found.effect.mean /= static_cast<double>(found.quadruples);
  found.mean_then /= static_cast<double>(found.quadruples);
  found.effect.knob = all_knobs[knob];
  found.effect.from = from;
  found.effect.to = to;
  return found;
}

void find_pairs(const std::vector<Measured>& all, InteractionReport& report) {
  for (std::size_t knob = 0; knob < all_knobs.size(); ++knob) {
    const auto values = values_of(all, knob);
    for (std::size_t other = knob + 1; other < all_knobs.size(); ++other) {
      const auto others = values_of(all, other);
      for (std::size_t i = 0; i + 1 < values.size(); ++i) {
        for (std::size_t j = 0; j + 1 < others.size(); ++j) {
          auto found =
              interaction_of(all, knob, values[i], values[i + 1], other, others[j], others[j + 1]);
          if (found) report.interactions.push_back(std::move(*found));
        }
      }
    }
  }
  std::ranges::stable_sort(report.interactions, std::greater{},
                           [](const Interaction& one) { return std::abs(one.difference()); });
}

BestUnder best_under(const std::vector<Measured>& all, std::size_t knob, const std::string& value) {
  BestUnder best{.value = value};
  for (const Measured& one : all) {
    if (one.values[knob] != value) continue;
    if (best.layouts++ == 0 || one.step_time_s < best.step_time_s) {
      best.layout = one.layout;
      best.step_time_s = one.step_time_s;
    }
  }
  return best;
}

void find_flips(const std::vector<Measured>& all, InteractionReport& report) {
  for (std::size_t knob = 0; knob < all_knobs.size(); ++knob) {
    const auto values = values_of(all, knob);
    for (std::size_t i = 0; i + 1 < values.size(); ++i) {
      Flip flip{.knob = std::string(all_knobs[knob]),
                .a = best_under(all, knob, values[i]),
                .b = best_under(all, knob, values[i + 1])};
      for (std::size_t other = 0; other < all_knobs.size(); ++other) {
        if (other == knob) continue;
        const std::string before = knob_value(flip.a.layout, all_knobs[other]);
        const std::string after = knob_value(flip.b.layout, all_knobs[other]);
        if (before != after) {
          flip.also.push_back(fmt::format("{} {} -> {}", all_knobs[other], before, after));
        }
      }
      if (!flip.also.empty()) report.flips.push_back(std::move(flip));
    }
  }
}

}  // namespace

std::span<const std::string_view> interaction_knobs() { return all_knobs; }

std::string knob_value(const ParallelLayout& layout, std::string_view knob) {
  if (knob == "tp") return std::to_string(layout.tensor_parallel);
  if (knob == "pp") return std::to_string(layout.pipeline_parallel);
  if (knob == "cp") return std::to_string(layout.context_parallel);
  if (knob == "micro-batch") return std::to_string(layout.micro_batch_size);
  if (knob == "recompute") return std::string(to_string(layout.recompute));
  if (knob == "sp") return layout.sequence_parallel ? "on" : "off";
  if (knob == "zero") return std::to_string(layout.zero_stage);
  if (knob == "attention") return std::string(to_string(layout.attention));
  if (knob == "norm") return std::string(to_string(layout.norm));
  if (knob == "precision") return std::string(to_string(layout.precision));
  KUMIHIMO_CHECK(knob == "schedule");
  return layout.virtual_stages_per_rank > 1
             ? fmt::format("{} {}", to_string(layout.schedule), layout.virtual_stages_per_rank)
             : std::string(to_string(layout.schedule));
}

std::vector<InteractionReport> find_interactions(std::span<const PredictableRun> runs) {
  std::vector<InteractionReport> reports;
  for (const RecordedGroup& group : recorded_groups(runs, {}, least_layouts)) {
    std::vector<Measured> all;
    for (std::size_t i = 0; i < group.candidates.size(); ++i) {
      if (!group.outcomes[i].ran()) continue;
      Measured one{.layout = group.candidates[i].run.layout,
                   .step_time_s = *group.outcomes[i].step_time_s};
      for (std::size_t knob = 0; knob < all_knobs.size(); ++knob) {
        one.values[knob] = knob_value(one.layout, all_knobs[knob]);
      }
      all.push_back(std::move(one));
    }
    InteractionReport report{.group = group.group,
                             .layouts = static_cast<std::int64_t>(all.size())};
    find_effects(all, report);
    find_pairs(all, report);
    find_flips(all, report);
    reports.push_back(std::move(report));
  }
  return reports;
}

}  // namespace kumihimo

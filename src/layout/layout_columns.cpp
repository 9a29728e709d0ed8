#include "layout/layout_columns.hpp"

#include <algorithm>
#include <fmt/format.h>

#include "layout/layout_text.hpp"
#include "layout/names.hpp"

namespace kumihimo {
namespace {

std::string schedule_value(const ParallelLayout& layout) {
  const std::string name(to_string(layout.schedule));
  if (layout.schedule != ScheduleKind::interleaved) return name;
  return fmt::format("{} {}", name, layout.virtual_stages_per_rank);
}

/// What travels behind compute: "none", "dp", "tp", "dp+tp".
std::string overlap_value(const ParallelLayout& layout) {
  if (!layout.overlap_tensor_parallel) return layout.overlap_data_parallel ? "dp" : "none";
  return layout.overlap_data_parallel ? "dp+tp" : "tp";
}

std::string zero_value(const ParallelLayout& layout) {
  if (layout.zero_group == 0) return std::to_string(layout.zero_stage);
  return fmt::format("{} in {}", layout.zero_stage, layout.zero_group);
}

bool differs(const Knob& knob, const std::vector<ParallelLayout>& layouts) {
  return std::ranges::any_of(layouts, [&](const ParallelLayout& layout) {
    return knob.value(layout) != knob.value(layouts.front());
  });
}

}  // namespace

const std::vector<Knob>& further_knobs() {
  using L = const ParallelLayout&;
  static const std::vector<Knob> knobs{
      {"cp", [](L l) { return std::to_string(l.context_parallel); }},
      {"schedule", schedule_value},
      {"recompute", [](L l) { return std::string(to_string(l.recompute)); }},
      {"sp", [](L l) { return std::string(l.sequence_parallel ? "on" : "off"); }},
      {"zero", zero_value},
      {"attention", [](L l) { return std::string(to_string(l.attention)); }},
      {"norm", [](L l) { return std::string(to_string(l.norm)); }},
      {"precision", [](L l) { return std::string(to_string(l.precision)); }},
      {"gradients", [](L l) { return std::string(to_string(l.gradient_dtype)); }},
      {"overlap", overlap_value},
      {"offload", [](L l) { return to_text(l.offload); }},
  };
  return knobs;
}

std::vector<Knob> differing_knobs(const std::vector<ParallelLayout>& layouts) {
  std::vector<Knob> result;
  std::ranges::copy_if(further_knobs(), std::back_inserter(result),
                       [&](const Knob& knob) { return differs(knob, layouts); });
  return result;
}

std::vector<Knob> shared_knobs(const std::vector<ParallelLayout>& layouts) {
  std::vector<Knob> result;
  std::ranges::copy_if(further_knobs(), std::back_inserter(result), [&](const Knob& knob) {
    return !layouts.empty() && !differs(knob, layouts);
  });
  return result;
}

std::string shared_knobs_text(const std::vector<ParallelLayout>& layouts) {
  std::string text;
  for (const Knob& knob : shared_knobs(layouts)) {
    text +=
        fmt::format("{}{} {}", text.empty() ? "" : ", ", knob.title, knob.value(layouts.front()));
  }
  return text;
}

}  // namespace kumihimo

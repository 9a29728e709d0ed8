#include "cli/stated_layout.hpp"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <iterator>
#include <sstream>

#include "layout/layout_text.hpp"
#include "layout/names.hpp"
#include "layout/validate.hpp"
#include "search/pipeline_shape.hpp"
#include "search/search_space.hpp"

namespace kumihimo {
namespace {

/// Stating a setting a second time is a fault exactly if it was stated before.
bool states(const std::string& layout, const std::string& setting) {
  return parse_layout(layout).has_value() && !parse_layout(layout + " " + setting).has_value();
}

/// Whether the text names all that to_text() names of every layout, as what plan prints does: then
/// the rest stands at ParallelLayout's own values, whatever the stack does.
bool states_whole_layout(const std::string& text) {
  std::istringstream always_named(to_text(ParallelLayout()));
  return std::all_of(std::istream_iterator<std::string>(always_named), {},
                     [&](const std::string& setting) { return states(text, setting); });
}

/// What the layout's text leaves open, set as the stack does it: settings, a space before each.
std::string stack_defaults(const std::string& text, const PlannedJob& planned) {
  if (states_whole_layout(text)) return "";
  const FrameworkDefaults& defaults = planned.profile.defaults;
  const Expected<ParallelLayout> stated = parse_layout(text);
  const bool splits_layers = stated && stated->tensor_parallel > 1;
  const auto truth = [](bool value) { return value ? "true" : "false"; };
  const bool states_precision = stated && states(text, "precision=bf16");
  const Precision precision =
      states_precision ? stated->precision : default_precision(planned.cluster.device, defaults);
  const std::array settings{
      fmt::format("recompute={}", to_string(defaults.recompute)),
      fmt::format("sp={}", truth(splits_layers && defaults.sequence_parallel)),
      fmt::format("zero={}", defaults.zero_stage),
      fmt::format("attention={}",
                  to_string(default_attention(planned.cluster.device, defaults, precision,
                                              planned.job.model.head_dim))),
      fmt::format("norm={}", to_string(defaults.norm)),
      fmt::format("precision={}", to_string(precision)),
      fmt::format("overlap-dp={}", truth(defaults.overlap_data_parallel)),
      fmt::format("overlap-tp={}", truth(splits_layers && defaults.overlap_tensor_parallel)),
  };
  std::string added;
  for (const std::string& setting : settings) {
    if (!states(text + added, setting)) added += " " + setting;
  }
  if (!states(text, "gradient-dtype=fp32")) {
    const Expected<ParallelLayout> layout = parse_layout(text + added);
    const Precision gradients =
        layout ? default_gradient_dtype(layout->precision, defaults) : Precision::fp32;
    if (gradients != Precision::fp32) {
      added += fmt::format(" gradient-dtype={}", to_string(gradients));
    }
  }
  return added;
}

}  // namespace

std::optional<std::int64_t> devices_stated(const std::string& text, Errors& faults) {
  const Expected<ParallelLayout> layout = parse_layout(text);
  collect(faults, layout);
  return layout && states(text, "dp=1") ? std::optional(layout->devices()) : std::nullopt;
}

std::optional<ParallelLayout> whole_layout(std::string_view flag, const std::string& text,
                                           PlannedJob& planned, Errors& faults) {
  const std::string added = stack_defaults(text, planned);
  if (!added.empty()) planned.assumptions.push_back(fmt::format("{} \"…{}\"", flag, added));
  const Expected<ParallelLayout> parsed = parse_layout(text + added);
  collect(faults, parsed);
  if (!parsed) return std::nullopt;
  ParallelLayout layout = *parsed;
  const std::int64_t replica = layout.devices() / layout.data_parallel;
  if (!states(text, "dp=1") && planned.devices % replica == 0 &&
      planned.devices / replica <= max_degree) {
    layout.data_parallel = static_cast<int>(planned.devices / replica);
  }
  if (layout.layer_split.empty() && !states_whole_layout(text)) {
    layout.layer_split =
        layer_split_of_space(layout, planned.job, planned.profile.defaults.layer_balance);
  }
  return layout;
}

}  // namespace kumihimo

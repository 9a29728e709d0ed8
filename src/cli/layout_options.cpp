#include "cli/layout_options.hpp"

#include <algorithm>
#include <array>
#include <fmt/format.h>

#include "base/suggest.hpp"
#include "layout/layout_text.hpp"

namespace kumihimo {
namespace {

/// A flag that stands for a setting of a layout's text.
struct LayoutFlag {
  std::string_view flag;
  std::string_view key;
  std::string_view value;  ///< in --help; empty: a switch
  std::string_view help;
  std::string_view when_given = "";  ///< what a switch sets
};

constexpr std::array layout_flags{
    LayoutFlag{"--tp", "tp", "N", "tensor parallelism: every layer split over N ranks"},
    LayoutFlag{"--pp", "pp", "N", "pipeline parallelism: the layers split into N stages"},
    LayoutFlag{"--dp", "dp", "N", "data parallelism: N replicas"},
    LayoutFlag{"--micro-batch-size", "micro-batch", "N", "sequences of a micro-batch (default: 1)"},
    LayoutFlag{"--schedule", "schedule", "KIND", "gpipe, 1f1b (default), interleaved, zb-h1"},
    LayoutFlag{"--virtual-stages", "vpp", "N",
               "model chunks of a pipeline rank; above 1: interleaved"},
    LayoutFlag{"--layer-split", "layers", "N/N/...",
               "layers of each stage, first to last (default: as even as possible)"},
    LayoutFlag{"--recompute", "recompute", "KIND",
               "what backward computes again: none (default), selective, full"},
    LayoutFlag{"--sequence-parallel", "sp", "", "split norms and residuals over the tensor group",
               "true"},
    LayoutFlag{"--zero", "zero", "STAGE",
               "share over the data-parallel ranks: 1 optimizer states, 2 gradients too, 3 weights "
               "too (default: 0, nothing)"},
    LayoutFlag{"--offload", "offload", "STATES",
               "optimizer: its states live in host memory and pass through the device in portions "
               "(default: none); with a back end on the host that is memory apart from "
               "--device-memory"},
    LayoutFlag{"--attention", "attention", "KERNEL", "unfused, fused-softmax, flash (default)"},
    LayoutFlag{"--norm", "norm", "KERNEL", "unfused, fused (default)"},
    LayoutFlag{"--precision", "precision", "FORMAT", "fp32 (default), bf16, fp8"},
    LayoutFlag{"--no-overlap", "overlap-dp", "",
               "reduce gradients and gather updated weights between passes, not behind them",
               "false"},
};

/// The trainer has one flash kernel. It names what it does not know itself, since the layout's text
/// knows more.
std::optional<std::string> attention_spelled(const std::string& value, Errors& faults) {
  const std::vector<std::string> known{"unfused", "fused-softmax", "flash"};
  if (value == "flash") return "flash2";
  if (value == "flash2" || std::ranges::count(known, value) > 0) return value;
  faults.push_back({"--attention", "\"" + value + "\" is unknown", suggest(value, known)});
  return std::nullopt;
}

/// " tp=2 pp=4": the flags that were given, as settings.
std::string settings_text(const Flags& flags, Errors& faults) {
  std::string text;
  for (const LayoutFlag& flag : layout_flags) {
    if (flag.value.empty()) {
      if (flags.given(flag.flag)) text += fmt::format(" {}={}", flag.key, flag.when_given);
      continue;
    }
    const auto value = flags.text(flag.flag, faults);
    if (!value) continue;
    if (value->find_first_of(" ,=\t\n") != std::string::npos) {
      faults.push_back({std::string(flag.flag), "is \"" + *value + "\"", "give one value"});
      continue;
    }
    const auto spelled = flag.key == "attention" ? attention_spelled(*value, faults) : value;
    if (spelled) text += fmt::format(" {}={}", flag.key, *spelled);
  }
  return text;
}

const LayoutFlag* flag_at(std::string_view where) {
  const auto* flag = std::ranges::find_if(
      layout_flags, [&](const LayoutFlag& f) { return where == fmt::format("layout: {}", f.key); });
  return flag == layout_flags.end() ? nullptr : flag;
}

}  // namespace

void add_layout_flags(Flags& flags) {
  flags.group("Layout");
  flags.add_value(
      "--layout", "LAYOUT",
      "the settings below as one text, as plan prints it: \"tp=2 pp=2 recompute=full\"");
  for (const LayoutFlag& flag : layout_flags) {
    if (flag.value.empty()) {
      flags.add_switch(flag.flag, flag.help);
    } else {
      flags.add_value(flag.flag, flag.value, flag.help);
    }
  }
}

Errors at_layout_flags(Errors faults) {
  for (Error& fault : faults) {
    if (const LayoutFlag* flag = flag_at(fault.where)) fault.where = flag->flag;
    if (fault.where == "job: sequence length") fault.where = "--seq-length";
    if (fault.where == "job: global batch size") fault.where = "--global-batch-size";
  }
  return faults;
}

std::optional<ParallelLayout> read_layout_flags(const Flags& flags, Errors& faults) {
  const std::string stated =
      flags.text("--layout", faults).value_or("") + settings_text(flags, faults);
  Expected<ParallelLayout> layout = parse_layout(stated);
  if (!layout) {
    const Errors found = at_layout_flags(layout.errors());
    faults.insert(faults.end(), found.begin(), found.end());
    return std::nullopt;
  }
  // Stating the precision a second time is a fault exactly if it was stated before.
  if (const auto in_fp32 = parse_layout(stated + " precision=fp32")) return *in_fp32;
  return *layout;
}

}  // namespace kumihimo

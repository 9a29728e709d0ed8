#include "cli/constraint_options.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fmt/format.h>

#include "base/shown_text.hpp"
#include "base/units.hpp"
#include "layout/layout_text.hpp"
#include "layout/names.hpp"
#include "layout/validate.hpp"

namespace kumihimo {

template <>
struct NameTable<Objective> {
  static constexpr std::array<Named<Objective>, 4> rows{{{Objective::mfu, "mfu"},
                                                         {Objective::step_time, "step-time"},
                                                         {Objective::cost, "cost"},
                                                         {Objective::total_time, "time"}}};
};

namespace {

template <class Enum>
std::vector<Enum> enum_list(const Flags& flags, std::string_view flag, Errors& faults) {
  std::vector<Enum> values;
  for (const std::string& part : flags.text_list(flag, faults)) {
    const Expected<Enum> value = parse_name<Enum>(part, flag);
    collect(faults, value);
    if (value) values.push_back(*value);
  }
  return values;
}

std::vector<bool> switch_list(const Flags& flags, std::string_view flag, Errors& faults) {
  const auto value = flags.text(flag, faults);
  if (!value) return {};
  if (*value == "on") return {true};
  if (*value == "off") return {false};
  if (*value == "any") return {false, true};
  faults.push_back({std::string(flag), "is \"" + *value + "\"", "give on, off or any"});
  return {};
}

std::vector<Offload> offload_list(const Flags& flags, Errors& faults) {
  std::vector<Offload> values;
  for (const std::string& part : flags.text_list("--offload", faults)) {
    const Expected<ParallelLayout> layout = parse_layout("offload=" + part);
    if (layout) {
      values.push_back(layout->offload);
    } else {
      faults.push_back({"--offload", "holds \"" + part + "\"",
                        "give none, or optimizer, activations and weights joined by +"});
    }
  }
  return values;
}

}  // namespace

std::optional<double> read_tokens(const Flags& flags, Errors& faults) {
  const auto text = flags.text("--tokens", faults);
  if (!text) return std::nullopt;
  double value = 0;
  const auto [end, status] = std::from_chars(text->data(), text->data() + text->size(), value);
  const std::string_view suffix(end, text->data() + text->size());
  const double factor = suffix.empty()  ? 1
                        : suffix == "M" ? 1e6
                        : suffix == "B" ? 1e9
                        : suffix == "T" ? 1e12
                                        : 0;
  const double tokens = value * factor;
  const bool counts = status == std::errc{} && tokens >= 1 && tokens <= 1e18;
  if (counts && (!suffix.empty() || tokens == std::floor(tokens))) return tokens;
  // Who writes 1.4 means trillions, not one token and a part of another.
  const bool bare = status == std::errc{} && suffix.empty() && value > 0 && value <= 1e6;
  faults.push_back({"--tokens", "is " + shown_quoted(*text),
                    bare ? fmt::format("give a whole number, or write {0}T for {0} trillion", value)
                         : "write it like 300B or 1.5T"});
  return std::nullopt;
}

void judge_tokens(std::optional<double> tokens, const TrainingJob& job, Errors& faults) {
  const double of_step =
      static_cast<double>(job.global_batch_size) * static_cast<double>(job.seq_length);
  if (!tokens || *tokens >= of_step) return;
  faults.push_back({"--tokens",
                    fmt::format("is {}, less than the {} of one step",
                                grouped(static_cast<std::int64_t>(*tokens)),
                                grouped(static_cast<std::int64_t>(of_step))),
                    "give those of the whole training, such as 1.4T"});
}

void add_constraint_flags(Flags& flags) {
  flags.group("Layouts to consider (lists between commas; default: all that make sense)");
  flags.add_value("--tp", "1,2,4", "tensor parallelism");
  flags.add_value("--pp", "1,2,4", "pipeline parallelism");
  flags.add_value("--cp", "1,2", "context parallelism");
  flags.add_value("--dp", "8,16", "data parallelism: replicas of the model");
  flags.add_value("--micro-batch-size", "1,2", "sequences of a micro-batch");
  flags.add_value("--schedule", "KIND", "gpipe, 1f1b, interleaved, zb-h1");
  flags.add_value("--virtual-stages", "1,2",
                  "model chunks of a pipeline rank; above 1: interleaved");
  flags.add_value("--recompute", "KIND", "none, selective, full");
  flags.add_value("--sequence-parallel", "on|off|any", "norms split over the tensor group");
  flags.add_value("--zero", "0,1,3", "ZeRO stage; 3 is fully sharded data parallelism");
  flags.add_value("--zero-group", "0,8",
                  "ranks that share the sharded states: hybrid sharding (default: 0, all)");
  flags.add_value("--attention", "KERNEL", "unfused, fused-softmax, flash1, flash2, flash3");
  flags.add_value("--norm", "KERNEL", "unfused, fused");
  flags.add_value("--precision", "FORMAT", "fp32, tf32, fp16, bf16, fp8");
  flags.add_value("--gradient-dtype", "FORMAT",
                  "fp32, or the layers' own: accumulation and reduction (default: the stack's)");
  flags.add_value("--overlap-dp", "on|off|any", "gradients reduced behind the backward pass");
  flags.add_value("--overlap-tp", "on|off|any", "tensor-parallel collectives behind products");
  flags.add_value("--offload", "STATES",
                  "none, or optimizer, activations and weights joined by +, to host memory");
  flags.add_value("--max-memory", "BYTES", "memory of the fullest device, such as 76GiB");
  flags.add_value("--min-fit-probability", "P", "how sure a layout must fit (default: 50%)");
}

void add_objective_flags(Flags& flags) {
  flags.group("What is best");
  flags.add_value("--objective", "KIND",
                  "mfu (default), step-time (default of several precisions), cost, time");
  flags.add_value("--tokens", "N",
                  "tokens to train in all, such as 1.4T: also shows time and cost");
}

Constraints read_constraints(const Flags& flags, Errors& faults) {
  Constraints wanted;
  const auto degrees = [&](std::string_view flag) {
    return flags.whole_list(flag, 1, max_degree, faults);
  };
  wanted.tensor_parallel = degrees("--tp");
  wanted.pipeline_parallel = degrees("--pp");
  wanted.context_parallel = degrees("--cp");
  wanted.data_parallel = degrees("--dp");
  wanted.micro_batch_size = degrees("--micro-batch-size");
  wanted.schedules = enum_list<ScheduleKind>(flags, "--schedule", faults);
  wanted.virtual_stages = degrees("--virtual-stages");
  wanted.recompute = enum_list<Recompute>(flags, "--recompute", faults);
  wanted.sequence_parallel = switch_list(flags, "--sequence-parallel", faults);
  wanted.zero_stage = flags.whole_list("--zero", 0, 3, faults);
  wanted.zero_group = flags.whole_list("--zero-group", 0, max_degree, faults);
  wanted.attention = enum_list<AttentionKernel>(flags, "--attention", faults);
  wanted.norm = enum_list<NormKernel>(flags, "--norm", faults);
  wanted.precision = enum_list<Precision>(flags, "--precision", faults);
  wanted.gradient_dtype = enum_list<Precision>(flags, "--gradient-dtype", faults);
  wanted.overlap_data_parallel = switch_list(flags, "--overlap-dp", faults);
  wanted.overlap_tensor_parallel = switch_list(flags, "--overlap-tp", faults);
  wanted.offload = offload_list(flags, faults);
  wanted.max_memory_bytes = flags.quantity("--max-memory", Dimension::bytes, faults);
  if (wanted.max_memory_bytes && *wanted.max_memory_bytes == 0) {
    faults.push_back({"--max-memory", "is 0", "give a positive size, such as 76GiB"});
  }
  wanted.min_fits_probability = flags.quantity("--min-fit-probability", Dimension::ratio, faults);
  if (wanted.min_fits_probability && *wanted.min_fits_probability > 1) {
    faults.push_back({"--min-fit-probability", fmt::format("is {}", *wanted.min_fits_probability),
                      "give 0 to 1"});
  }
  return wanted;
}

void read_objective(const Flags& flags, Constraints& wanted, Errors& faults) {
  if (const auto name = flags.text("--objective", faults)) {
    const Expected<Objective> objective = parse_name<Objective>(*name, "--objective");
    collect(faults, objective);
    if (objective) wanted.objective = *objective;
  }
  wanted.tokens = read_tokens(flags, faults);
  if (wanted.objective == Objective::total_time && !flags.given("--tokens")) {
    faults.push_back({"--tokens", "is missing", "--objective time needs it, such as 1.4T"});
  }
}

SearchRequest make_request(const PlannedJob& planned, const Constraints& wanted, Errors& faults) {
  SearchRequest request{.job = planned.job,
                        .cluster = planned.cluster,
                        .profile = planned.profile,
                        .devices = planned.devices};
  constrain(request, wanted, faults);
  judge_constraints(request, wanted, faults);
  if (faults.empty()) faults = request_faults(request);
  return request;
}

}  // namespace kumihimo

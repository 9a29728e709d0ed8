#include "runs/notes.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <fmt/core.h>

#include "runs/contains.hpp"
#include "runs/spellings.hpp"

namespace kumihimo {
namespace {

/// One segment of the notes as it matched: the text as written, and what follows the pattern, in
/// lower case.
struct Segment {
  std::string_view written;
  std::string_view rest;
};

enum class Match { whole, prefix, anywhere };

struct Pattern {
  Match match;
  std::string_view text;  ///< lower case
  void (*apply)(NoteFacts& facts, const Segment& segment);
};

std::optional<std::int64_t> leading_number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (fault != std::errc() || value < 1 || value > 100'000'000) return std::nullopt;
  return value;
}

void read_schedule(NoteFacts& facts, const Segment& segment) {
  if (segment.rest == "1f1b") {
    facts.schedule = ScheduleKind::one_forward_one_backward;
  } else if (segment.rest == "1f1b-i") {
    facts.schedule = ScheduleKind::interleaved;
  } else if (segment.rest == "gpipe") {
    facts.schedule = ScheduleKind::gpipe;
  } else if (segment.rest == "zb-1p" || segment.rest == "zb-h1") {
    facts.schedule = ScheduleKind::zb_h1;
    facts.assumptions.push_back("schedule ZB-1p played as ZB-H1: both keep 1F1B's memory");
  } else if (!contains(segment.rest, " ")) {  // more than a name is a sentence, not this pattern
    facts.skip_reason = fmt::format("{} is not one that is modelled", segment.written);
  }
}

void read_micro_batches(NoteFacts& facts, const Segment& segment) {
  facts.num_micro_batches = leading_number(segment.rest);
}

/// "46920", "159k".
void read_printed_rate(NoteFacts& facts, const Segment& segment) {
  double rate = 0;
  const char* const last = segment.rest.data() + segment.rest.size();
  const auto [end, fault] = std::from_chars(segment.rest.data(), last, rate);
  const std::string_view unit(end, static_cast<std::size_t>(last - end));
  if (fault != std::errc() || !(rate > 0) || (!unit.empty() && unit != "k")) return;
  facts.printed_tokens_per_s = unit.empty() ? rate : 1000 * rate;
}

void skip_fine_tuning(NoteFacts& facts, const Segment& segment) {
  facts.skip_reason = fmt::format("{}: fine-tuning, not pre-training", segment.written);
}

void mark_suspect(NoteFacts& facts, const Segment& segment) { facts.suspect = segment.written; }

void assume_attention_core(NoteFacts& facts, const Segment& segment) {
  facts.assumptions.push_back(
      fmt::format("{}: selective recompute is read as the attention core", segment.written));
}

/// "FSDP+CP+compile+Float8": torchtitan's table headings. Compiling is what fuses its norms.
void read_torchtitan_heading(NoteFacts& facts, const Segment& segment) {
  constexpr std::array<std::string_view, 6> known{"tp",    "cp", "pp", "compile", "torch.compile",
                                                  "float8"};
  bool compiled = false;
  std::string_view rest = segment.rest;
  while (!rest.empty()) {
    rest = trim(rest);
    if (!rest.starts_with('+')) return;
    rest.remove_prefix(1);
    const std::string_view part = trim(rest.substr(0, rest.find('+')));
    if (std::find(known.begin(), known.end(), part) == known.end()) return;
    compiled = compiled || contains(part, "compile");
    rest.remove_prefix(std::min(rest.find('+'), rest.size()));
  }
  facts.norm = compiled ? NormKernel::fused : NormKernel::unfused;
}

/// The command line of llm.q, which shards the optimizer always, more by flags.
void read_llmq_flags(NoteFacts& facts, const Segment& segment) {
  // Its tables write --shard--gradients too.
  const bool gradients =
      contains(segment.rest, "--shard-gradients") || contains(segment.rest, "--shard--gradients");
  facts.zero_stage = contains(segment.rest, "--shard-weights") ? 3 : gradients ? 2 : 1;
  const bool first = contains(segment.rest, "--offload-opt-m");
  const bool second = contains(segment.rest, "--offload-opt-v");
  const bool master = contains(segment.rest, "--offload-master");
  facts.offload.optimizer = first || second || master;
  // What it offloads is each layer's input: all that recompute of whole layers keeps, and little of
  // what anything else does.
  const bool residual = contains(segment.rest, "--offload-residual");
  facts.offload.activations = residual && contains(segment.rest, "--recompute-block");
  if (residual && !facts.offload.activations)
    facts.assumptions.push_back("--offload-residual without --recompute-block: read as no offload");
  facts.offload.weights = contains(segment.rest, "--offload-quants");
  if (facts.offload.optimizer && !(first && second && master))
    facts.assumptions.push_back("part of the optimizer state offloaded: read as all of it");
  for (const std::string_view kind : {"--recompute-norm", "--recompute-swiglu", "--recompute-ffn"})
    if (contains(segment.rest, kind))
      facts.assumptions.push_back(
          fmt::format("{}: selective recompute is read as the attention core", kind));
}

// The vocabulary of the notes, in the order in which it is tried: every pattern that matches a
// segment is applied. docs/runs.md says the same in words.
constexpr std::array patterns{
    Pattern{Match::prefix, "schedule ", read_schedule},
    Pattern{Match::anywhere, "pp_engine afab",
            [](NoteFacts& facts, const Segment&) { facts.schedule = ScheduleKind::gpipe; }},
    Pattern{Match::prefix, "first/last stage have one layer less",
            [](NoteFacts& facts, const Segment&) { facts.one_layer_less_at_ends = true; }},
    Pattern{Match::prefix, "tp_mode reduce_scatter",
            [](NoteFacts& facts, const Segment& segment) {
              facts.sequence_parallel = true;
              facts.overlap_tensor_parallel = segment.rest.starts_with(" async");
            }},
    Pattern{Match::prefix, "tp_mode all_reduce",
            [](NoteFacts& facts, const Segment&) { facts.sequence_parallel = false; }},
    Pattern{Match::whole, "async tp",
            [](NoteFacts& facts, const Segment&) { facts.overlap_tensor_parallel = true; }},
    Pattern{Match::whole, "vanilla tp",
            [](NoteFacts& facts, const Segment&) { facts.overlap_tensor_parallel = false; }},
    // Megatron-LM 2021: its own wrapper reduces gradients after the backward pass, torch's during.
    Pattern{Match::anywhere, "ddp=local",
            [](NoteFacts& facts, const Segment&) { facts.overlap_data_parallel = false; }},
    Pattern{Match::anywhere, "ddp=torch",
            [](NoteFacts& facts, const Segment&) { facts.overlap_data_parallel = true; }},
    // Composer: PURE reduces gradients in the compute precision, DEFAULT in fp32.
    Pattern{Match::whole, "mp mode pure",
            [](NoteFacts& facts, const Segment&) { facts.gradient_dtype = Precision::bf16; }},
    Pattern{Match::whole, "mp mode default",
            [](NoteFacts& facts, const Segment&) { facts.gradient_dtype = Precision::fp32; }},
    Pattern{Match::prefix, "fsdp", read_torchtitan_heading},
    Pattern{Match::whole, "compile",
            [](NoteFacts& facts, const Segment&) { facts.norm = NormKernel::fused; }},
    Pattern{Match::prefix, "per-op sac", assume_attention_core},
    Pattern{Match::prefix, "ac mode \"selective", assume_attention_core},
    Pattern{Match::prefix, "flags:", read_llmq_flags},
    Pattern{Match::prefix, "printed tps ", read_printed_rate},
    Pattern{Match::whole, "cpu offload of activations true",
            [](NoteFacts& facts, const Segment&) { facts.offload.activations = true; }},
    Pattern{Match::whole, "full cpu offload",
            [](NoteFacts& facts, const Segment&) {
              facts.offload.optimizer = facts.offload.weights = true;
            }},
    Pattern{Match::prefix, "micro_num=", read_micro_batches},
    Pattern{Match::prefix, "grad_acc ", read_micro_batches},
    Pattern{Match::prefix, "grad_accum ", read_micro_batches},
    Pattern{Match::anywhere, "gas=", read_micro_batches},
    Pattern{Match::whole, "lora", skip_fine_tuning},
    Pattern{Match::whole, "sft", skip_fine_tuning},
    Pattern{Match::whole, "packed sft", skip_fine_tuning},
    Pattern{Match::prefix, "one transformer layer",
            [](NoteFacts& facts, const Segment&) {
              facts.skip_reason = "one transformer layer, not a training step";
            }},
    Pattern{Match::prefix, "inconsistent row", mark_suspect},
    Pattern{Match::prefix, "row inconsistent", mark_suspect},
    Pattern{Match::prefix, "noisy:", mark_suspect},
};

/// Where the pattern's text ends in `segment`, if it matches.
std::optional<std::size_t> match(const Pattern& pattern, std::string_view segment) {
  const std::size_t at = segment.find(pattern.text);
  if (at == std::string_view::npos) return std::nullopt;
  if (pattern.match != Match::anywhere && at != 0) return std::nullopt;
  if (pattern.match == Match::whole && segment.size() != pattern.text.size()) return std::nullopt;
  return at + pattern.text.size();
}

/// "4x100Gb RoCE per node", "800 Gbit/s per node", "100 Gb/s InfiniBand", "400Gb/GPU".
void read_network(NoteFacts& facts, std::string_view written) {
  const std::size_t unit = written.find("Gb");
  if (unit == std::string_view::npos) return;
  const bool per_device = written.substr(unit).starts_with("Gb/GPU");
  if (!per_device && !contains(written, "per node") && !contains(written, "InfiniBand")) return;

  const auto digits_before = [written](std::size_t end) {
    std::size_t start = end;
    while (start > 0 && written[start - 1] >= '0' && written[start - 1] <= '9') --start;
    return start;
  };
  std::size_t end = unit;
  while (end > 0 && written[end - 1] == ' ') --end;
  const std::size_t start = digits_before(end);
  const auto gigabits = leading_number(written.substr(start, end - start));
  if (!gigabits || *gigabits > 100'000) return;
  double links = 1;
  if (start > 0 && written[start - 1] == 'x') {
    const std::size_t count = digits_before(start - 1);
    links =
        static_cast<double>(leading_number(written.substr(count, start - 1 - count)).value_or(1));
  }
  facts.network_bandwidth = links * static_cast<double>(*gigabits) * 1e9 / 8;
  facts.network_is_per_device = per_device;
}

}  // namespace

NoteFacts read_notes(std::string_view notes) {
  NoteFacts facts;
  while (!notes.empty()) {
    const std::size_t end = std::min(notes.find(';'), notes.size());
    const std::string_view written = trim(notes.substr(0, end));
    const std::string lower = lower_case(written);
    for (const Pattern& pattern : patterns)
      if (const auto after = match(pattern, lower))
        pattern.apply(facts, {written, std::string_view(lower).substr(*after)});
    read_network(facts, written);
    notes.remove_prefix(std::min(end + 1, notes.size()));
  }
  return facts;
}

}  // namespace kumihimo

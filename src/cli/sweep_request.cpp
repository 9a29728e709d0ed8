#include "cli/sweep_request.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "base/suggest.hpp"
#include "cli/constraint_options.hpp"
#include "cli/model_options.hpp"
#include "cluster/cluster_file.hpp"
#include "cluster/topology.hpp"
#include "cost/stack_profile_file.hpp"
#include "layout/names.hpp"
#include "model/model_catalog.hpp"

namespace kumihimo {

template <>
struct NameTable<SweepRanks> {
  static constexpr std::array<Named<SweepRanks>, 3> rows{{{SweepRanks::threads, "threads"},
                                                          {SweepRanks::mpi, "mpi"},
                                                          {SweepRanks::emulated, "emulated"}}};
};

namespace {

constexpr std::int64_t most_ranks = 4096;
constexpr std::int64_t longest_default_sequence = 256;
constexpr std::string_view engine_stack = "kumihimo-cpu";

const std::vector<std::string> knobs{"tp",   "pp",   "micro-batch",       "recompute", "attention",
                                     "norm", "zero", "sequence-parallel", "schedule",  "precision"};
const std::vector<std::string> usual_knobs{"tp",        "pp",   "micro-batch",      "recompute",
                                           "attention", "norm", "sequence-parallel"};

std::set<std::string> read_vary(const Flags& flags, Errors& faults) {
  std::set<std::string> wanted;
  for (const std::string& knob : flags.text_list("--vary", faults)) {
    if (std::ranges::count(knobs, knob) > 0) {
      wanted.insert(knob);
    } else {
      faults.push_back({"--vary", "\"" + knob + "\" is no knob", suggest(knob, knobs)});
    }
  }
  if (!flags.given("--vary")) wanted.insert(usual_knobs.begin(), usual_knobs.end());
  return wanted;
}

/// Every value of the knobs to vary, the trainer's default of the others; constraints narrow both.
SearchSpace space_of(const std::set<std::string>& vary, const Constraints& wanted, int ranks) {
  SearchSpace space;
  space.precision = {Precision::fp32};
  const auto choose = [&](const char* knob, auto& values, auto all, const auto& asked) {
    if (vary.contains(knob)) values = all;
    if (!asked.empty()) values = asked;
  };
  const std::vector<int> degrees = divisors(ranks, ranks);
  choose("tp", space.tensor_parallel, degrees, wanted.tensor_parallel);
  choose("pp", space.pipeline_parallel, degrees, wanted.pipeline_parallel);
  space.data_parallel = wanted.data_parallel;
  choose("micro-batch", space.micro_batch_size, std::vector{1, 2, 4, 8}, wanted.micro_batch_size);
  choose("recompute", space.recompute,
         std::vector{Recompute::none, Recompute::selective, Recompute::full}, wanted.recompute);
  choose("attention", space.attention,
         std::vector{AttentionKernel::unfused, AttentionKernel::fused_softmax,
                     AttentionKernel::flash2},
         wanted.attention);
  choose("norm", space.norm, std::vector{NormKernel::unfused, NormKernel::fused}, wanted.norm);
  choose("zero", space.zero_stage, std::vector{0, 1, 2, 3}, wanted.zero_stage);
  choose("sequence-parallel", space.sequence_parallel, std::vector<bool>{false, true},
         wanted.sequence_parallel);
  choose("precision", space.precision, std::vector{Precision::fp32, Precision::bf16},
         wanted.precision);
  if (vary.contains("schedule")) {
    space.schedules = {{ScheduleKind::gpipe, 1},
                       {ScheduleKind::one_forward_one_backward, 1},
                       {ScheduleKind::interleaved, 2},
                       {ScheduleKind::zb_h1, 1}};
  }
  if (!wanted.schedules.empty()) {
    space.schedules.clear();
    for (const ScheduleKind kind : wanted.schedules) {
      space.schedules.push_back({kind, kind == ScheduleKind::interleaved ? 2 : 1});
    }
  }
  return space;
}

/// "40", "15min", "2 device-hours": limits between commas.
Budget read_budget(const Flags& flags, Errors& faults) {
  Budget budget;
  for (const std::string& part : flags.text_list("--budget", faults)) {
    std::size_t end = 0;
    double number = 0;
    try {
      number = std::stod(part, &end);
    } catch (const std::exception&) {
      end = 0;
    }
    std::string unit = part.substr(end);
    unit.erase(0, unit.find_first_not_of(' ') == std::string::npos ? unit.size()
                                                                   : unit.find_first_not_of(' '));
    if (end > 0 && number > 0 && (unit == "trials" || unit == "trial" || unit.empty())) {
      budget.trials = number;
    } else if (end > 0 && number > 0 && (unit == "device-hours" || unit == "gpu-hours")) {
      budget.device_hours = number;
    } else if (const auto time = parse_quantity(part, Dimension::seconds, "--budget"); time) {
      budget.seconds = *time;
    } else {
      faults.push_back({"--budget", "is \"" + part + "\"",
                        "write it like 15min, \"40 trials\" or \"2 device-hours\""});
    }
  }
  return budget;
}

/// Its own file, by a name that means the same to a launcher; if that was replaced meanwhile, what
/// this process still holds.
std::filesystem::path this_program() {
  const std::filesystem::path held = "/proc/self/exe";
  std::error_code failure;
  const auto named = std::filesystem::read_symlink(held, failure);
  return !failure && std::filesystem::exists(named, failure) ? named : held;
}

/// The flags that describe model and data to train, as they were given.
std::vector<std::string> passed_on(const Flags& flags, Errors& faults) {
  std::vector<std::string> words;
  for (const std::string_view flag :
       {std::string_view("--model"), override_flags.vocab, override_flags.layers,
        override_flags.hidden, override_flags.heads, override_flags.kv_heads,
        override_flags.head_dim, override_flags.ffn_hidden, std::string_view("--data")}) {
    if (const auto value = flags.text(flag, faults)) {
      words.emplace_back(flag);
      words.push_back(*value);
    }
  }
  return words;
}

void read_cluster_flag(const Flags& flags, SweepRequest& request, Errors& faults) {
  request.cluster_name = flags.text("--cluster", faults).value_or("here");
  const bool here = request.cluster_name == "here";
  if (request.rank_kind == SweepRanks::emulated) {
    if (here) {
      faults.push_back({"--cluster", "is \"here\", but emulated ranks send over a cluster's links",
                        "name one of `kumihimo clusters`, or a cluster's TOML file"});
      return;
    }
    const auto cluster = read_cluster(request.cluster_name);
    collect(faults, cluster);
    if (!cluster) return;
    request.links = *cluster;
    request.links->nodes = static_cast<int>(nodes_of(request.ranks, *cluster));
  } else if (!here) {
    faults.push_back({"--cluster", "is \"" + request.cluster_name + "\"",
                      "trials run on this machine: give here, or add --launcher emulated"});
  }
}

}  // namespace

void add_sweep_flags(Flags& flags) {
  flags.group("Job");
  add_model_flag(flags);
  flags.add_value("--data", "PATH|synthetic", "what to train on, as for train");
  flags.add_value("--seq-length", "N", "tokens of a sequence (default: at most 256)");
  flags.add_value("--global-batch-size", "N", "sequences of a step (default: two for each rank)");
  add_model_change_flags(flags);
  flags.group("Where");
  flags.add_value("--cluster", "here|NAME",
                  "here (default): this machine, measured first; with "
                  "--launcher emulated, whose links ranks use");
  flags.add_value("--ranks", "N", "ranks of every trial (default: the machine's cores)");
  flags.add_value("--launcher", "KIND", "threads (default), mpi, emulated: virtual clocks");
  flags.add_value("--device-memory", "BYTES", "a rank's memory, such as 512MiB (default: any)");
  flags.add_switch("--measure-again", "measure machine and stack even if the store knows them");
  flags.group("Layouts");
  flags.add_value(
      "--vary", "LIST",
      "of tp, pp, micro-batch, recompute, attention, norm, sequence-parallel (default), "
      "zero, schedule, precision");
  flags.add_value("--tp", "1,2,4", "only these degrees, and so for the flags below");
  flags.add_value("--pp", "1,2,4", "pipeline parallelism");
  flags.add_value("--dp", "1,2", "data parallelism");
  flags.add_value("--micro-batch-size", "1,2", "sequences of a micro-batch (default: 1,2,4,8)");
  flags.add_value("--schedule", "KIND", "gpipe, 1f1b, interleaved, zb-h1");
  flags.add_value("--recompute", "KIND", "none, selective, full");
  flags.add_value("--sequence-parallel", "on|off|any", "norms split over the tensor group");
  flags.add_value("--zero", "0,1,2,3", "ZeRO stage");
  flags.add_value("--attention", "KERNEL", "unfused, fused-softmax, flash2");
  flags.add_value("--norm", "KERNEL", "unfused, fused");
  flags.add_value("--precision", "FORMAT", "fp32, bf16, fp8");
  flags.group("Search");
  flags.add_value("--strategy", "KIND", "guided (default), random, exhaustive");
  flags.add_value("--budget", "LIMITS", "such as 15min, 40trials, 2device-hours, or several");
  flags.add_value("--tolerance", "SHARE",
                  "stop when no layout is expected to improve by it (default: 0.1%)");
  flags.add_value("--stack", "NAME|PATH",
                  "profile to start from, unmeasured (default: kumihimo-cpu, with what some "
                  "seconds of measuring "
                  "find of this machine's kernels and links; emulated ranks: as it is)");
  flags.add_value("--seed", "N", "of a random search (default: 1)");
  flags.group("Trials");
  flags.add_value("--spread", "SHARE",
                  "steps until the median is known this well, 95 % (default: 1%)");
  flags.add_value("--warmup-steps", "N", "steps left out (default: 2)");
  flags.add_value("--min-steps", "N", "timed steps at least (default: 6)");
  flags.add_value("--max-steps", "N", "timed steps at most (default: 40)");
  flags.add_value("--trial-timeout", "TIME", "a trial that takes longer is ended (default: 10min)");
  flags.add_value("--control-every", "N",
                  "trials between two runs of the first layout, to see drift; 0: never "
                  "(default: 8)");
  flags.add_value("--trainer", "PATH", "program that takes the flags of kumihimo train");
  flags.group("Store and output");
  flags.add_value("--out", "FILE", "the store; if it is there, the sweep goes on");
  flags.add_value("--study", "NAME", "of this sweep within the store (default: sweep)");
  flags.add_switch("--retry-errors", "try layouts again that ended in an error");
  flags.add_switch("--take-over", "even if another machine's sweep may work on it");
  flags.add_switch("--dry-run", "list the layouts with their predictions, and run none");
  flags.add_switch("--json", "print the document kumihimo.sweep/1 of docs/json.md at the end");
}

std::optional<SweepRequest> read_sweep(const Flags& flags, Errors& faults) {
  SweepRequest request;
  const std::size_t before = faults.size();
  request.store =
      flags.required_text("--out", "name the store: --out sweep.db", faults).value_or("");
  request.study = flags.text("--study", faults).value_or("sweep");
  if (const auto name = flags.text("--launcher", faults)) {
    const auto kind = parse_name<SweepRanks>(*name, "--launcher");
    collect(faults, kind);
    if (kind) request.rank_kind = *kind;
  }
  const auto cores = static_cast<std::int64_t>(std::max(1U, std::thread::hardware_concurrency()));
  request.ranks = static_cast<int>(flags.whole("--ranks", 1, most_ranks, faults).value_or(cores));
  read_cluster_flag(flags, request, faults);
  const auto model = read_model_flags(flags, faults);
  const auto seq_length = flags.whole("--seq-length", 1, 16'777'216, faults);
  const auto batch = flags.whole("--global-batch-size", 1, 16'777'216, faults);
  request.device_memory =
      static_cast<Bytes>(flags.quantity("--device-memory", Dimension::bytes, faults).value_or(0));

  Constraints wanted;
  wanted.tensor_parallel = flags.whole_list("--tp", 1, 32768, faults);
  wanted.pipeline_parallel = flags.whole_list("--pp", 1, 32768, faults);
  wanted.data_parallel = flags.whole_list("--dp", 1, 32768, faults);
  wanted.micro_batch_size = flags.whole_list("--micro-batch-size", 1, 32768, faults);
  wanted.zero_stage = flags.whole_list("--zero", 0, 3, faults);
  const auto names = [&]<class Enum>(const char* flag, std::vector<Enum>& into) {
    for (const std::string& part : flags.text_list(flag, faults)) {
      const auto value = parse_name<Enum>(part == "flash" ? "flash2" : part, flag);
      collect(faults, value);
      if (value) into.push_back(*value);
    }
  };
  names("--schedule", wanted.schedules);
  names("--recompute", wanted.recompute);
  names("--attention", wanted.attention);
  names("--norm", wanted.norm);
  names("--precision", wanted.precision);
  if (const auto value = flags.text("--sequence-parallel", faults)) {
    if (*value == "on") {
      wanted.sequence_parallel = {true};
    } else if (*value == "off") {
      wanted.sequence_parallel = {false};
    } else if (*value == "any") {
      wanted.sequence_parallel = {false, true};
    } else {
      faults.push_back({"--sequence-parallel", "is \"" + *value + "\"", "give on, off or any"});
    }
  }
  request.space = space_of(read_vary(flags, faults), wanted, request.ranks);

  if (const auto name = flags.text("--strategy", faults)) {
    const auto kind = parse_name<StrategyKind>(*name, "--strategy");
    collect(faults, kind);
    if (kind) request.strategy.kind = *kind;
  }
  request.budget = read_budget(flags, faults);
  request.strategy.tolerance =
      flags.quantity("--tolerance", Dimension::ratio, faults).value_or(request.strategy.tolerance);
  request.strategy.seed =
      static_cast<std::uint64_t>(flags.whole("--seed", 0, 1'000'000'000, faults).value_or(1));
  const auto profile =
      read_stack_profile(flags.text("--stack", faults).value_or(std::string(engine_stack)));
  collect(faults, profile);

  MeasurementRules& rules = request.rules;
  rules.spread = flags.quantity("--spread", Dimension::ratio, faults).value_or(rules.spread);
  rules.warmup_steps =
      flags.whole("--warmup-steps", 0, 1'000'000, faults).value_or(rules.warmup_steps);
  rules.least_steps = flags.whole("--min-steps", 1, 1'000'000, faults).value_or(rules.least_steps);
  rules.most_steps = flags.whole("--max-steps", 1, 1'000'000, faults)
                         .value_or(std::max<std::int64_t>(rules.most_steps, rules.least_steps));
  if (rules.most_steps < rules.least_steps) {
    faults.push_back(
        {"--max-steps",
         fmt::format("is {}, below --min-steps {}", rules.most_steps, rules.least_steps),
         "give more"});
  }
  request.timeout_s =
      flags.quantity("--trial-timeout", Dimension::seconds, faults).value_or(request.timeout_s);
  request.control_every =
      flags.whole("--control-every", 0, 1'000'000, faults).value_or(request.control_every);
  request.program = this_program();
  request.trainer = flags.text("--trainer", faults).value_or(request.program.string());
  // What was measured of this machine's links says nothing of those that are emulated.
  request.measure_stack = !flags.given("--stack") && request.rank_kind != SweepRanks::emulated &&
                          !flags.given("--dry-run");
  request.retry_errors = flags.given("--retry-errors");
  request.take_over = flags.given("--take-over");
  request.measure_again = flags.given("--measure-again");
  request.dry_run = flags.given("--dry-run");
  request.model_arguments = passed_on(flags, faults);
  if (faults.size() > before || !model || !profile) return std::nullopt;

  request.strategy.base = *profile;
  request.job.model = *model;
  request.job.seq_length = seq_length.value_or(
      std::clamp<std::int64_t>(model->max_positions, 1, longest_default_sequence));
  request.job.global_batch_size = batch.value_or(2 * std::int64_t{request.ranks});
  judge_seq_length(*model, request.job.seq_length, faults);
  request.settings =
      nlohmann::ordered_json{
          {"train", request.model_arguments},
          {"seq_length", request.job.seq_length},
          {"global_batch_size", request.job.global_batch_size},
          {"ranks", request.ranks},
          {"launcher",
           NameTable<SweepRanks>::rows[static_cast<std::size_t>(request.rank_kind)].name},
          {"cluster", request.cluster_name},
          {"device_memory_bytes", request.device_memory},
          {"stack", request.strategy.base.name}}
          .dump();
  return faults.size() > before ? std::nullopt : std::optional(std::move(request));
}

}  // namespace kumihimo

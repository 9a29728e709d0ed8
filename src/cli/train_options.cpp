#include "cli/train_options.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <limits>

#include "cli/gpu_options.hpp"
#include "cli/layout_options.hpp"
#include "cli/model_options.hpp"
#include "cli/precision_comparison.hpp"
#include "cli/this_machine.hpp"
#include "cli/training_names.hpp"
#include "cluster/cluster_file.hpp"
#include "comm/tcp/tcp_place.hpp"
#include "comm/world.hpp"
#include "layout/validate.hpp"

namespace kumihimo {

namespace {

constexpr std::int64_t longest_default_sequence = 256;
constexpr std::int64_t usual_global_batch = 16;
constexpr std::int64_t usual_steps = 100;
constexpr std::int64_t most_steps = 1'000'000'000;
constexpr std::int64_t longest_sequence = 16'777'216;
constexpr std::int64_t largest_batch = 16'777'216;
constexpr std::int64_t most_threads = 1024;
constexpr std::int64_t most_rows_unasked = 20;
/// Temporaries settle into one block, caches fill.
constexpr std::int64_t usual_warmup_steps = 3;

template <class Enum>
Enum named(const Flags& flags, std::string_view flag, Enum otherwise, Errors& faults) {
  const auto name = flags.text(flag, faults);
  if (!name) return otherwise;
  const Expected<Enum> value = parse_name<Enum>(*name, flag);
  collect(faults, value);
  return value ? *value : otherwise;
}

OptimizerOptions read_optimizer(const Flags& flags, Errors& faults) {
  constexpr double largest = 1e6;
  constexpr double below_one = 0.999999;
  OptimizerOptions optimizer;
  optimizer.kind = named(flags, "--optimizer", optimizer.kind, faults);
  const auto read = [&](const char* flag, double most, double& into) {
    into = flags.number(flag, 0, most, faults).value_or(into);
  };
  read("--beta1", below_one, optimizer.beta1);
  read("--beta2", below_one, optimizer.beta2);
  read("--epsilon", largest, optimizer.epsilon);
  read("--momentum", below_one, optimizer.momentum);
  read("--weight-decay", largest, optimizer.weight_decay);
  read("--clip-norm", largest, optimizer.clip_norm);
  return optimizer;
}

LearningRate read_learning_rate(const Flags& flags, std::int64_t steps, Errors& faults) {
  constexpr double largest = 1e6;
  LearningRate rate;
  rate.shape = named(flags, "--lr-schedule", rate.shape, faults);
  rate.peak = flags.number("--learning-rate", 0, largest, faults).value_or(rate.peak);
  rate.total_steps = steps;
  rate.warmup_steps = flags.whole("--warmup", 0, most_steps, faults)
                          .value_or(std::min<std::int64_t>(100, steps / 10));
  const auto lowest = flags.number("--min-lr", 0, largest, faults);
  if (!lowest) return rate;
  if (*lowest > rate.peak) {
    faults.push_back({"--min-lr",
                      fmt::format("is {}, above --learning-rate {}", *lowest, rate.peak),
                      "give less"});
  }
  rate.minimum_share = rate.peak > 0 ? *lowest / rate.peak : 0;
  return rate;
}

Fp8Options read_fp8(const Flags& flags, Errors& faults) {
  constexpr std::int64_t longest_history = 4096;
  Fp8Options fp8;
  fp8.scaling = named(flags, "--fp8-scaling", fp8.scaling, faults);
  fp8.amax_history = static_cast<int>(
      flags.whole("--fp8-amax-history", 1, longest_history, faults).value_or(fp8.amax_history));
  fp8.edges_in_bf16 = flags.given("--fp8-edges-in-bf16");
  return fp8;
}

/// The usual batch, or what the layout's replicas and micro-batches make of it.
std::int64_t default_global_batch(const ParallelLayout& layout) {
  std::int64_t unit = std::int64_t{layout.data_parallel} * layout.micro_batch_size;
  if (layout.schedule == ScheduleKind::interleaved) unit *= layout.pipeline_parallel;
  return (usual_global_batch + unit - 1) / unit * unit;
}

std::optional<TrainingJob> read_training_job(const Flags& flags,
                                             const std::optional<ParallelLayout>& layout,
                                             Errors& faults) {
  auto model = read_model_flags(flags, faults);
  const auto seq_length = flags.whole("--seq-length", 1, longest_sequence, faults);
  const auto batch = flags.whole("--global-batch-size", 1, largest_batch, faults);
  if (!model) return std::nullopt;
  if (flags.given("--no-dropout")) model->dropout = false;

  TrainingJob job;
  job.model = *model;
  job.seq_length = seq_length.value_or(
      std::clamp<std::int64_t>(model->max_positions, 1, longest_default_sequence));
  if (layout) job.global_batch_size = batch.value_or(default_global_batch(*layout));
  return job;
}

/// What --cluster names, for emulated ranks only.
std::optional<Cluster> read_emulated_cluster(const Flags& flags, RankKind ranks, Errors& faults) {
  const auto name = flags.text("--cluster", faults);
  if (ranks != RankKind::emulated) {
    if (name) {
      faults.push_back(
          {"--cluster", "is for emulated ranks", "add --ranks emulated, or leave it out"});
    }
    return std::nullopt;
  }
  if (!name) {
    faults.push_back({"--cluster", "is missing: emulated ranks send over a cluster's links",
                      "name one of `kumihimo clusters`, or a cluster's TOML file"});
    return std::nullopt;
  }
  const Expected<Cluster> cluster = read_cluster(*name);
  collect(faults, cluster);
  return cluster ? std::optional(*cluster) : std::nullopt;
}

std::optional<SaveRequest> read_save(const Flags& flags, Errors& faults) {
  constexpr std::int64_t most_kept = 1'000'000;
  const auto folder = flags.text("--save", faults);
  const auto every = flags.whole("--save-every", 1, most_steps, faults);
  const auto keep = flags.whole("--keep", 0, most_kept, faults);
  if (!folder) {
    if (every || keep) {
      faults.push_back({"--save", "is missing: nothing is saved", "give --save DIR"});
    }
    return std::nullopt;
  }
  SaveRequest save;
  save.folder = *folder;
  save.every = every.value_or(save.every);
  save.keep = static_cast<int>(keep.value_or(save.keep));
  return save;
}

/// The back end must be part of this program. A GPU's is loaded.
void read_backend(const Flags& flags, std::optional<int> ranks, TrainingRequest& request,
                  Errors& faults) {
  const TrainingOptions& options = request.options;
  if (options.backend == Backend::cuda) {
    if (request.ranks == RankKind::emulated) {
      faults.push_back({"--ranks", "emulated ranks compute on the host's processors",
                        "leave out --backend cuda, or --ranks emulated"});
      return;
    }
    const auto all = static_cast<int>(options.layout.devices());
    request.gpu = read_gpu_flags(flags, ranks ? 1 : all, all, faults);
    return;
  }
  judge_no_gpu_flags(flags, faults);
  if (options.record_passes) {
    faults.push_back({"--cuda-graphs", "is for --backend cuda", "add it, or leave this out"});
  }
  DeviceMemory memory(make_host_memory());
  Workspace workspace(memory);
  collect(faults, try_kernels(options.backend, 1, workspace));
}

void judge_ranks(const TrainingRequest& request, std::optional<int> ranks, Errors& faults) {
  const std::int64_t wanted = request.options.layout.devices();
  const ParallelLayout& layout = request.options.layout;
  if (ranks && *ranks != wanted) {
    faults.push_back(
        {"--tp --pp --dp",
         fmt::format("{} x {} x {} are {} ranks, but the launcher started {}",
                     layout.tensor_parallel, layout.pipeline_parallel, layout.data_parallel, wanted,
                     *ranks),
         fmt::format("{} {}, or change the layout",
                     request.ranks == RankKind::tcp ? "start processes:" : "run mpirun -n",
                     wanted)});
  }
  if (request.cluster && wanted > request.cluster->devices()) {
    faults.push_back({"--cluster",
                      fmt::format("{} has {} devices for {} ranks", request.cluster->name,
                                  request.cluster->devices(), wanted),
                      "use fewer ranks, or a cluster of more nodes"});
  }
}

/// All that is wrong with values that are right by themselves.
void judge(const TrainingRequest& request, std::optional<int> ranks, Errors& faults) {
  const TrainingOptions& options = request.options;
  constexpr std::int64_t most_ranks = 4096;
  if (options.layout.devices() > most_ranks) {
    faults.push_back({"--tp --pp --dp", fmt::format("are {} ranks", options.layout.devices()),
                      fmt::format("use at most {}", most_ranks)});
    return;
  }
  const auto add = [&](const Errors& found) {
    faults.insert(faults.end(), found.begin(), found.end());
  };
  add(at_layout_flags(kumihimo::faults(options.layout, options.job,
                                       this_machine(options.layout.devices()),
                                       options.layout.devices())));
  add(engine_faults(options));
  if (request.gpu && is_flash(options.layout.attention)) {
    judge_flash_attention(*request.gpu,
                          {storage_dtype(options.layout.precision), options.job.seq_length,
                           options.job.model.head_dim},
                          "--attention", "give --attention fused-softmax or unfused", faults);
  }
  judge_ranks(request, ranks, faults);
}

}  // namespace

void add_train_flags(Flags& flags) {
  flags.group("Job");
  add_model_flag(flags);
  flags.add_value("--data", "PATH|synthetic",
                  "text, llm.c .bin or Megatron .bin/.idx tokens (default: a text that ships with "
                  "the program)");
  flags.add_value("--seq-length", "N", "tokens of a sequence (default: at most 256)");
  flags.add_value("--global-batch-size", "N", "sequences of a step (default: about 16)");
  flags.add_value("--steps", "N", "steps to train (default: 100)");
  flags.add_value("--seed", "N",
                  "of the initial weights and of the order of the data (default: 1)");
  flags.add_switch("--no-shuffle", "read the data from front to back");
  flags.add_switch("--no-dropout", "train a model without the dropout that it states");
  add_model_change_flags(flags);
  add_layout_flags(flags);

  flags.group("Optimizer");
  flags.add_value("--optimizer", "KIND", "adamw (default), sgd");
  flags.add_value("--learning-rate", "RATE", "the highest (default: 0.001)");
  flags.add_value("--lr-schedule", "KIND", "constant, cosine (default), wsd");
  flags.add_value("--warmup", "STEPS",
                  "over which the rate rises (default: a tenth of all, at most 100)");
  flags.add_value("--min-lr", "RATE", "at the end (default: a tenth of the highest)");
  flags.add_value("--weight-decay", "X", "of matrices (default: 0.1)");
  flags.add_value("--beta1", "X", "adamw (default: 0.9)");
  flags.add_value("--beta2", "X", "adamw (default: 0.95)");
  flags.add_value("--epsilon", "X", "adamw (default: 1e-8)");
  flags.add_value("--momentum", "X", "sgd (default: 0.9)");
  flags.add_value("--clip-norm", "X", "largest norm of the gradient; 0: any (default: 1)");

  flags.group("fp8");
  flags.add_value("--fp8-scaling", "KIND",
                  "scales from the last steps' magnitudes, delayed (default), or from each tensor, "
                  "current");
  flags.add_value("--fp8-amax-history", "STEPS", "that delayed scaling looks back (default: 16)");
  flags.add_switch("--fp8-edges-in-bf16", "keep the first and the last layer in bf16");

  add_comparison_flags(flags);
  flags.group("Ranks");
  flags.add_value(
      "--ranks", "KIND",
      "threads (default), mpi (default under mpirun), tcp (default under torchrun: RANK, "
      "WORLD_SIZE, MASTER_ADDR; or srun), emulated: virtual clocks on the links of "
      "--cluster");
  flags.add_value("--rendezvous-timeout", "SECONDS",
                  "within which ranks of --ranks tcp must have come (default: 60)");
  flags.add_value("--cluster", "NAME|PATH", "whose links emulated ranks use");
  flags.add_value("--backend", "NAME",
                  "cpu (default), cuda: NVIDIA GPUs, reference: plain loops, slow");
  flags.add_value("--threads-per-rank", "N", "threads of a rank's kernels (default: 1)");
  flags.add_value("--device-memory", "BYTES", "a rank's memory, such as 512MiB (default: any)");
  add_gpu_flags(flags);
  flags.add_switch("--cuda-graphs",
                   "record each layer's passes and hand them to the GPU as a whole; --tp 1 only");

  flags.group("Saved states");
  flags.add_value("--save", "DIR",
                  "save the state here, every so often and at the end: docs/saved-state.md");
  flags.add_value("--save-every", "STEPS", "between two states (default: 100)");
  flags.add_value("--keep", "N", "newest states that stay; 0: all (default: 2)");
  flags.add_value("--resume", "DIR",
                  "go on from a state, or from the newest of a folder, in any layout");
  flags.add_switch("--verify-state", "read the whole state for its checksums before resuming");
  flags.add_value("--init-from", "DIR",
                  "start from these weights, as Hugging Face's transformers saves them");

  flags.group("Measuring and output");
  flags.add_value(
      "--peak", "RATE",
      "of a core, such as 115GFLOP/s, or of a GPU, for MFU (default: measured at start)");
  flags.add_value("--warmup-steps", "N", "steps left out of the summary's times (default: 3)");
  flags.add_value("--log-every", "N", "steps between rows (default: about 20 rows)");
  flags.add_switch("--profile-data", "show what reading the data takes");
  flags.add_value("--json-log", "FILE",
                  "write a line kumihimo.train-step/1 of docs/json.md for each step");
  flags.add_value("--trace", "FILE", "write the last steps in time to FILE, for Perfetto");
  flags.add_switch("--json", "print the document kumihimo.train/1 of docs/json.md at the end");
}

RankKind read_rank_kind(const Flags& flags, Errors& faults) {
  const RankKind usual = started_by_mpi()                         ? RankKind::mpi
                         : names_a_tcp_job(process_environment()) ? RankKind::tcp
                                                                  : RankKind::threads;
  return named(flags, "--ranks", usual, faults);
}

double read_rendezvous_timeout(const Flags& flags, Errors& faults) {
  constexpr double longest = 86400;
  return flags.number("--rendezvous-timeout", 0.1, longest, faults)
      .value_or(TrainingRequest().rendezvous_timeout_s);
}

std::optional<TrainingRequest> read_train_flags(const Flags& flags, Errors& faults,
                                                std::optional<int> ranks) {
  TrainingRequest request;
  TrainingOptions& options = request.options;
  request.ranks = read_rank_kind(flags, faults);
  request.steps = flags.whole("--steps", 1, most_steps, faults).value_or(usual_steps);
  options.optimizer = read_optimizer(flags, faults);
  options.learning_rate = read_learning_rate(flags, request.steps, faults);
  options.fp8 = read_fp8(flags, faults);
  options.backend = named(flags, "--backend", options.backend, faults);
  request.rendezvous_timeout_s = read_rendezvous_timeout(flags, faults);
  options.threads_per_rank =
      static_cast<int>(flags.whole("--threads-per-rank", 1, most_threads, faults).value_or(1));
  options.device_memory =
      static_cast<Bytes>(flags.quantity("--device-memory", Dimension::bytes, faults).value_or(0));
  options.seed = static_cast<std::uint64_t>(
      flags.whole("--seed", 0, std::numeric_limits<std::int64_t>::max(), faults).value_or(1));
  options.shuffle = !flags.given("--no-shuffle");
  options.record_passes = flags.given("--cuda-graphs");

  request.data = flags.text("--data", faults).value_or("");
  request.cluster = read_emulated_cluster(flags, request.ranks, faults);
  request.save = read_save(flags, faults);
  request.resume = flags.text("--resume", faults);
  request.verify_state = flags.given("--verify-state");
  request.weights = flags.text("--init-from", faults);
  if (request.resume && request.weights) {
    faults.push_back(
        {"--init-from", "is given beside --resume, whose state has weights", "give one of them"});
  }
  request.core_peak_flop_per_s = flags.quantity("--peak", Dimension::flop_per_second, faults);
  request.warmup_steps = flags.whole("--warmup-steps", 0, most_steps, faults)
                             .value_or(std::min(usual_warmup_steps, request.steps - 1));
  request.log_every = flags.whole("--log-every", 1, most_steps, faults)
                          .value_or((request.steps + most_rows_unasked - 1) / most_rows_unasked);
  request.profile_data = flags.given("--profile-data");
  request.json = flags.given("--json");
  request.json_log = flags.text("--json-log", faults);
  request.trace = flags.text("--trace", faults);

  const auto layout = read_layout_flags(flags, faults);
  const auto job = read_training_job(flags, layout, faults);
  if (layout) options.layout = *layout;
  read_backend(flags, ranks, request, faults);
  if (!layout || !job) return std::nullopt;
  options.job = *job;
  judge(request, ranks, faults);
  return faults.empty() ? std::optional(request) : std::nullopt;
}

}  // namespace kumihimo

#include "cli/train_command.hpp"

#include <fmt/format.h>

#include "cli/agreement.hpp"
#include "cli/interrupt.hpp"
#include "cli/precision_comparison.hpp"
#include "cli/terminal.hpp"
#include "cli/train_options.hpp"
#include "cli/train_rank.hpp"
#include "comm/tcp/rendezvous.hpp"

namespace kumihimo {
namespace {

constexpr std::string_view example =
    R"(  kumihimo train --model llama-tiny --data corpus.txt --tp 2 --pp 2 --dp 2 \
      --global-batch-size 16 --steps 200
      eight ranks as threads of this process
  mpirun -n 8 kumihimo train --model llama-tiny --tp 2 --pp 2 --dp 2 --json-log steps.jsonl
      eight processes, and a line of JSON for each step
  torchrun --nproc-per-node 8 --no-python kumihimo train --model llama-3-8b --dp 8 --zero 3 \
      --backend cuda --precision bf16
      eight GPUs, connected by NCCL
  kumihimo train --model llama-tiny --tp 4 --pp 2 --dp 4 --ranks emulated \
      --cluster a100-80gb-sxm --trace steps.json
      32 ranks with virtual clocks on the links of a cluster, for https://ui.perfetto.dev
  kumihimo train --model llama-tiny --steps 200 --compare-precision bf16,fp8 --tolerance 1%
      what fp8 costs in loss, and where its casts overflow or underflow)";

/// The flags and the data that they name.
std::optional<TrainingRun> read_run(const Flags& flags, Errors& faults,
                                    std::optional<int> ranks = std::nullopt) {
  const auto request = read_train_flags(flags, faults, ranks);
  if (!request) return std::nullopt;
  auto run = open_training_run(*request);
  collect(faults, run);
  return run ? std::optional(*std::move(run)) : std::nullopt;
}

/// What the run will write, and find out late that it cannot; for the process whose files they are.
/// Asks the flags, not a request: there is none while another flag is wrong.
void judge_outputs(const Flags& flags, Errors& faults) {
  Errors told;  // by whoever makes the request of these flags
  const auto judge = [&](std::string_view flag, const auto& judge_path) {
    if (const auto path = flags.text(flag, told)) judge_path(flag, *path, faults);
  };
  judge("--json-log", judge_output_path);
  judge("--trace", judge_output_path);
  judge("--save", judge_output_folder);
}

ExitCode exit_code_of(const std::exception& error) {
  return dynamic_cast<const OutOfMemory*>(&error) != nullptr ? ExitCode::does_not_fit
                                                             : ExitCode::environment;
}

/// Says why training ended before its time.
ExitCode outcome(const TrainingEnd& end, bool says) {
  if (end.failure) {
    if (says) print_errors({{"train", *end.failure, ""}});
    return ExitCode::environment;
  }
  return end.interrupted ? ExitCode::interrupted : ExitCode::done;
}

/// All ranks are threads of this process.
ExitCode train_here(const Flags& flags, const std::stop_token& stop, Errors faults) {
  const auto run = read_run(flags, faults);
  std::optional<PrecisionComparisonOptions> comparison;
  if (run) comparison = read_comparison(flags, run->request, faults);
  judge_outputs(flags, faults);
  if (!faults.empty()) return refuse(faults);
  const int ranks = static_cast<int>(run->request.options.layout.devices());
  TrainingEnd end;
  try {
    if (comparison) return run_comparison(*comparison, *run, stop);
    TrainingReporter reporter(*run);
    const RankBody body = [&](World& world) {
      const bool first = world.rank() == 0;
      const TrainingEnd own = train_rank(world, *run, stop, first ? &reporter : nullptr);
      if (first) end = own;
    };
    if (!run->request.cluster) {
      run_threads(ranks, body);
    } else if (const auto ran = run_emulated(ranks, *run->request.cluster, body); !ran) {
      return refuse(ran.errors());
    }
  } catch (const std::exception& error) {
    print_errors({{"train", error.what(), ""}});
    return exit_code_of(error);
  }
  return outcome(end, true);
}

/// Whether the processes were asked for the same; rank 0 says if not.
bool same_everywhere(Agreement& agreement, World& world, const TrainingRun& run) {
  const auto own = static_cast<double>(fingerprint(run));
  if (agreement.lowest(own) == agreement.highest(own)) return true;
  if (world.rank() == 0) {
    print_errors({{"train", "the ranks were started with different flags, models or data",
                   "start them all with one command, on machines that hold the same files"}});
  }
  return false;
}

/// This process is one rank.
ExitCode train_rank_of_job(World& world, const Flags& flags, const std::stop_token& stop,
                           Errors faults) {
  Agreement agreement(world);
  const auto run = read_run(flags, faults, world.size());
  if (run) read_comparison(flags, run->request, faults);
  if (world.rank() == 0) judge_outputs(flags, faults);
  if (refused_by_any(agreement, world, faults)) return ExitCode::bad_input;
  if (!same_everywhere(agreement, world, *run)) return ExitCode::bad_input;
  std::optional<TrainingReporter> reporter;
  if (world.rank() == 0) reporter.emplace(*run);
  const TrainingEnd end = train_rank(world, *run, stop, reporter ? &*reporter : nullptr);
  return outcome(end, world.rank() == 0);
}

ExitCode train_under_launcher(const Flags& flags, const std::stop_token& stop,
                              const Errors& faults) {
  ExitCode code = ExitCode::environment;
  const auto ran =
      run_mpi([&](World& world) { code = train_rank_of_job(world, flags, stop, faults); },
              [](const std::exception& error) { return static_cast<int>(exit_code_of(error)); });
  return ran ? code : refuse(ran.errors());
}

/// Processes that find each other over TCP.
ExitCode train_over_tcp(const Flags& flags, const std::stop_token& stop, const Errors& faults) {
  Errors refused = faults;
  const double timeout_s = read_rendezvous_timeout(flags, refused);
  const auto place = read_tcp_place(process_environment());
  collect(refused, place);
  if (!place || !refused.empty()) return refuse(refused);
  ExitCode code = ExitCode::environment;
  try {
    const auto timeout = std::chrono::duration_cast<std::chrono::milliseconds>(
        std::chrono::duration<double>(timeout_s));
    const int ended = run_tcp(
        *place, timeout,
        [&](World& world) { code = train_rank_of_job(world, flags, stop, faults); },
        [](const std::exception& error) { return static_cast<int>(exit_code_of(error)); });
    return ended == 0 ? code : static_cast<ExitCode>(ended);
  } catch (const std::exception& error) {  // of the rendezvous
    print_errors({{"train", error.what(), ""}});
    return ExitCode::environment;
  }
}

ExitCode run_train(const Flags& flags, const Errors& faults) {
  // Before MPI and the ranks make threads of their own, which inherit the blocked signal.
  const InterruptGuard guard;
  Errors ignored;  // read again with all the others
  switch (read_rank_kind(flags, ignored)) {
    case RankKind::mpi: return train_under_launcher(flags, guard.token(), faults);
    case RankKind::tcp: return train_over_tcp(flags, guard.token(), faults);
    case RankKind::threads:
    case RankKind::emulated: break;
  }
  return train_here(flags, guard.token(), faults);
}

}  // namespace

void register_train(CLI::App& program, CommandResult& result) {
  add_train_flags(add_command(
      program, result,
      {"train", "Train a model, with every layout choice as a flag, and measure it", example},
      run_train));
}

}  // namespace kumihimo

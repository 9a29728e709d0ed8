#include "cli/sweep_machine.hpp"

#include <chrono>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <thread>

#include "base/files.hpp"
#include "cluster/cluster_file.hpp"
#include "cost/stack_profile_file.hpp"
#include "sweep/launcher.hpp"

namespace kumihimo {
namespace {

constexpr std::size_t most_bytes = std::size_t{1} << 20;

/// One core, with the links that are emulated.
Cluster with_links_of(const Cluster& links, const Cluster& measured) {
  Cluster cluster = links;
  cluster.device = measured.device;
  cluster.name = "emulated-" + links.name;
  cluster.aliases.clear();
  cluster.sources = {
      {{"device.memory", "device.memory_bandwidth", "device.peak", "device.achievable"},
       "Measured: one core of this machine; links are those of " + links.name,
       ""}};
  return cluster;
}

/// Runs `calibrate --measure` as the ranks of a trial run; nothing if `stop` was requested.
Expected<std::optional<MeasuredStackRecord>> run_measurement(const SweepRequest& request,
                                                             const std::filesystem::path& scratch,
                                                             const std::stop_token& stop) {
  const auto cluster_path = scratch / fmt::format("here-{}.toml", request.ranks);
  const auto stack_path = scratch / "measured-here.toml";
  TrialCommand command{.arguments = {"calibrate", "--measure"},
                       .ranks = request.ranks,
                       .output = scratch / "measured-here.txt"};
  auto& words = command.arguments;
  // Data are no part of a model.
  for (std::size_t i = 0; i + 1 < request.model_arguments.size(); i += 2) {
    if (request.model_arguments[i] == "--data") continue;
    words.push_back(request.model_arguments[i]);
    words.push_back(request.model_arguments[i + 1]);
  }
  for (std::string word :
       {std::string("--seq-length"), std::to_string(request.job.seq_length), std::string("--ranks"),
        std::to_string(request.ranks), std::string("--base"), request.strategy.base.name,
        std::string("--cluster-out"), cluster_path.string(), std::string("--out"),
        stack_path.string()}) {
    words.push_back(std::move(word));
  }
  const bool processes = request.rank_kind == SweepRanks::mpi && request.ranks > 1;
  const auto launcher =
      make_local_launcher(request.program, processes ? LocalRanks::mpi : LocalRanks::threads);
  const auto running = launcher->start(command);
  std::optional<int> code;
  while (!(code = running->exit_code()) && !stop.stop_requested()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  running->end();
  if (!code) return std::optional<MeasuredStackRecord>();
  if (*code != 0) {
    const auto said = read_file(command.output, most_bytes);
    return Error{
        "--cluster here",
        fmt::format("could not be measured ({} {}): {}", *code < 0 ? "signal" : "exit code",
                    std::abs(*code), said ? said->substr(0, 500) : ""),
        fmt::format("name a profile to start from without: --stack {}",
                    request.strategy.base.name)};
  }
  const auto cluster = read_file(cluster_path, most_bytes);
  const auto stack = read_file(stack_path, most_bytes);
  if (!cluster) return cluster.errors();
  if (!stack) return stack.errors();
  return std::optional(MeasuredStackRecord{"", *cluster, *stack});
}

/// The ranks of a cluster description are those of this sweep; its stack's shares are of its rates.
Expected<bool> take(const MeasuredStackRecord& measured, MeasuredHere& here) {
  const auto cluster = parse_cluster(measured.cluster_toml, "machine in the store");
  if (!cluster) return cluster.errors();
  const auto stack = parse_stack_profile(measured.stack_toml, "measured stack in the store");
  if (!stack) return stack.errors();
  here.cluster = *cluster;
  here.stack = *stack;
  here.stack_measured = true;
  return true;
}

/// Cluster and stack, where the request wants both measured.
Expected<bool> measure_stack(const SweepRequest& request, Store& store,
                             const std::string& fingerprint, const std::filesystem::path& scratch,
                             const std::stop_token& stop, MeasuredHere& here) {
  const std::string workload =
      fmt::format("{}, sequences of {}, {}", fmt::join(request.model_arguments, " "),
                  request.job.seq_length, request.strategy.base.name);
  const auto known = store.find_machine(fingerprint);
  if (known && !request.measure_again) {
    if (const auto measured = store.find_measured_stack(known->id, workload)) {
      here.machine = known->id;
      here.from_store = true;
      return take(*measured, here);
    }
  }
  auto measured = run_measurement(request, scratch, stop);
  if (!measured) return measured.errors();
  if (!*measured) return false;
  const auto taken = take(**measured, here);
  if (!taken) return taken.errors();
  here.machine = store.put_machine({.fingerprint = fingerprint,
                                    .host = this_process().host,
                                    .cluster_toml = (*measured)->cluster_toml});
  (*measured)->workload = workload;
  store.put_measured_stack(*here.machine, **measured);
  return true;
}

/// The machine alone.
Expected<bool> measure_cluster(const SweepRequest& request, Store& store,
                               const std::string& fingerprint, int ranks, MeasuredHere& here) {
  const auto known = store.find_machine(fingerprint);
  if (known && !request.measure_again) {
    const auto parsed = parse_cluster(known->cluster_toml, "machine in the store");
    if (!parsed) return parsed.errors();
    here.cluster = *parsed;
    here.machine = known->id;
    return true;
  }
  here.cluster = cluster_of(measure_machine(ranks), ranks, 0);
  if (request.links) here.cluster = with_links_of(*request.links, here.cluster);
  here.machine = store.put_machine({.fingerprint = fingerprint,
                                    .host = this_process().host,
                                    .cluster_toml = write_cluster(here.cluster)});
  return true;
}

}  // namespace

Expected<MeasuredHere> measure_here(const SweepRequest& request, Store& store,
                                    const std::filesystem::path& scratch,
                                    const std::stop_token& stop) {
  // Emulated ranks compute as if each had a core of its own, one at a time.
  const bool emulated = request.rank_kind == SweepRanks::emulated;
  const int ranks = emulated ? 1 : request.ranks;
  std::string fingerprint = machine_fingerprint(ranks);
  if (emulated) fingerprint += ", links of " + request.links->name;
  if (request.rank_kind == SweepRanks::mpi) fingerprint += ", messages among processes";
  MeasuredHere here;
  here.stack = request.strategy.base;
  if (request.measure_stack) {
    const auto measured = measure_stack(request, store, fingerprint, scratch, stop, here);
    if (!measured) return measured.errors();
    if (stop.stop_requested()) return here;
  }
  if (!here.stack_measured) {
    const auto measured = measure_cluster(request, store, fingerprint, ranks, here);
    if (!measured) return measured.errors();
  }
  const double share =
      emulated ? 1
               : std::min(1.0, static_cast<double>(std::thread::hardware_concurrency()) / ranks);
  here.core_fp32 = here.cluster.device.peak(Precision::fp32) / share;
  here.core_bf16 = here.cluster.device.peak(Precision::bf16) / share;
  if (request.device_memory > 0) here.cluster.device.memory = request.device_memory;
  if (emulated) here.cluster.nodes = request.links->nodes;
  return here;
}

}  // namespace kumihimo

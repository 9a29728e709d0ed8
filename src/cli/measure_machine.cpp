#include "cli/measure_machine.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/files.hpp"
#include "base/process_identity.hpp"
#include "cli/agreement.hpp"
#include "cli/gpu_options.hpp"
#include "cli/json_text.hpp"
#include "cli/model_options.hpp"
#include "cli/table.hpp"
#include "cli/terminal.hpp"
#include "cluster/cluster_file.hpp"
#include "cost/stack_profile_file.hpp"
#include "measure/collectives.hpp"
#include "measure/operations.hpp"

namespace kumihimo {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t most_bytes = std::size_t{16} << 20;

/// Whose collectives are timed.
enum class Ranks { threads, processes, of_other_benchmarks };

std::string_view name_of(Ranks ranks) {
  switch (ranks) {
    case Ranks::threads: return "threads";
    case Ranks::processes: return "processes";
    case Ranks::of_other_benchmarks: return "other benchmarks";
  }
  return "?";
}

struct MeasureRequest {
  TransformerShape model;
  std::int64_t seq_length = 256;
  int ranks = 1;
  Ranks kind = Ranks::threads;
  StackProfile base;
  std::string out, cluster_out, name;
  std::vector<CollectivePoint> given;  ///< from other benchmarks' output
  std::optional<Cluster> stated;       ///< whose vendor's figures to compare with
  std::optional<GpuRequest> gpu;       ///< --backend cuda
};

/// A rank for each GPU, unless fewer are asked for.
void read_gpus(const Flags& flags, std::optional<std::int64_t> ranks, MeasureRequest& request,
               Errors& faults) {
  const auto backend = load_cuda();
  collect(faults, backend);
  if (!backend) return;
  const auto named = flags.whole_list("--gpus", 0, 1023, faults);
  const auto gpus = named.empty() ? std::ssize((*backend)->devices()) : std::ssize(named);
  request.ranks = static_cast<int>(ranks.value_or(gpus));
  request.gpu = read_gpu_flags(flags, request.ranks, request.ranks, faults);
}

void judge_processes(int processes, int ranks, Errors& faults) {
  if (processes < 2) {
    faults.push_back({"mpirun", "started one process, which has nobody to send to",
                      "start two or more: mpirun -n 2 kumihimo calibrate --measure ..."});
  } else if (ranks != processes) {
    faults.push_back({"--ranks",
                      fmt::format("is {}, but mpirun started {} processes", ranks, processes),
                      "leave --ranks out, or start as many"});
  }
}

/// `processes`: ranks of the MPI job that this process belongs to, if it does.
std::optional<MeasureRequest> read_request(const Flags& flags, Errors& faults,
                                           std::optional<int> processes = std::nullopt) {
  MeasureRequest request;
  const auto model = read_model_flags(flags, faults);
  request.seq_length = flags.whole("--seq-length", 1, 1'000'000, faults).value_or(256);
  const auto cores = static_cast<std::int64_t>(std::max(1U, std::thread::hardware_concurrency()));
  const auto ranks_asked = flags.whole("--ranks", 1, 1024, faults);
  request.ranks = static_cast<int>(ranks_asked.value_or(processes.value_or(cores)));
  if (processes) judge_processes(*processes, request.ranks, faults);
  const std::string backend = flags.text("--backend", faults).value_or("cpu");
  if (backend == "cuda" && processes) {
    faults.push_back({"--backend", "\"cuda\" is measured with ranks that are threads",
                      "start it without mpirun"});
  } else if (backend == "cuda") {
    read_gpus(flags, ranks_asked, request, faults);
    if (request.gpu && model) {
      judge_flash_attention(*request.gpu, {DType::bf16, request.seq_length, model->head_dim},
                            "--model", "measure with a model of smaller heads", faults);
    }
  } else {
    judge_no_gpu_flags(flags, faults);
    if (backend != "cpu") {
      faults.push_back({"--backend", "is \"" + backend.substr(0, 60) + "\"", "use cpu or cuda"});
    }
  }
  const auto base = read_stack_profile(
      flags.text("--base", faults).value_or(request.gpu ? "uncalibrated" : "kumihimo-cpu"));
  collect(faults, base);
  for (const auto& [flag, into] :
       {std::pair{"--out", &request.out}, std::pair{"--cluster-out", &request.cluster_out}}) {
    *into =
        flags.required_text(flag, fmt::format("name the file to write: {} mine.toml", flag), faults)
            .value_or("");
    if (!into->empty()) judge_output_path(flag, *into, faults);
    if (!into->empty() && !into->ends_with(".toml")) {
      faults.push_back({flag, "is \"" + into->substr(0, 60) + "\"", "give it a name in .toml"});
    }
  }
  const auto ranks = flags.whole("--collective-ranks", 2, 1'000'000, faults);
  for (const std::string& path : flags.texts("--collectives", faults)) {
    const auto text = read_file(path, most_bytes);
    collect(faults, text);
    if (!text) continue;
    const auto points = parse_collectives(
        *text, path, ranks ? std::optional(static_cast<int>(*ranks)) : std::nullopt);
    collect(faults, points);
    if (points && !has_two_sizes(*points)) {
      faults.push_back({path, "holds times of one size only", "give a run over several sizes"});
    }
    if (points) request.given.insert(request.given.end(), points->begin(), points->end());
  }
  if (const auto name = flags.text("--against", faults)) {
    const auto stated = read_cluster(*name);
    collect(faults, stated);
    if (stated) request.stated = *stated;
  }
  request.kind = !request.given.empty() ? Ranks::of_other_benchmarks
                 : processes            ? Ranks::processes
                                        : Ranks::threads;
  if (!faults.empty() || !model || !base) return std::nullopt;
  request.model = *model;
  request.base = *base;
  request.name =
      flags.text("--name", faults).value_or(std::filesystem::path(request.out).stem().string());
  return request;
}

struct Measurement {
  MachineFigures figures;
  Cluster cluster;
  StackProfile profile;
  std::vector<MeasuredShare> shares;
  std::vector<CollectivePoint> points;
  LinkFit collectives, messages;
};

/// A figure of a device or link, as measured and as a cluster file states it.
struct StatedFigure {
  std::string name;
  double measured = 0;
  double stated = 0;
  bool is_rate_of_flop = false;

  double share() const { return measured / stated; }
};

/// Figures that were measured and that the cluster states. A collective over more ranks than a node
/// has devices is held against the link between nodes.
std::vector<StatedFigure> compared(const Measurement& measured, const Cluster& stated) {
  int most_ranks = 0;
  for (const CollectivePoint& point : measured.points) {
    most_ranks = std::max(most_ranks, point.ranks);
  }
  const bool within_node = most_ranks <= stated.devices_per_node;
  const auto bandwidth = [&](int ranks) {
    return within_node ? stated.intra_node_bandwidth(ranks) : stated.inter_node.bandwidth;
  };
  const std::string where = within_node ? " within a node" : " between nodes";
  const MachineFigures& figures = measured.figures;
  std::vector<StatedFigure> all{
      {"products, fp32", figures.fp32_flop_per_s, stated.device.peak(Precision::fp32), true},
      {"products, bf16", figures.bf16_flop_per_s, stated.device.peak(Precision::bf16), true},
      {"memory", figures.core_bandwidth, stated.device.memory_bandwidth},
      {"collectives" + where, measured.collectives.bandwidth, bandwidth(most_ranks)},
      {"messages" + where, measured.messages.bandwidth, bandwidth(2)}};
  std::erase_if(all, [](const StatedFigure& f) { return f.measured <= 0 || f.stated <= 0; });
  return all;
}

std::string comparison_text(const std::vector<StatedFigure>& figures, const Cluster& stated) {
  Table table{{{""}, {"measured", Align::right}, {"stated", Align::right}, {"share", Align::right}},
              {}};
  for (const StatedFigure& f : figures) {
    const auto text = [&](double value) {
      return f.is_rate_of_flop ? format_flop_per_second(value) : format_bytes_per_second(value);
    };
    table.rows.push_back(
        {f.name, text(f.measured), text(f.stated), fmt::format("{:.0f} %", 100 * f.share())});
  }
  return fmt::format("Against what {} states for {}\n", stated.name, stated.device.name) +
         to_text(table);
}

double bounded(const ProfileParameter& parameter, double value) {
  const double rounded = std::stod(fmt::format("{:.4g}", value));
  return std::clamp(rounded, parameter.lower, parameter.upper);
}

void set_parameter(StackProfile& profile, std::string_view key, double value, double log_spread) {
  for (const ProfileParameter& parameter : profile_parameters()) {
    if (parameter.key != key) continue;
    profile.*parameter.member = bounded(parameter, value);
    profile.spreads.push_back({std::string(key), std::stod(fmt::format("{:.3g}", log_spread))});
  }
}

/// Times the kernels; `points` are what collectives took.
Measurement measure(const MeasureRequest& request, std::vector<CollectivePoint> points) {
  Measurement result;
  std::unique_ptr<Gpu> gpu;
  if (request.gpu) {
    gpu = request.gpu->backend->open(request.gpu->gpus.front(), request.gpu->options);
  }
  result.figures = gpu ? measure_gpu(*gpu) : measure_machine(request.ranks);
  result.shares = measure_operations(request.model, request.seq_length, result.figures, gpu.get());
  raise_figures(result.figures, result.shares);
  result.points = std::move(points);
  std::vector<CollectivePoint> collectives, messages;
  for (const CollectivePoint& point : result.points) {
    (point.kind == CollectiveKind::send_receive ? messages : collectives).push_back(point);
  }
  if (has_two_sizes(collectives)) result.collectives = fit_link(collectives);
  if (has_two_sizes(messages)) result.messages = fit_link(messages);

  // Where there is no link to be measured, copies in the GPU's own memory stand in.
  const Link unmeasured{result.figures.core_bandwidth, 1e-6};
  result.cluster = gpu ? cluster_of_gpus(result.figures, gpu->facts(), request.ranks, unmeasured)
                       : cluster_of(result.figures, request.ranks, 0);
  result.cluster.name = std::filesystem::path(request.cluster_out).stem().string();
  Link& link = result.cluster.intra_node;
  // Links that nobody timed keep the figure of the machine's own all-reduces.
  link.bandwidth =
      std::max({result.collectives.bandwidth, result.messages.bandwidth,
                result.collectives.points + result.messages.points > 0 ? 0 : link.bandwidth});
  double collective_s = result.collectives.fixed_s;
  if (request.kind == Ranks::processes) {
    // The machine's own latency is that of threads. A collective is one message at least.
    link.latency_s = std::max(1e-7, result.messages.fixed_s);
    collective_s -= link.latency_s;
    result.cluster.description =
        fmt::format("{} ranks as processes on {} cores of {}, measured", request.ranks,
                    result.figures.cores, result.figures.processor);
    result.cluster.sources.front().title =
        "Measured on this machine: products of 1024^3, copies, collectives and messages among its "
        "processes (MPI)";
  }
  result.cluster.inter_node = link;
  result.cluster.nic_bandwidth = link.bandwidth * request.ranks;
  if (gpu) result.cluster.host_link_bandwidth = link.bandwidth;

  StackProfile& profile = result.profile;
  profile = request.base;
  profile.name = request.name;
  profile.cluster = result.cluster.name;
  profile.evidence.clear();
  profile.spreads.clear();
  // Facts of our trainer, whose copies run beside kernels on a GPU alone.
  profile.defaults.offloaded_update_behind_forward = gpu != nullptr;
  profile.defaults.weight_gathering_behind_forward = true;
  profile.origin = fmt::format(
      "measured at the shapes of {}, sequences of {}, on {} cores of {}, messages among {} {}; the "
      "rest as {}",
      request.model.name, request.seq_length, result.figures.cores, result.figures.processor,
      request.ranks, name_of(request.kind), request.base.name);
  for (const MeasuredShare& share : result.shares) {
    set_parameter(profile, share.key, share.value, share.log_spread);
  }
  if (result.collectives.points > 0) {
    set_parameter(profile, "rates.intra_node", result.collectives.bandwidth / link.bandwidth,
                  result.collectives.log_spread);
    set_parameter(profile, "seconds.collective", std::max(1e-7, collective_s),
                  result.collectives.log_spread);
  }
  if (result.messages.points > 0) {
    set_parameter(profile, "rates.point_to_point", result.messages.bandwidth / link.bandwidth,
                  result.messages.log_spread);
  }
  return result;
}

std::string text_of(const MeasureRequest& request, const Measurement& measured) {
  const MachineFigures& figures = measured.figures;
  std::string text = fmt::format(
      "{}: {}, {}\n  one {}: products {} fp32, {} bf16; memory {}{}\n\n", figures.processor,
      request.gpu ? fmt::format("{} of them", request.ranks)
                  : fmt::format("{} cores", figures.cores),
      format_bytes(static_cast<double>(figures.memory)), request.gpu ? "GPU" : "core",
      format_flop_per_second(figures.fp32_flop_per_s),
      format_flop_per_second(figures.bf16_flop_per_s), request.gpu ? "" : "and caches ",
      format_bytes_per_second(figures.core_bandwidth));
  Table shares{{{"parameter"},
                {"share", Align::right},
                {"spread", Align::right},
                {"samples", Align::right},
                {"measured"}},
               {}};
  for (const MeasuredShare& share : measured.shares) {
    shares.rows.push_back({share.key, fmt::format("{:.2f}", share.value),
                           fmt::format("± {:.0f} %", 100 * std::expm1(share.log_spread)),
                           std::to_string(share.samples), share.what});
  }
  text += "Shares of these rates\n" + to_text(shares) + "\n";
  text += fmt::format("Collectives among {}\n", name_of(request.kind));
  Table links{
      {{"collective"}, {"ranks", Align::right}, {"bytes", Align::right}, {"time", Align::right}},
      {}};
  for (const CollectivePoint& point : measured.points) {
    links.rows.push_back({std::string(to_string(point.kind)), std::to_string(point.ranks),
                          format_bytes(point.bytes), format_seconds(point.seconds)});
  }
  text += to_text(links);
  const auto link = [](const char* what, const LinkFit& fit) {
    return fmt::format("  {}: {} + {} each, off by {:.0f} %\n", what,
                       format_bytes_per_second(fit.bandwidth), format_seconds(fit.fixed_s),
                       100 * fit.log_spread);
  };
  text += "\n" + link("collectives", measured.collectives);
  if (measured.messages.points > 0) text += link("messages", measured.messages);
  if (request.stated) {
    text += "\n" + comparison_text(compared(measured, *request.stated), *request.stated);
  }
  return text + fmt::format("\nWrote {} and {}\n", request.cluster_out, request.out);
}

Json json_of(const MeasureRequest& request, const Measurement& measured) {
  Json against;
  if (request.stated) {
    Json figures = Json::array();
    for (const StatedFigure& f : compared(measured, *request.stated)) {
      figures.push_back(
          {{"name", f.name}, {"measured", f.measured}, {"stated", f.stated}, {"share", f.share()}});
    }
    against = {{"cluster", request.stated->name}, {"figures", std::move(figures)}};
  }
  Json shares = Json::array(), points = Json::array();
  for (const MeasuredShare& share : measured.shares) {
    shares.push_back({{"key", share.key},
                      {"value", share.value},
                      {"log_spread", share.log_spread},
                      {"samples", share.samples}});
  }
  for (const CollectivePoint& point : measured.points) {
    points.push_back({{"kind", to_string(point.kind)},
                      {"ranks", point.ranks},
                      {"bytes", point.bytes},
                      {"seconds", point.seconds}});
  }
  const auto link = [](const LinkFit& fit) {
    return Json{{"bytes_per_s", fit.bandwidth},
                {"fixed_s", fit.fixed_s},
                {"log_spread", fit.log_spread},
                {"points", fit.points}};
  };
  return {{"schema", "kumihimo.measure/1"},
          {"processor", measured.figures.processor},
          {"cores", measured.figures.cores},
          {"fp32_flop_per_s", measured.figures.fp32_flop_per_s},
          {"bf16_flop_per_s", measured.figures.bf16_flop_per_s},
          {"core_bandwidth_bytes_per_s", measured.figures.core_bandwidth},
          {"shares", std::move(shares)},
          {"ranks_are", name_of(request.kind)},
          {"collectives", std::move(points)},
          {"collective_fit", link(measured.collectives)},
          {"message_fit", link(measured.messages)},
          {"against", std::move(against)}};
}

}  // namespace

void add_measure_flags(Flags& flags) {
  flags.group("Measuring this machine");
  flags.add_switch("--measure", "time this machine's kernels and collectives instead of fitting");
  add_model_flag(flags);
  flags.add_value("--seq-length", "N", "tokens of a sequence (default: 256)");
  flags.add_value("--ranks", "N",
                  "ranks that share the machine (default: its cores); threads, or processes under "
                  "mpirun");
  flags.add_value("--cluster-out", "FILE", "where to write the machine as a cluster");
  flags.add_values("--collectives", "FILE",
                   "output of nccl-tests or OSU micro-benchmarks, instead of timing ranks");
  flags.add_value("--collective-ranks", "N", "ranks of OSU's output, which does not say");
  flags.add_value("--against", "NAME|PATH",
                  "a cluster with the vendor's figures: says what share of each was measured");
  flags.add_value("--backend", "NAME", "cpu (default), cuda: a GPU, and the links between GPUs");
  add_model_change_flags(flags);
  add_gpu_flags(flags);
}

namespace {

ExitCode finish(const Flags& flags, const MeasureRequest& request,
                std::vector<CollectivePoint> points) {
  const Measurement measured = measure(request, std::move(points));
  for (const auto& [path, text] : {std::pair{request.cluster_out, write_cluster(measured.cluster)},
                                   std::pair{request.out, write_stack_profile(measured.profile)}}) {
    const auto written = write_file_atomically(path, text);
    if (written) continue;
    print_errors(written.errors());
    return ExitCode::environment;
  }
  return print(flags.given("--json") ? to_json_text(json_of(request, measured))
                                     : text_of(request, measured));
}

/// Whether all ranks are processes of one machine: its links are what is measured.
bool on_one_machine(Agreement& agreement) {
  constexpr int exact_bits = 52;
  const std::size_t hash = std::hash<std::string>{}(this_process().host);
  const auto own = static_cast<double>(hash >> (64 - exact_bits));
  return agreement.lowest(own) == agreement.highest(own);
}

/// What one rank of an MPI job found: the request and, on rank 0, the points; nothing if refused.
struct MeasuredByRank {
  MeasureRequest request;
  std::vector<CollectivePoint> points;
  bool first = false;
};

std::optional<MeasuredByRank> measure_as_rank(World& world, const Flags& flags, Errors faults) {
  Agreement agreement(world);
  const auto request = read_request(flags, faults, world.size());
  if (!on_one_machine(agreement)) {
    faults.push_back({"mpirun", "started processes on several machines",
                      "measure each machine alone, and the links between them with nccl-tests or "
                      "OSU micro-benchmarks: --collectives FILE"});
  }
  if (refused_by_any(agreement, world, faults)) return std::nullopt;
  return MeasuredByRank{*request,
                        request->given.empty() ? measure_collectives(world) : request->given,
                        world.rank() == 0};
}

ExitCode measure_as_job(const Flags& flags, const Errors& faults) {
  std::optional<MeasuredByRank> own;
  const auto ran =
      run_mpi([&](World& world) { own = measure_as_rank(world, flags, faults); },
              [](const std::exception&) { return static_cast<int>(ExitCode::environment); });
  if (!ran) return refuse(ran.errors());
  if (!own) return ExitCode::bad_input;
  // The others wait at MPI's end, where they sleep, until the first has timed its kernels.
  return own->first ? finish(flags, own->request, std::move(own->points)) : ExitCode::done;
}

}  // namespace

ExitCode measure_this_machine(const Flags& flags, Errors faults) {
  if (started_by_mpi()) return measure_as_job(flags, faults);
  const auto request = read_request(flags, faults);
  if (!request || !faults.empty()) return refuse(faults);
  if (!request->given.empty()) return finish(flags, *request, request->given);
  if (!request->gpu)
    return finish(flags, *request, measure_collectives(std::max(2, request->ranks)));
  if (request->ranks == 1) return finish(flags, *request, {});  // one GPU has no link
  const auto place = [&request](World& host) { return world_on_gpu(host, *request->gpu); };
  return finish(flags, *request, measure_collectives(request->ranks, place));
}

}  // namespace kumihimo

#include "cli/gpu_options.hpp"

#include <algorithm>
#include <cstdlib>
#include <fmt/format.h>
#include <utility>

#include "base/catalog.hpp"
#include "cluster/cluster_file.hpp"
#include "comm/connected_gpus_world.hpp"
#include "tensor/gpu_attention.hpp"

namespace kumihimo {
namespace {

constexpr int most_gpus = 1024;

/// A rank's GPU and the world on it, which goes first.
struct RankGpu {
  std::unique_ptr<Gpu> gpu;
  std::unique_ptr<World> world;
};

std::vector<int> all_gpus(const CudaBackend& backend) {
  std::vector<int> ordinals;
  for (const GpuFacts& facts : backend.devices()) ordinals.push_back(facts.ordinal);
  return ordinals;
}

/// A place in --gpus for a rank: threads share a single one.
int gpu_of(const GpuRequest& request, int local) {
  if (request.gpus.size() == 1) return request.gpus.front();
  return request.gpus.at(static_cast<std::size_t>(local));
}

}  // namespace

std::vector<int> judge_gpus(const GpuRequest& request, int first_rank, int ranks, Errors& faults) {
  const auto& devices = request.backend->devices();
  const std::size_t before = faults.size();
  for (const int ordinal : request.gpus) {
    if (std::ranges::find(devices, ordinal, &GpuFacts::ordinal) != devices.end()) continue;
    faults.push_back({"--gpus", fmt::format("names GPU {} of {}", ordinal, devices.size()),
                      fmt::format("use 0 to {}", devices.size() - 1)});
  }
  std::vector<int> used;
  if (faults.size() > before) return used;
  for (int local = first_rank; local < first_rank + ranks; ++local) {
    const int ordinal = gpu_of(request, local);
    if (std::ranges::find(used, ordinal) != used.end()) continue;
    used.push_back(ordinal);
    const std::string why = request.backend->why_unusable(ordinal);
    if (!why.empty()) faults.push_back({fmt::format("GPU {}", ordinal), why, ""});
  }
  return used;
}

std::function<void(double)> watch_of_shared_gpu(World& host, double timeout_s) {
  return [&host, timeout_s](double waited_s) {
    host.check_peers();
    if (waited_s <= timeout_s) return;
    throw PeerFailure(fmt::format("rank {} has waited {:.0f} s for its GPU, which may hang",
                                  host.rank(), waited_s));
  };
}

void add_gpu_flags(Flags& flags) {
  flags.group("GPUs (--backend cuda)");
  flags.add_value(
      "--gpus", "0,1,...",
      "which GPUs the ranks of this machine use; one: all ranks share it (default: all)");
  flags.add_switch("--tf32", "fp32 products with a mantissa of 10 bits, on the tensor cores");
  flags.add_switch(
      "--untuned-products",
      "take the library's first algorithm for each product: the same bits on every run");
  flags.add_switch("--own-attention", "our own flash attention, not cuDNN's");
  flags.add_value("--gpu-timeout", "SECONDS",
                  "after which a wait for a GPU or another rank ends the job (default: 600)");
}

std::optional<GpuRequest> read_gpu_flags(const Flags& flags, int ranks_here, int ranks,
                                         Errors& faults) {
  constexpr double longest = 1e6;
  const std::size_t before = faults.size();
  GpuRequest request;
  request.gpus = flags.whole_list("--gpus", 0, most_gpus - 1, faults);
  request.options.tf32 = flags.given("--tf32");
  request.options.tune_products = !flags.given("--untuned-products");
  request.options.library_attention = !flags.given("--own-attention");
  request.timeout_s = flags.number("--gpu-timeout", 1, longest, faults).value_or(request.timeout_s);
  auto backend = load_cuda();
  collect(faults, backend);
  if (!backend) return std::nullopt;
  request.backend = *std::move(backend);
  if (request.gpus.empty()) request.gpus = all_gpus(*request.backend);
  const auto gpus = static_cast<int>(request.gpus.size());
  const bool threads = ranks_here == ranks;
  request.shared = threads && (gpus == 1 || ranks == 1);
  if (request.shared) request.gpus.resize(1);
  const int first_local = threads ? 0 : local_rank();
  const int last_local = threads ? ranks - 1 : first_local;
  if (request.shared || last_local < gpus) {
    judge_gpus(request, first_local, last_local - first_local + 1, faults);
  } else {
    faults.push_back(
        {"--gpus", fmt::format("are {} GPUs for {} ranks of this machine", gpus, last_local + 1),
         threads ? "use at most as many ranks as GPUs, or one GPU that all ranks share: --gpus 0"
                 : "start at most as many processes as GPUs, or ranks as threads that share one"});
  }
  if (!request.shared && ranks > 1) {
    auto connector = load_nccl();
    collect(faults, connector);
    if (connector) request.connector = *std::move(connector);
  }
  return faults.size() > before ? std::nullopt : std::optional(std::move(request));
}

void judge_flash_attention(const GpuRequest& request, const FlashHeads& heads, const char* flag,
                           const char* remedy, Errors& faults) {
  const bool library =
      request.options.library_attention && request.backend->has_library_attention();
  for (const GpuFacts& facts : request.backend->devices()) {
    if (std::ranges::find(request.gpus, facts.ordinal) == request.gpus.end()) continue;
    const std::string why =
        why_no_flash_attention(facts, library, heads.dtype, heads.seq_length, heads.head_dim);
    if (why.empty()) continue;
    faults.push_back({flag, why, remedy});
    return;  // a machine's GPUs are alike
  }
}

void judge_no_gpu_flags(const Flags& flags, Errors& faults) {
  for (const char* flag :
       {"--gpus", "--tf32", "--untuned-products", "--own-attention", "--gpu-timeout"}) {
    if (flags.given(flag)) {
      faults.push_back({flag, "is for --backend cuda", "add it, or leave this out"});
    }
  }
}

std::shared_ptr<World> world_on_gpu(World& host, const GpuRequest& request) {
  auto own = std::make_shared<RankGpu>();
  const int local = host.backend() == "threads" ? host.rank() : local_rank();
  own->gpu = request.backend->open(gpu_of(request, local), request.options);
  if (request.shared) {
    own->world = host.sharing(*own->gpu);
    own->gpu->set_watch(watch_of_shared_gpu(host, request.timeout_s));
  }
  if (!own->world) {
    own->world =
        std::make_unique<ConnectedGpusWorld>(host, *own->gpu, request.connector, request.timeout_s);
  }
  World* world = own->world.get();
  return {std::move(own), world};
}

int local_rank() {
  for (const char* name :
       {"LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"}) {
    if (const char* text = std::getenv(name)) return std::max(0, std::atoi(text));
  }
  return 0;
}

std::optional<StatedPeak> stated_peak(const std::string& gpu_name, Precision precision) {
  for (const std::string& name : catalog_names(CatalogKind::clusters)) {
    const auto cluster = read_cluster(name);
    if (!cluster || cluster->device.name != gpu_name) continue;
    if (cluster->device.supports(precision)) {
      return StatedPeak{cluster->device.peak(precision), cluster->name};
    }
  }
  return std::nullopt;
}

}  // namespace kumihimo

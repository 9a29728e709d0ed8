#include "measure/machine.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fmt/format.h>
#include <fstream>
#include <sys/sysinfo.h>
#include <thread>
#include <vector>

#include "base/elapsed.hpp"
#include "comm/world.hpp"
#include "measure/bench_device.hpp"
#include "measure/product_rate.hpp"
#include "measure/thread_clock.hpp"
#include "tensor/device_memory.hpp"

namespace kumihimo {
namespace {

/// The best of some runs within `for_s`: what is in the way only makes them slower.
template <class Work>
double least_seconds(double for_s, Work work) {
  work();
  double least = 1e9;
  const auto begin = SteadyClock::now();
  do {
    const double start = thread_seconds();
    work();
    least = std::min(least, thread_seconds() - start);
  } while (seconds_since(begin) < for_s);
  return least;
}

double product_flop_per_s(DType dtype) {
  DeviceMemory memory(make_host_memory());
  Workspace workspace(memory);
  const auto kernels = make_cpu_kernels(workspace, 1);
  return kernels ? best_product_rate(**kernels, workspace, dtype, thread_seconds) : 0;
}

double copy_bandwidth() {
  constexpr std::size_t bytes = std::size_t{128} << 20;
  std::vector<char> from(bytes, 1), to(bytes, 2);
  const double least = least_seconds(0.3, [&] { std::memcpy(to.data(), from.data(), bytes); });
  return 2.0 * bytes / least;
}

/// Median seconds of an all-reduce of so many fp32 numbers on all ranks.
double all_reduce_seconds(int ranks, std::int64_t numbers) {
  double median = 0;
  run_threads(ranks, [&](World& world) {
    DeviceMemory memory(make_host_memory());
    Workspace workspace(memory);
    const Workspace::Scope scope(workspace);
    const Matrix x = workspace.take(1, numbers, DType::fp32);
    std::memset(x.data, 0, static_cast<std::size_t>(numbers) * sizeof(float));
    std::vector<int> all(static_cast<std::size_t>(ranks));
    for (int rank = 0; rank < ranks; ++rank) all[static_cast<std::size_t>(rank)] = rank;
    const auto group = world.make_group(all);
    std::vector<double> seconds;
    for (int i = 0; i < 15; ++i) {
      group->barrier();
      const double begin = world.clock().now_s();
      group->all_reduce(x);
      seconds.push_back(world.clock().now_s() - begin);
    }
    std::ranges::sort(seconds);
    if (world.rank() == 0) median = seconds[seconds.size() / 2];
  });
  return median;
}

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name"))
      return line.substr(std::min(line.size(), line.find(':') + 2));
  }
  return "a processor";
}

Bytes machine_memory() {
  struct sysinfo info {};
  return sysinfo(&info) == 0 ? static_cast<Bytes>(info.totalram) * info.mem_unit : 0;
}

int machine_cores() { return static_cast<int>(std::max(1U, std::thread::hardware_concurrency())); }

}  // namespace

MachineFigures measure_machine(int ranks) {
  MachineFigures figures;
  figures.processor = processor_name();
  figures.cores = machine_cores();
  figures.memory = machine_memory();
  figures.fp32_flop_per_s = product_flop_per_s(DType::fp32);
  figures.bf16_flop_per_s = product_flop_per_s(DType::bf16);
  figures.core_bandwidth = copy_bandwidth();
  const int group = std::max(2, ranks);
  constexpr std::int64_t few = 64, many = 1 << 20;
  const double short_s = all_reduce_seconds(group, few);
  const double long_s = all_reduce_seconds(group, many);
  // A ring sends 2 (n - 1) / n of the bytes in 2 (n - 1) messages.
  const double messages = 2.0 * (group - 1);
  const double sent = messages / group * static_cast<double>(many) * sizeof(float);
  figures.message_latency_s = std::max(1e-7, short_s / messages);
  figures.message_bandwidth = sent / std::max(long_s - short_s, 1e-6);
  return figures;
}

MachineFigures measure_gpu(Gpu& gpu) {
  constexpr int first_with_fp8 = 89;
  constexpr Bytes copied = Bytes{1} << 30;
  const GpuFacts& facts = gpu.facts();
  MachineFigures figures;
  figures.processor = facts.name;
  figures.memory = facts.memory;
  BenchDevice device(&gpu);
  const auto rate = [&](DType dtype) {
    return best_product_rate(
        device.kernels(), device.workspace(), dtype, [&] { return device.now_s(); },
        products_of_gpus);
  };
  figures.fp32_flop_per_s = rate(DType::fp32);
  figures.bf16_flop_per_s = rate(DType::bf16);
  if (facts.major * 10 + facts.minor >= first_with_fp8) {
    figures.fp8_flop_per_s = rate(DType::fp8_e4m3);
  }
  const Workspace::Scope scope(device.workspace());
  const Matrix from = device.workspace().take(1, copied, DType::fp8_e4m3);
  const Matrix to = device.workspace().take(1, copied, DType::fp8_e4m3);
  double least_s = 1e9;
  for (int i = 0; i < 10; ++i) {
    least_s = std::min(least_s, device.time([&] { gpu.queue().copy(from.data, to.data, copied); }));
  }
  figures.core_bandwidth = 2.0 * static_cast<double>(copied) / least_s;
  return figures;
}

Cluster cluster_of_gpus(const MachineFigures& figures, const GpuFacts& facts, int gpus,
                        const Link& link) {
  Cluster cluster;
  cluster.name = fmt::format("here-{}-gpus", gpus);
  cluster.description = fmt::format("{} x {}, measured", gpus, facts.name);
  Device& device = cluster.device;
  device.name = facts.name;
  device.architecture = facts.major == 8   ? facts.minor == 9 ? "ada" : "ampere"
                        : facts.major == 9 ? "hopper"
                                           : "blackwell";
  device.memory = facts.memory;
  device.memory_bandwidth = figures.core_bandwidth;
  const auto peak = [&](Precision precision, double rate) {
    device.peak_flop_per_s[static_cast<std::size_t>(precision)] = rate;
    device.achievable_flop_per_s[static_cast<std::size_t>(precision)] = rate;
  };
  peak(Precision::fp32, figures.fp32_flop_per_s);
  peak(Precision::bf16, figures.bf16_flop_per_s);
  peak(Precision::fp8, figures.fp8_flop_per_s);
  cluster.devices_per_node = gpus;
  cluster.nodes = 1;
  cluster.intra_node = link;
  cluster.inter_node = link;
  cluster.nics_per_node = 1;
  cluster.nic_bandwidth = link.bandwidth;
  cluster.host_memory = machine_memory();
  cluster.host_link_bandwidth = link.bandwidth;
  cluster.sources.push_back(
      {{"device.memory", "device.memory_bandwidth", "device.peak", "device.achievable",
        "host.memory", "host.link_bandwidth", "links.intra_node", "links.inter_node"},
       "Measured on this machine: products of up to 8192^3, copies in the GPU's memory, "
       "collectives "
       "among its GPUs; the host's link was not measured",
       ""});
  return cluster;
}

std::string machine_fingerprint(int ranks) {
  return fmt::format("{}, {} cores, {} bytes, {} ranks as threads", processor_name(),
                     machine_cores(), machine_memory(), ranks);
}

Cluster cluster_of(const MachineFigures& figures, int ranks, Bytes device_memory) {
  const double share = std::min(1.0, static_cast<double>(figures.cores) / ranks);
  Cluster cluster;
  cluster.name = fmt::format("here-{}", ranks);
  cluster.description =
      fmt::format("{} ranks on {} cores of {}, measured", ranks, figures.cores, figures.processor);
  Device& device = cluster.device;
  device.name = fmt::format("{:.3g} cores of {}", std::min(1.0, share), figures.processor);
  device.architecture = "cpu";
  device.memory = device_memory > 0 ? device_memory : figures.memory / std::max(1, ranks);
  device.memory_bandwidth = figures.core_bandwidth * share;
  const auto peak = [&](Precision precision, double rate) {
    device.peak_flop_per_s[static_cast<std::size_t>(precision)] = rate * share;
    device.achievable_flop_per_s[static_cast<std::size_t>(precision)] = rate * share;
  };
  peak(Precision::fp32, figures.fp32_flop_per_s);
  peak(Precision::bf16, figures.bf16_flop_per_s);
  cluster.devices_per_node = ranks;
  cluster.nodes = 1;
  cluster.intra_node = {figures.message_bandwidth, figures.message_latency_s};
  cluster.inter_node = cluster.intra_node;
  cluster.nics_per_node = 1;
  cluster.nic_bandwidth = figures.message_bandwidth;
  cluster.host_memory = std::max(Bytes{1} << 20, figures.memory);  // offloaded: beside its budget
  cluster.host_link_bandwidth = figures.core_bandwidth;
  cluster.sources.push_back(
      {{"device.memory", "device.memory_bandwidth", "device.peak", "device.achievable",
        "host.memory", "host.link_bandwidth", "links.intra_node", "links.inter_node"},
       "Measured on this machine: products of 1024^3, copies, all-reduces among its threads",
       ""});
  return cluster;
}

}  // namespace kumihimo

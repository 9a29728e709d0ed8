// Question: how long does a user wait for a full search on one core, and how many layouts does it
// judge in a second? The targets: llama-65b on 128 GPUs within 0.5 s; a million layouts of a model
// of 10^12 parameters on 16,384 GPUs within 5 s and 500 MiB.

#include <benchmark/benchmark.h>
#include <fstream>
#include <string>

#include "cluster/cluster_file.hpp"
#include "model/model_catalog.hpp"
#include "search/search.hpp"

namespace kumihimo {
namespace {

SearchRequest default_request(const char* model, const char* cluster, std::int64_t devices,
                              std::int64_t global_batch_size) {
  SearchRequest request;
  request.job.model = *read_model(model);
  request.job.seq_length = 2048;
  request.job.global_batch_size = global_batch_size;
  request.cluster = *read_cluster(cluster);
  request.devices = devices;
  request.space = default_space(request.job, request.cluster, devices, request.profile);
  request.threads = 1;
  return request;
}

/// 2.5 million numbers, 1.8 million of them distinct layouts: what the default space leaves to the
/// stack is searched as well.
SearchRequest million_layouts() {
  SearchRequest request = default_request("gpt-1t", "h100-80gb-sxm", 16384, 16384);
  SearchSpace& space = request.space;
  space.context_parallel = {1, 2, 4, 8};
  space.zero_stage = {0, 1, 2, 3};
  space.attention = {AttentionKernel::flash1, AttentionKernel::flash2};
  space.norm = {NormKernel::unfused, NormKernel::fused};
  space.gradient_dtype = {Precision::fp32, Precision::bf16};
  space.overlap_data_parallel = {true, false};
  space.overlap_tensor_parallel = {true, false};
  return request;
}

/// Of the whole process so far, in MiB; 0 where the system does not tell.
double peak_memory_mib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stod(line.substr(6)) / 1024;
  }
  return 0;
}

void measure(benchmark::State& state, const SearchRequest& request) {
  SearchResult result;
  for (auto _ : state) {
    result = search(request);
    benchmark::DoNotOptimize(result);
  }
  const auto rate = [&](std::int64_t layouts) {
    return benchmark::Counter(static_cast<double>(layouts),
                              benchmark::Counter::kIsIterationInvariantRate);
  };
  state.counters["layouts/s"] = rate(result.considered);
  state.counters["valid/s"] = rate(result.considered - result.invalid);
  state.counters["considered"] = static_cast<double>(result.considered);
  state.counters["valid"] = static_cast<double>(result.considered - result.invalid);
  state.counters["simulated"] = static_cast<double>(result.simulated);
  state.counters["peak_MiB"] = peak_memory_mib();
}

void llama_13b_on_64(benchmark::State& state) {
  measure(state, default_request("llama-13b", "a100-80gb-sxm", 64, 2048));
}
BENCHMARK(llama_13b_on_64)->Unit(benchmark::kMillisecond);

void llama_65b_on_128(benchmark::State& state) {
  measure(state, default_request("llama-65b", "a100-80gb-sxm", 128, 2048));
}
BENCHMARK(llama_65b_on_128)->Unit(benchmark::kMillisecond);

void gpt_1t_on_16384_default_space(benchmark::State& state) {
  measure(state, default_request("gpt-1t", "h100-80gb-sxm", 16384, 16384));
}
BENCHMARK(gpt_1t_on_16384_default_space)->Unit(benchmark::kMillisecond);

void gpt_1t_on_16384_a_million_layouts(benchmark::State& state) {
  measure(state, million_layouts());
}
BENCHMARK(gpt_1t_on_16384_a_million_layouts)->Unit(benchmark::kMillisecond)->Iterations(1);

}  // namespace
}  // namespace kumihimo

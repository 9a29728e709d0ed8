// Whether cuDNN has engines for the graphs of attention on GPUs that are not here: it takes a GPU's
// properties as JSON instead of the GPU (CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, since 9.8), and then
// proposes engines that support a graph there, as it does with a handle. To run one takes the GPU.

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <string>

// Its classes have no header: they are the translation unit's own.
#include "tensor/cuda/cudnn/cudnn_attention.cpp"

namespace kumihimo::cuda {

// A queue's code is not here, and no queue is made.
void CudaQueue::copy(const void*, void*, Bytes) {}
void CudaQueue::reduce(std::span<const std::byte* const>, std::span<std::byte* const>, ElementRange,
                       DType, Reduction) {}
std::shared_ptr<const DeviceQueue::Point> CudaQueue::point() { return nullptr; }
std::shared_ptr<const DeviceQueue::Point> CudaQueue::timed_point() { return nullptr; }
void CudaQueue::wait_for(const std::shared_ptr<const Point>&) {}
void CudaQueue::synchronize() {}
std::unique_ptr<RecordedWork> CudaQueue::record(const std::function<void()>&) { return nullptr; }

namespace {

struct DescribedGpu {
  const char* name;
  int capability;  ///< 900: 9.0
  int multiprocessors;
  int shared_bytes;  ///< that a block may have
};

Descriptor properties_of(const DescribedGpu& gpu) {
  const std::string text = fmt::format(
      R"({{"deviceName": "{}", "deviceVer": {}, "multiProcessorCount": {},
           "maxSharedMemoryPerBlockOptin": {}, "driverVer": 13000, "cudaDeviceId": 0,
           "pciDeviceId": 0, "maxGridSize": [2147483647, 65535, 65535],
           "maxBlockSize": [1024, 1024, 64], "regsPerBlock": 65536, "warpSize": 32,
           "maxSharedMemoryPerBlock": 49152, "reservedSharedMemoryPerBlock": 1024,
           "maxRegistersPerSM": 65536, "maxCtasPerSM": 32, "maxThreadsPerBlock": 1024,
           "maxThreadsPerSM": 2048, "isTccDriver": 0, "supportCoopLaunch": 1,
           "totalGlobalMem": 80000000000, "smClockRateKHz": 1980000, "memClockRateKHz": 3201000,
           "l2CacheSize": 41943040}})",
      gpu.name, gpu.capability, gpu.multiprocessors, gpu.shared_bytes);
  Descriptor properties(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
  properties.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                 std::vector<char>(text.begin(), text.end()));
  properties.finalize();
  return properties;
}

std::int64_t engines_for(const Graph& operations, const Descriptor& gpu) {
  Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  std::vector<cudnnBackendDescriptor_t> all;
  for (const Descriptor* each : operations.operations()) all.push_back(each->get());
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, all);
  graph.finalize();
  Descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, CUDNN_HEUR_MODE_A);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, gpu);
  heuristics.finalize();
  Descriptor proposal(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
  cudnnBackendDescriptor_t filled = proposal.get();
  std::int64_t found = 0;
  check(cudnnBackendGetAttribute(heuristics.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                 CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &found, &filled));
  return found;
}

TEST(AttentionGraphs, HaveEnginesForBothPassesOnEveryGpuThatIsCompiledFor) {
  if (cudnnGetVersion() < 90800) GTEST_SKIP() << "cuDNN takes no described GPUs before 9.8";
  constexpr DescribedGpu gpus[] = {{"A100", 800, 108, 166912},
                                   {"L40S", 890, 142, 101376},
                                   {"H200", 900, 132, 232448},
                                   {"B200", 1000, 148, 232448}};
  const AttentionShape shapes[] = {{4, 4096, 16, 16, 128},  // LLaMA 1.3B
                                   {1, 4096, 32, 8, 128},   // LLaMA-3 8B
                                   {1, 128, 12, 12, 64},    // GPT-2
                                   {2, 256, 8, 2, 80},
                                   {1, 128, 4, 4, 8}};
  for (const DescribedGpu& gpu : gpus) {
    const Descriptor properties = properties_of(gpu);
    for (const AttentionShape& shape : shapes) {
      SCOPED_TRACE(fmt::format("{}: {} heads of {}, {} of keys", gpu.name, shape.heads,
                               shape.head_dim, shape.kv_heads));
      ASSERT_TRUE(suits_library_attention(DType::bf16, shape.seq_length, shape.head_dim));
      const std::int64_t beside = (shape.heads + 2 * shape.kv_heads) * shape.head_dim;
      const Attention attention(shape, beside, beside);
      EXPECT_GT(engines_for(attention.forward_graph(), properties), 0) << "forward";
      EXPECT_GT(engines_for(attention.backward_graph(), properties), 0) << "backward";
    }
  }
}

/// What counts them can say no.
TEST(AttentionGraphs, HaveNoEnginesForHeadsThatAreTooLarge) {
  if (cudnnGetVersion() < 90800) GTEST_SKIP() << "cuDNN takes no described GPUs before 9.8";
  const Descriptor properties = properties_of({"H200", 900, 132, 232448});
  const Attention attention({1, 128, 4, 4, 512}, 3 * 4 * 512, 3 * 4 * 512);
  EXPECT_EQ(engines_for(attention.backward_graph(), properties), 0);
}

}  // namespace
}  // namespace kumihimo::cuda

// What is judged of --backend cuda before anything runs, with GPUs that are none.

#include "cli/gpu_options.hpp"

#include <gtest/gtest.h>

#include "comm/world.hpp"

namespace kumihimo {
namespace {

class StatedGpus final : public CudaBackend {
 public:
  StatedGpus(std::vector<GpuFacts> devices, bool library)
      : devices_(std::move(devices)), library_(library) {}
  const std::vector<GpuFacts>& devices() const override { return devices_; }
  std::string versions() const override { return "none"; }
  bool has_library_attention() const override { return library_; }
  std::string why_unusable(int ordinal) override {
    asked.push_back(ordinal);
    return ordinal == 3 ? "is too old" : "";
  }
  std::unique_ptr<Gpu> open(int /*ordinal*/, const GpuOptions& /*options*/) override {
    throw std::logic_error("there is no GPU");
  }

  std::vector<int> asked;

 private:
  std::vector<GpuFacts> devices_;
  bool library_;
};

GpuFacts gpu(int ordinal, const char* name, int largest_head) {
  GpuFacts facts;
  facts.ordinal = ordinal;
  facts.name = name;
  facts.flash_head_fp32 = facts.flash_head_bf16 = largest_head;
  return facts;
}

Errors faults_of(std::vector<int> gpus, std::int64_t head_dim, bool library, bool own = false) {
  GpuRequest request;
  request.backend = std::make_shared<StatedGpus>(
      std::vector{gpu(0, "NVIDIA H200", 128), gpu(1, "NVIDIA L4", 64)}, library);
  request.gpus = std::move(gpus);
  request.options.library_attention = !own;
  Errors faults;
  judge_flash_attention(request, {DType::bf16, 4096, head_dim}, "--attention",
                        "give --attention fused-softmax", faults);
  return faults;
}

TEST(GpuOptions, RefuseHeadsThatTheGpusInUseDoNotTake) {
  EXPECT_TRUE(faults_of({0}, 128, false).empty());
  EXPECT_EQ(to_string(faults_of({1}, 128, false)),
            "--attention: flash attention on NVIDIA L4 takes bf16 heads of up to 64 elements, not "
            "128; give --attention fused-softmax\n");
  EXPECT_EQ(faults_of({0, 1}, 128, false).size(), 1u);
  EXPECT_EQ(faults_of({0, 1}, 256, true).size(), 1u);  // one message for a machine
}

TEST(GpuOptions, CountOnTheLibraryWhereItIsThereAndWanted) {
  EXPECT_TRUE(faults_of({1}, 128, true).empty());
  EXPECT_EQ(faults_of({1}, 128, true, true).size(), 1u);
  EXPECT_EQ(faults_of({0}, 160, true).size(), 1u);
}

struct Judged {
  std::vector<int> asked;
  std::string faults;
};

Judged judged(std::vector<int> gpus, int first_rank, int ranks) {
  std::vector<GpuFacts> devices;
  for (int ordinal = 0; ordinal < 4; ++ordinal) devices.push_back(gpu(ordinal, "a GPU", 128));
  const auto backend = std::make_shared<StatedGpus>(std::move(devices), false);
  GpuRequest request;
  request.backend = backend;
  request.gpus = std::move(gpus);
  Errors faults;
  EXPECT_LE(judge_gpus(request, first_rank, ranks, faults).size(), static_cast<std::size_t>(ranks));
  return {backend->asked, to_string(faults)};
}

/// To ask whether a GPU can be used takes memory of it: eight processes of a machine would each
/// take it of all eight.
TEST(GpuOptions, AProcessTouchesTheGpusOfItsOwnRanksAlone) {
  EXPECT_EQ(judged({0, 1, 2, 3}, 2, 1).asked, (std::vector{2}));
  EXPECT_EQ(judged({0, 1, 2, 3}, 0, 3).asked, (std::vector{0, 1, 2}));
  EXPECT_EQ(judged({2, 0}, 1, 1).asked, (std::vector{0}));
  EXPECT_EQ(judged({1}, 0, 8).asked, (std::vector{1}));  // shared
  EXPECT_EQ(judged({0, 1, 2, 3}, 2, 1).faults, "");
}

TEST(GpuOptions, RefuseGpusThatAreNotThereOrCannotBeUsed) {
  EXPECT_EQ(judged({0, 1, 2, 3}, 2, 2).faults, "GPU 3: is too old\n");
  const Judged missing = judged({0, 7}, 0, 2);
  EXPECT_EQ(missing.faults, "--gpus: names GPU 7 of 4; use 0 to 3\n");
  EXPECT_TRUE(missing.asked.empty());
}

TEST(GpuOptions, ARankDoesNotWaitForEverForAGpuThatItShares) {
  run_threads(1, [](World& host) {
    const auto watch = watch_of_shared_gpu(host, 5);
    watch(4);
    EXPECT_THROW(watch(6), PeerFailure);
  });
}

}  // namespace
}  // namespace kumihimo

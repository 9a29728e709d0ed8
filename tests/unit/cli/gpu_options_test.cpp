// What is judged of --backend cuda before anything runs, with GPUs that are none.

#include "cli/gpu_options.hpp"

#include <gtest/gtest.h>

namespace kumihimo {
namespace {

class StatedGpus final : public CudaBackend {
 public:
  StatedGpus(std::vector<GpuFacts> devices, bool library)
      : devices_(std::move(devices)), library_(library) {}
  const std::vector<GpuFacts>& devices() const override { return devices_; }
  std::string versions() const override { return "none"; }
  bool has_library_attention() const override { return library_; }
  std::unique_ptr<Gpu> open(int /*ordinal*/, const GpuOptions& /*options*/) override {
    throw std::logic_error("there is no GPU");
  }

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

}  // namespace
}  // namespace kumihimo

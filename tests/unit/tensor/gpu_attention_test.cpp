// Which heads flash attention takes on which GPU.

#include "tensor/gpu_attention.hpp"

#include <gtest/gtest.h>

#include "support/emulated_cuda.hpp"

namespace kumihimo {
namespace {

using testing::largest_flash_head;

constexpr Bytes kib = 1024;

/// The most that a block may have, by NVIDIA's CUDA C++ Programming Guide, "Technical
/// Specifications per Compute Capability".
TEST(LargestFlashHead, FollowsFromTheSharedMemoryOfABlock) {
  EXPECT_EQ(largest_flash_head(DType::bf16, 227 * kib), 128);  // 9.0, 10.0
  EXPECT_EQ(largest_flash_head(DType::fp32, 227 * kib), 128);
  EXPECT_EQ(largest_flash_head(DType::bf16, 163 * kib), 128);  // 8.0
  EXPECT_EQ(largest_flash_head(DType::fp32, 163 * kib), 128);
  EXPECT_EQ(largest_flash_head(DType::bf16, 99 * kib), 64);  // 8.6, 8.9, 12.0
  EXPECT_EQ(largest_flash_head(DType::fp32, 99 * kib), 64);
}

/// bf16, 128 elements and 8 more to a row: backward holds 2 x 128 rows, 4 x 32 pass by, and with
/// them 4 x 32 numbers of 4 bytes.
TEST(LargestFlashHead, IsExactToTheByte) {
  constexpr Bytes needed = (2 * 128 + 4 * 32) * (128 + 8) * 2 + 4 * 32 * 4;
  EXPECT_EQ(largest_flash_head(DType::bf16, needed), 128);
  EXPECT_EQ(largest_flash_head(DType::bf16, needed - 1), 64);
  EXPECT_EQ(largest_flash_head(DType::bf16, 1), 0);
}

GpuFacts consumer_gpu() {
  GpuFacts facts;
  facts.name = "NVIDIA L4";
  facts.flash_head_fp32 = facts.flash_head_bf16 = 64;
  return facts;
}

TEST(FlashAttentionOfAGpu, IsRefusedForHeadsThatNobodyTakes) {
  const GpuFacts gpu = consumer_gpu();
  EXPECT_EQ(why_no_flash_attention(gpu, false, DType::bf16, 4096, 64), "");
  EXPECT_EQ(why_no_flash_attention(gpu, false, DType::bf16, 4096, 80),
            "flash attention on NVIDIA L4 takes bf16 heads of up to 64 elements, not 80");
  // cuDNN's takes them, in bf16 and whole 128 tokens.
  EXPECT_EQ(why_no_flash_attention(gpu, true, DType::bf16, 4096, 80), "");
  EXPECT_NE(why_no_flash_attention(gpu, true, DType::bf16, 4000, 80), "");
  EXPECT_NE(why_no_flash_attention(gpu, true, DType::fp32, 4096, 80), "");
  EXPECT_NE(why_no_flash_attention(gpu, true, DType::bf16, 4096, 84), "");
}

TEST(FlashAttentionOfAGpu, TakesNoHeadsAbove128) {
  GpuFacts gpu = consumer_gpu();
  gpu.flash_head_fp32 = gpu.flash_head_bf16 = 128;
  for (const bool library : {false, true}) {
    EXPECT_EQ(why_no_flash_attention(gpu, library, DType::bf16, 4096, 128), "");
    EXPECT_NE(why_no_flash_attention(gpu, library, DType::bf16, 4096, 160), "");
  }
}

}  // namespace
}  // namespace kumihimo

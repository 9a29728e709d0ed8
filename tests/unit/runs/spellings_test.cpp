#include "runs/spellings.hpp"

#include <gtest/gtest.h>

namespace kumihimo {
namespace {

TEST(Spellings, ReadsPrecisions) {
  for (const char* cell : {"bf16", "BF16", "amp_bf16", "amp", " bf16 "})
    EXPECT_EQ(read_precision(cell), Precision::bf16) << cell;
  for (const char* cell : {"FP8", "FP8-CS", "amp_fp8", "e4m3", "fp8 rowwise",
                           "fp8 (float8 linear, bf16 rest)", "FP8 128x128 blockwise"})
    EXPECT_EQ(read_precision(cell), Precision::fp8) << cell;
  EXPECT_EQ(read_precision("fp16"), Precision::fp16);
  EXPECT_EQ(read_precision("fp32"), Precision::fp32);
  for (const char* cell : {"nvfp4", "int8", "bf17", ""}) EXPECT_FALSE(read_precision(cell)) << cell;
}

TEST(Spellings, ReadsAttentionKernels) {
  const auto kernel = [](const char* cell) { return read_attention(cell)->attention; };
  EXPECT_EQ(kernel("torch"), AttentionKernel::unfused);
  EXPECT_EQ(kernel("fused"), AttentionKernel::fused_softmax);
  EXPECT_EQ(kernel("megatron fused softmax (no flash)"), AttentionKernel::fused_softmax);
  for (const char* cell : {"flash", "flash_attention", "flash_attentionv1.0.8", "flash-attention1"})
    EXPECT_EQ(kernel(cell), AttentionKernel::flash1) << cell;
  for (const char* cell :
       {"flash2", "flash_attention2", "flash-attention2", "SDPA flash", "flash_attentionv2.3"})
    EXPECT_EQ(kernel(cell), AttentionKernel::flash2) << cell;
  EXPECT_EQ(kernel("FlashAttention-3"), AttentionKernel::flash3);
  for (const char* cell : {"", "flash_attention4", "flash_attention22", "flash_attention2 + magic",
                           "xformers", "+ RMS kernel"})
    EXPECT_FALSE(read_attention(cell)) << cell;
}

TEST(Spellings, NormKernelIsStatedByTheSweepsNamesAlone) {
  EXPECT_EQ(read_attention("flash_attention2 + RMS kernel")->norm, NormKernel::fused);
  for (const char* cell : {"torch", "fused", "flash_attention2", "flash_attentionv1.0.8"})
    EXPECT_EQ(read_attention(cell)->norm, NormKernel::unfused) << cell;
  for (const char* cell :
       {"flash", "flash-attention2", "SDPA flash", "flash2", "megatron fused softmax (no flash)"})
    EXPECT_FALSE(read_attention(cell)->norm) << cell;
}

TEST(Spellings, ReadsZeroStages) {
  EXPECT_EQ(read_zero_stage("0")->stage, 0);
  EXPECT_EQ(read_zero_stage("3 (FSDP2)")->stage, 3);
  EXPECT_EQ(read_zero_stage("3 (FSDP2)")->group, 0);
  EXPECT_EQ(read_zero_stage("1 (shard group 8)")->group, 8);
  EXPECT_EQ(read_zero_stage("1 (shard group all)")->group, 0);
  for (const char* cell : {"", "4", "-1", "11", "1.5", "1 (", "1 (shard group 0)",
                           "1 (shard group 8x)", "1 (shard group 99999999999)"})
    EXPECT_FALSE(read_zero_stage(cell)) << cell;
}

}  // namespace
}  // namespace kumihimo

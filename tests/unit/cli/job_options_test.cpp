#include "cli/job_options.hpp"

#include <gtest/gtest.h>

namespace kumihimo {
namespace {

TEST(DefaultJob, SequenceIsWhatTheModelHasUpTo8192) {
  TransformerShape model;
  model.max_positions = 2048;
  EXPECT_EQ(default_seq_length(model), 2048);
  model.max_positions = 131072;
  EXPECT_EQ(default_seq_length(model), 8192);
}

TEST(DefaultJob, BatchIsAboutFourMillionTokens) {
  EXPECT_EQ(default_global_batch_size(2048, 64), 4 * 1024 * 1024 / 2048);
  EXPECT_EQ(default_global_batch_size(8192, 512), 512);
  // 2048 sequences over 48 devices are 42.7 each: the nearest power of two is 32.
  EXPECT_EQ(default_global_batch_size(2048, 48), 48 * 32);
}

TEST(DefaultJob, BatchMayHaveFewerSequencesThanDevices) {
  EXPECT_EQ(default_global_batch_size(8192, 16384), 512);
  EXPECT_EQ(default_global_batch_size(std::int64_t{1} << 24, 8), 1);
}

}  // namespace
}  // namespace kumihimo

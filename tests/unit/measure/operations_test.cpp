#include "measure/operations.hpp"

#include <gtest/gtest.h>

namespace kumihimo {
namespace {

TEST(MeasuredOperations, AFigureThatWasTooLowIsRaisedAndTimesStayTheSame) {
  MachineFigures figures{.fp32_flop_per_s = 100, .bf16_flop_per_s = 300, .core_bandwidth = 10};
  std::vector<MeasuredShare> shares{{.key = "rates.matmul_fp32", .value = 1.25},
                                    {.key = "rates.attention_flash2", .value = 0.5},
                                    {.key = "rates.matmul_16bit", .value = 0.9},
                                    {.key = "rates.norm_fused", .value = 4},
                                    {.key = "rates.elementwise", .value = 2}};
  raise_figures(figures, shares);
  EXPECT_EQ(figures.fp32_flop_per_s, 125);
  EXPECT_EQ(figures.bf16_flop_per_s, 300);
  EXPECT_EQ(figures.core_bandwidth, 40);
  EXPECT_DOUBLE_EQ(shares[0].value, 1);
  EXPECT_DOUBLE_EQ(shares[1].value * figures.fp32_flop_per_s, 0.5 * 100);
  EXPECT_DOUBLE_EQ(shares[2].value, 0.9);
  EXPECT_DOUBLE_EQ(shares[3].value, 1);
  EXPECT_DOUBLE_EQ(shares[4].value * figures.core_bandwidth, 2.0 * 10);
}

}  // namespace
}  // namespace kumihimo

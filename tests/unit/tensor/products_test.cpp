#include <gtest/gtest.h>

#include "support/backends.hpp"
#include "support/matrices.hpp"

namespace kumihimo::testing {
namespace {

class Products : public KernelsTest {};
INSTANTIATE_TEST_SUITE_P(On, Products, ::testing::ValuesIn(host_backends()), backend_name);

TEST_P(Products, RowsTimesColumns) {
  const HostMatrix a{{1, 2, 3}, {4, 5, 6}};
  const HostMatrix b{{7, 8}, {9, 10}, {11, 12}};
  HostMatrix c(2, 2);
  kernels.matmul(a, Transpose::no, b, Transpose::no, c, Accumulate::no);
  EXPECT_TRUE(same_values(c, HostMatrix{{1 * 7 + 2 * 9 + 3 * 11, 1 * 8 + 2 * 10 + 3 * 12},
                                        {4 * 7 + 5 * 9 + 6 * 11, 4 * 8 + 5 * 10 + 6 * 12}}));
}

TEST_P(Products, TransposesEitherOperand) {
  const HostMatrix a{{1, 2, 3}, {4, 5, 6}}, a_transposed{{1, 4}, {2, 5}, {3, 6}};
  const HostMatrix b{{7, 8}, {9, 10}, {11, 12}}, b_transposed{{7, 9, 11}, {8, 10, 12}};
  const HostMatrix expected{{58, 64}, {139, 154}};
  HostMatrix c(2, 2);
  kernels.matmul(a_transposed, Transpose::yes, b, Transpose::no, c, Accumulate::no);
  EXPECT_TRUE(same_values(c, expected));
  kernels.matmul(a, Transpose::no, b_transposed, Transpose::yes, c, Accumulate::no);
  EXPECT_TRUE(same_values(c, expected));
  kernels.matmul(a_transposed, Transpose::yes, b_transposed, Transpose::yes, c, Accumulate::no);
  EXPECT_TRUE(same_values(c, expected));
}

TEST_P(Products, AddsToWhatIsThereWhenAccumulatedAndScales) {
  const HostMatrix a{{1, 2}}, b{{3}, {4}};
  HostMatrix c{{100}};
  kernels.matmul(a, Transpose::no, b, Transpose::no, c, Accumulate::yes, {0.5f});
  EXPECT_EQ(c.at(0, 0), 100 + 0.5 * (1 * 3 + 2 * 4));
  kernels.matmul(a, Transpose::no, b, Transpose::no, c, Accumulate::no, {2});
  EXPECT_EQ(c.at(0, 0), 2 * (1 * 3 + 2 * 4));
}

TEST_P(Products, Bf16IsSummedInFp32AndRoundedOnce) {
  // Between 1 and 2, bf16 numbers are 1/128 apart.
  const HostMatrix a({{1, 1.0 / 256, 1.0 / 256}}, DType::bf16);
  const HostMatrix b({{1}, {1}, {1}}, DType::bf16);
  HostMatrix wide(1, 1), narrow(1, 1, DType::bf16);
  kernels.matmul(a, Transpose::no, b, Transpose::no, wide, Accumulate::no);
  kernels.matmul(a, Transpose::no, b, Transpose::no, narrow, Accumulate::no);
  EXPECT_EQ(wide.at(0, 0), 1 + 2.0 / 256);
  EXPECT_EQ(narrow.at(0, 0), 1 + 1.0 / 128);  // added in bf16, each term would have been lost
}

TEST_P(Products, MixesTheFormatsOfFp8) {
  const HostMatrix a({{448, 0.5}}, DType::fp8_e4m3);
  const HostMatrix b({{1024}, {-3}}, DType::fp8_e5m2);
  HostMatrix c(1, 1);
  kernels.matmul(a, Transpose::no, b, Transpose::no, c, Accumulate::no, {0.25f});
  EXPECT_EQ(c.at(0, 0), 0.25 * (448 * 1024 - 0.5 * 3));
  const HostMatrix scale_a{{0x1p-8}}, scale_b{{32}};
  kernels.matmul(a, Transpose::no, b, Transpose::no, c, Accumulate::yes,
                 {.alpha = 0.5f, .scale_a = scale_a, .scale_b = scale_b});
  EXPECT_EQ(c.at(0, 0), (0.25 + 0.5 * 0x1p-8 * 32) * (448 * 1024 - 0.5 * 3));
  kernels.matmul(a, Transpose::no, b, Transpose::no, c, Accumulate::no, {.scale_b = scale_b});
  EXPECT_EQ(c.at(0, 0), 32 * (448 * 1024 - 0.5 * 3));
}

/// Also of products that need another format on the way: fp8 in bf16, fp32 into bf16.
TEST_P(Products, ABiasIsAddedToEveryRow) {
  const std::pair<DType, DType> kinds[] = {
      {DType::fp32, DType::fp32}, {DType::fp32, DType::bf16},     {DType::bf16, DType::bf16},
      {DType::bf16, DType::fp32}, {DType::fp8_e4m3, DType::bf16}, {DType::fp8_e5m2, DType::fp32}};
  for (const auto& [type_of_a, type_of_c] : kinds) {
    SCOPED_TRACE(std::string(to_string(type_of_a)) + " into " + std::string(to_string(type_of_c)));
    const HostMatrix a({{1, 2}, {3, 4}, {5, 6}}, type_of_a), b({{1, 0}, {2, 1}}, type_of_a);
    const HostMatrix bias({{10, 20}}, type_of_c), c(3, 2, type_of_c, 5);
    kernels.matmul(a, Transpose::no, b, Transpose::yes, c, Accumulate::no, {.bias = bias});
    EXPECT_TRUE(same_values(
        c,
        HostMatrix{{1 + 10, 2 * 1 + 2 + 20}, {3 + 10, 2 * 3 + 4 + 20}, {5 + 10, 2 * 5 + 6 + 20}}));
    EXPECT_TRUE(c.gaps_are_untouched());
  }
  const HostMatrix nothing(3, 0), bias{{10, 20}}, c(3, 2);
  kernels.matmul(nothing, Transpose::no, HostMatrix(2, 0), Transpose::yes, c, Accumulate::no,
                 {.bias = bias});
  EXPECT_TRUE(same_values(c, HostMatrix{{10, 20}, {10, 20}, {10, 20}}));
}

TEST_P(Products, ReadsAndWritesColumnsOfWiderMatrices) {
  Random random(1);
  for (const DType dtype : {DType::fp32, DType::bf16}) {
    const HostMatrix a = random_matrix(random, 5, 7, dtype, 1, 11);
    const HostMatrix b = random_matrix(random, 3, 7, dtype, 1, 9);
    const HostMatrix wide(5, 3, dtype, 8), tight(5, 3, dtype);
    kernels.matmul(a, Transpose::no, b, Transpose::yes, wide, Accumulate::no);
    kernels.matmul(converted(a, dtype), Transpose::no, converted(b, dtype), Transpose::yes, tight,
                   Accumulate::no);
    EXPECT_TRUE(close_to(wide, tight, 8 * rounding_of(dtype)));
    EXPECT_TRUE(wide.gaps_are_untouched());
  }
}

TEST_P(Products, BiasIsAddedToEveryRowAndItsGradientSumsThem) {
  HostMatrix x{{1, 2}, {3, 4}, {5, 6}};
  kernels.add_bias(x, HostMatrix{{10, 20}});
  EXPECT_TRUE(same_values(x, HostMatrix{{11, 22}, {13, 24}, {15, 26}}));

  HostMatrix d_bias{{100, 200}};
  kernels.bias_backward(HostMatrix({{1, 2}, {3, 4}, {5, 6}}, DType::bf16), d_bias);
  EXPECT_TRUE(same_values(d_bias, HostMatrix{{100 + 1 + 3 + 5, 200 + 2 + 4 + 6}}));
}

}  // namespace
}  // namespace kumihimo::testing

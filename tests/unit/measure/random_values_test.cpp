#include "measure/random_values.hpp"

#include <cmath>
#include <gtest/gtest.h>
#include <set>
#include <vector>

namespace kumihimo {
namespace {

/// Of a matrix that is not a number anywhere before it is filled.
std::vector<float> filled(std::int64_t rows, std::int64_t cols, DType dtype) {
  DeviceMemory memory(make_host_memory());
  Workspace workspace(memory);
  const auto kernels = make_reference_kernels(workspace);
  const Matrix x = workspace.take(rows, cols, dtype),
               wide = workspace.take(rows, cols, DType::fp32);
  kernels->fill(x, NAN);
  fill_at_random(*kernels, workspace, x);
  if (dtype == DType::fp8_e4m3) {
    // What the codes stand for: x times the unit matrix.
    const Matrix unit = workspace.take(cols, cols, dtype);
    kernels->fill(unit, 0);
    for (std::int64_t i = 0; i < cols; ++i) {
      kernels->fill(cols_of(rows_of(unit, i, 1), i, 1), 1);
    }
    kernels->matmul(x, Transpose::no, unit, Transpose::no, wide, Accumulate::no);
  } else {
    kernels->copy(x, wide);
  }
  const auto* const begin = static_cast<const float*>(wide.data);
  return {begin, begin + wide.elements()};
}

TEST(RandomValues, AreEverywhereSmallAndManyDifferentOnes) {
  for (const DType dtype : {DType::fp32, DType::bf16, DType::fp8_e4m3}) {
    SCOPED_TRACE(to_string(dtype));
    const std::vector<float> values = filled(30, 20, dtype);
    for (const float value : values) {
      ASSERT_TRUE(std::abs(value) <= 0.5f) << value;  // no NaN either
    }
    const std::set<float> different(values.begin(), values.end());
    EXPECT_GT(different.size(), dtype == DType::fp8_e4m3 ? 50u : 300u);
  }
}

TEST(RandomValues, FillMatricesOfMoreThanTheHostMakes) {
  const std::vector<float> values = filled(3, 1'000'000, DType::fp32);
  for (const float value : values) ASSERT_TRUE(std::abs(value) <= 0.5f) << value;
  // From element 1,000,003 on they come again.
  EXPECT_EQ(values[1'000'003], values[0]);
  EXPECT_NE(values[1'000'000], values[0]);  // the next row begins with another
  EXPECT_EQ(values[2'999'999], values[2'999'999 - 1'000'003]);
}

}  // namespace
}  // namespace kumihimo

#include <cmath>
#include <gtest/gtest.h>

#include "support/backends.hpp"
#include "support/gradients.hpp"
#include "support/matrices.hpp"

namespace kumihimo::testing {
namespace {

class Mlp : public KernelsTest {};
INSTANTIATE_TEST_SUITE_P(On, Mlp, ::testing::ValuesIn(host_backends()), backend_name);

TEST_P(Mlp, SwigluGatesTheSecondHalfByTheFirst) {
  // The sigmoid of ln 3 is 3/4. Gates: 0 and ln 3; beside them the values 5 and 8.
  const double ln3 = std::log(3.0);
  const HostMatrix x{{0, ln3, 5, 8}}, y(1, 2);
  kernels.swiglu_forward(x, y);
  EXPECT_TRUE(close_to(y, HostMatrix{{0 * 0.5 * 5, ln3 * 3 / 4 * 8}}, 1e-6));

  const HostMatrix d_x(1, 4);
  kernels.swiglu_backward(x, HostMatrix{{1, 2}}, d_x);
  EXPECT_TRUE(close_to(d_x,
                       HostMatrix{{1 * 5 * 0.5 * (1 + 0), 2 * 8 * 3.0 / 4 * (1 + ln3 * 1 / 4),
                                   1 * 0 * 0.5, 2 * ln3 * 3 / 4}},
                       1e-6));
}

TEST_P(Mlp, SwigluOfLargeGatesIsFinite) {
  const HostMatrix x{{-200, 200, 3, 3}}, y(1, 2), d_x(1, 4);
  kernels.swiglu_forward(x, y);
  EXPECT_TRUE(close_to(y, HostMatrix{{0, 200 * 3}}, 1e-6));
  kernels.swiglu_backward(x, HostMatrix{{1, 1}}, d_x);
  EXPECT_TRUE(close_to(d_x, HostMatrix{{0, 3, 0, 200}}, 1e-6));
}

TEST_P(Mlp, SwigluGradientIsThatOfFiniteDifferencesAlsoInPlace) {
  Random random(13);
  HostMatrix x = random_matrix(random, 3, 10, DType::fp32, 2);
  const HostMatrix d_y = random_matrix(random, 3, 5), y(3, 5), d_x(3, 10);
  kernels.swiglu_backward(x, d_y, d_x);
  EXPECT_TRUE(close_to(d_x,
                       numerical_gradient(x,
                                          [&] {
                                            kernels.swiglu_forward(x, y);
                                            return weighted_sum(y, d_y);
                                          }),
                       1e-4));
  kernels.swiglu_backward(x, d_y, x);
  EXPECT_TRUE(same_values(x, d_x));
}

TEST_P(Mlp, GeluIsTheTanhApproximation) {
  const double root = std::sqrt(2 / std::acos(-1.0));
  const HostMatrix x{{0, 1, -2, 100, -100}}, y(1, 5);
  kernels.gelu_forward(x, y);
  EXPECT_TRUE(close_to(y,
                       HostMatrix{{0, 0.5 * (1 + std::tanh(root * (1 + 0.044715))),
                                   -1 * (1 + std::tanh(root * (-2 - 0.044715 * 8))), 100, 0}},
                       1e-6));
}

TEST_P(Mlp, GeluGradientIsThatOfFiniteDifferences) {
  Random random(14);
  HostMatrix x = random_matrix(random, 3, 5, DType::fp32, 3);
  const HostMatrix d_y = random_matrix(random, 3, 5), y(3, 5), d_x(3, 5);
  kernels.gelu_backward(x, d_y, d_x);
  EXPECT_TRUE(close_to(d_x,
                       numerical_gradient(x,
                                          [&] {
                                            kernels.gelu_forward(x, y);
                                            return weighted_sum(y, d_y);
                                          }),
                       1e-4));
}

TEST_P(Mlp, Bf16IsRoundedOnceWithinColumnsOfWiderMatrices) {
  Random random(15);
  const HostMatrix x = random_matrix(random, 4, 6, DType::bf16, 2, 9), y(4, 3, DType::bf16, 5);
  const HostMatrix wide = converted(x, DType::fp32), wide_y(4, 3);
  kernels.swiglu_forward(x, y);
  kernels.swiglu_forward(wide, wide_y);
  EXPECT_TRUE(close_to(y, wide_y, 1.01 * rounding_of(DType::bf16)));
  EXPECT_TRUE(y.gaps_are_untouched());

  const HostMatrix gelu(4, 6, DType::bf16, 7), wide_gelu(4, 6);
  kernels.gelu_forward(x, gelu);
  kernels.gelu_forward(wide, wide_gelu);
  EXPECT_TRUE(close_to(gelu, wide_gelu, 1.01 * rounding_of(DType::bf16)));
  EXPECT_TRUE(gelu.gaps_are_untouched());
}

}  // namespace
}  // namespace kumihimo::testing

#include <cmath>
#include <gtest/gtest.h>

#include "support/backends.hpp"
#include "support/gradients.hpp"
#include "support/kept_for_backward.hpp"
#include "support/matrices.hpp"

namespace kumihimo::testing {
namespace {

class Norms : public KernelsTest {};
INSTANTIATE_TEST_SUITE_P(On, Norms, ::testing::ValuesIn(host_backends()), backend_name);

constexpr double few_roundings = 16 * rounding_of(DType::fp32);

constexpr NormKinds all_norms[] = {{NormKind::rms_norm, NormKernel::fused, 0},
                                   {NormKind::rms_norm, NormKernel::unfused, 0},
                                   {NormKind::layer_norm, NormKernel::fused, 0},
                                   {NormKind::layer_norm, NormKernel::unfused, 0}};

std::string name_of(const NormKinds& norm) {
  return std::string(norm.kind == NormKind::rms_norm ? "RMSNorm" : "LayerNorm") +
         (norm.kernel == NormKernel::fused ? ", fused" : ", unfused");
}

TEST_P(Norms, RmsNormDividesByTheRootMeanSquare) {
  for (const NormKernel kernel : {NormKernel::fused, NormKernel::unfused}) {
    const NormKinds norm{NormKind::rms_norm, kernel, 0};
    const HostMatrix x{{1, 7}}, weight{{2, 3}}, y(1, 2);  // (1 + 49) / 2 = 5^2
    const NormMemory kept(norm, 1, 2);
    kernels.norm_forward(norm, x, weight, {}, y, kept.saved());
    EXPECT_TRUE(close_to(y, HostMatrix{{1.0 / 5 * 2, 7.0 / 5 * 3}}, few_roundings));
    EXPECT_NEAR(kept.inverse_deviation.at(0, 0), 1.0 / 5, 1e-7);
  }
}

TEST_P(Norms, LayerNormAlsoTakesAwayTheMean) {
  for (const NormKernel kernel : {NormKernel::fused, NormKernel::unfused}) {
    const NormKinds norm{NormKind::layer_norm, kernel, 0};
    const HostMatrix x{{1, 5}}, weight{{10, 20}}, bias{{0.5, 0.25}}, y(1, 2);
    const NormMemory kept(norm, 1, 2);
    kernels.norm_forward(norm, x, weight, bias, y, kept.saved());
    // Mean 3; variance (2^2 + 2^2) / 2 = 2^2.
    EXPECT_TRUE(close_to(y, HostMatrix{{-2.0 / 2 * 10 + 0.5, 2.0 / 2 * 20 + 0.25}}, few_roundings));
    EXPECT_EQ(kept.mean.at(0, 0), 3);
    EXPECT_NEAR(kept.inverse_deviation.at(0, 0), 1.0 / 2, 1e-7);
  }
}

TEST_P(Norms, EpsilonIsAddedToTheVariance) {
  const NormKinds norm{NormKind::rms_norm, NormKernel::fused, 24};
  const HostMatrix x{{1, 1}}, weight{{1, 1}}, y(1, 2);
  const NormMemory kept(norm, 1, 2);
  kernels.norm_forward(norm, x, weight, {}, y, kept.saved());
  EXPECT_NEAR(y.at(0, 0), 1 / std::sqrt(1.0 + 24), 1e-7);
}

TEST_P(Norms, TheUnfusedKernelKeepsWhatItsPassesMake) {
  const NormKinds norm{NormKind::rms_norm, NormKernel::unfused, 0};
  const HostMatrix x({{1, 7}}, DType::bf16), weight({{2, 3}}, DType::bf16), y(1, 2, DType::bf16);
  const NormMemory kept(norm, 1, 2, DType::bf16);
  kernels.norm_forward(norm, x, weight, {}, y, kept.saved());
  EXPECT_TRUE(same_values(kept.widened, HostMatrix{{1, 7}}));
  EXPECT_TRUE(same_values(kept.normalised, HostMatrix({{1.0 / 5, 7.0 / 5}}, DType::bf16)));
  // From the stored values: 7/5 rounds to 1.3984375 in bf16, and three times that to 4.1875.
  EXPECT_TRUE(
      same_values(y, HostMatrix({{2 * kept.normalised.at(0, 0), 3 * 1.3984375}}, DType::bf16)));
}

TEST_P(Norms, AddsFirstAndNormsTheSum) {
  for (const NormKinds& norm : all_norms) {
    SCOPED_TRACE(name_of(norm));
    Random random(2);
    HostMatrix x = random_matrix(random, 3, 8);
    const HostMatrix delta = random_matrix(random, 3, 8), weight = random_matrix(random, 1, 8);
    HostMatrix expected_sum(3, 8);
    kernels.add(x, delta, expected_sum);
    const HostMatrix y(3, 8), expected_y(3, 8);
    const NormMemory kept(norm, 3, 8), kept_alone(norm, 3, 8);
    kernels.norm_forward(norm, expected_sum, weight, {}, expected_y, kept_alone.saved());

    kernels.add_norm_forward(norm, x, delta, weight, {}, x, y, kept.saved());  // sum is x
    EXPECT_TRUE(same_values(x, expected_sum));
    EXPECT_TRUE(close_to(y, expected_y, few_roundings));
    EXPECT_TRUE(close_to(kept.inverse_deviation, kept_alone.inverse_deviation, few_roundings));
  }
}

TEST_P(Norms, RmsNormBackwardByHand) {
  for (const NormKernel kernel : {NormKernel::fused, NormKernel::unfused}) {
    const NormKinds norm{NormKind::rms_norm, kernel, 0};
    const HostMatrix x{{1, 7}}, weight{{2, 1}}, y(1, 2), d_y{{1, 1}}, d_x(1, 2);
    const HostMatrix d_weight{{10, 20}};
    const NormMemory kept(norm, 1, 2);
    kernels.norm_forward(norm, x, weight, {}, y, kept.saved());
    kernels.norm_backward(norm, x, weight, kept.saved(), d_y, {}, d_x, d_weight, {});
    // normalised n = (0.2, 1.4); g = d_y weight = (2, 1); mean of g n = (0.4 + 1.4) / 2 = 0.9
    EXPECT_TRUE(close_to(d_x, HostMatrix{{(2 - 0.2 * 0.9) / 5, (1 - 1.4 * 0.9) / 5}}, 1e-6));
    EXPECT_TRUE(close_to(d_weight, HostMatrix{{10 + 1 * 0.2, 20 + 1 * 1.4}}, 1e-6));
  }
}

TEST_P(Norms, GradientsAreThoseOfFiniteDifferences) {
  for (NormKinds norm : all_norms) {
    SCOPED_TRACE(name_of(norm));
    norm.epsilon = 1e-2;
    Random random(3);
    HostMatrix x = random_matrix(random, 3, 7), weight = random_matrix(random, 1, 7);
    HostMatrix bias = random_matrix(random, 1, 7);
    const HostMatrix d_y = random_matrix(random, 3, 7), y(3, 7);
    const NormMemory kept(norm, 3, 7);
    const auto loss = [&] {
      kernels.norm_forward(norm, x, weight, bias, y, kept.saved());
      return weighted_sum(y, d_y);
    };
    loss();
    const HostMatrix d_x(3, 7), d_weight(1, 7), d_bias(1, 7);
    kernels.norm_backward(norm, x, weight, kept.saved(), d_y, {}, d_x, d_weight, d_bias);
    EXPECT_TRUE(close_to(d_x, numerical_gradient(x, loss), 1e-4));
    EXPECT_TRUE(close_to(d_weight, numerical_gradient(weight, loss), 1e-4));
    EXPECT_TRUE(close_to(d_bias, numerical_gradient(bias, loss), 1e-4));
  }
}

TEST_P(Norms, BackwardAddsTheGradientOfTheResidualEvenInPlace) {
  for (const NormKinds& norm : all_norms) {
    SCOPED_TRACE(name_of(norm));
    Random random(4);
    const HostMatrix x = random_matrix(random, 2, 6), weight = random_matrix(random, 1, 6);
    const HostMatrix d_y = random_matrix(random, 2, 6), y(2, 6), d_weight(1, 6);
    HostMatrix d_residual = random_matrix(random, 2, 6);
    const HostMatrix through_norm(2, 6), expected(2, 6), d_x(2, 6);
    const NormMemory kept(norm, 2, 6);
    kernels.norm_forward(norm, x, weight, {}, y, kept.saved());
    kernels.norm_backward(norm, x, weight, kept.saved(), d_y, {}, through_norm, d_weight, {});
    kernels.add(through_norm, d_residual, expected);

    kernels.norm_backward(norm, x, weight, kept.saved(), d_y, d_residual, d_x, d_weight, {});
    EXPECT_TRUE(close_to(d_x, expected, few_roundings));
    kernels.norm_backward(norm, x, weight, kept.saved(), d_y, d_residual, d_residual, d_weight, {});
    EXPECT_TRUE(close_to(d_residual, expected, few_roundings));
  }
}

TEST_P(Norms, AWideMeanDoesNotDrownASmallVariance) {
  // In fp32 the mean of squares, less the square of the mean, would be 0 or worse here.
  const NormKinds norm{NormKind::layer_norm, NormKernel::fused, 0};
  const HostMatrix x{{4096 - 0.25, 4096 + 0.25}}, weight{{1, 1}}, y(1, 2);
  const NormMemory kept(norm, 1, 2);
  kernels.norm_forward(norm, x, weight, {}, y, kept.saved());
  EXPECT_TRUE(close_to(y, HostMatrix{{-1, 1}}, few_roundings));
}

}  // namespace
}  // namespace kumihimo::testing

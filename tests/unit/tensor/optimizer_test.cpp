#include <cmath>
#include <gtest/gtest.h>

#include "support/backends.hpp"
#include "support/matrices.hpp"

namespace kumihimo::testing {
namespace {

class Optimizer : public KernelsTest {};
INSTANTIATE_TEST_SUITE_P(On, Optimizer, ::testing::ValuesIn(host_backends()), backend_name);

TEST_P(Optimizer, SumsSquaresInFp64) {
  const HostMatrix sum({{100}}, DType::fp64);
  kernels.sum_of_squares(HostMatrix{{1, 2}, {3, 4}}, sum);
  kernels.sum_of_squares(HostMatrix({{0.5, -2}}, DType::bf16), sum);
  EXPECT_EQ(sum.at(0, 0), 100 + 1 + 4 + 9 + 16 + 0.25 + 4);

  const HostMatrix fine(1, 1, DType::fp64);
  kernels.sum_of_squares(HostMatrix{{0x1p20, 1}}, fine);
  EXPECT_EQ(fine.at(0, 0), 0x1p40 + 1);  // fp32 would have lost the 1
}

TEST_P(Optimizer, TheFirstStepOfAdamWMovesByTheLearningRate) {
  AdamW step;
  step.learning_rate = 0.5f;
  step.beta1 = 0.75f;
  step.beta2 = 0.5f;
  step.epsilon = 0;
  step.weight_decay = 0.25f;
  step.gradient_scale = 2;
  step.correction1 = 1 - 0.75f;
  step.correction2 = 1 - 0.5f;
  const HostMatrix gradient{{3, -5}}, master{{8, 8}}, m(1, 2), v(1, 2), weights(1, 2, DType::bf16);
  kernels.adamw(step, gradient, master, m, v, weights);
  EXPECT_TRUE(close_to(m, HostMatrix{{0.25 * 2 * 3, 0.25 * 2 * -5}}, 1e-6));
  EXPECT_TRUE(close_to(v, HostMatrix{{0.5 * 6 * 6, 0.5 * 10 * 10}}, 1e-6));
  // Corrected, m is the gradient and v its square: their ratio is the sign.
  const double decayed = 8 * (1 - 0.5 * 0.25);
  EXPECT_TRUE(close_to(master, HostMatrix{{decayed - 0.5 * 1, decayed + 0.5 * 1}}, 1e-6));
  EXPECT_TRUE(same_values(weights, converted(master, DType::bf16)));
}

/// AdamW as its formula is written, for one parameter, in double.
struct Parameter {
  double w, m = 0, v = 0;

  void update(double g, const AdamW& s) {
    m = s.beta1 * m + (1 - s.beta1) * g;
    v = s.beta2 * v + (1 - s.beta2) * g * g;
    w -= s.learning_rate * s.weight_decay * w;
    w -= s.learning_rate * (m / s.correction1) / (std::sqrt(v / s.correction2) + s.epsilon);
  }
};

TEST_P(Optimizer, AdamWFollowsItsFormulaStepByStep) {
  Random random(21);
  constexpr std::int64_t count = 37;
  const HostMatrix master = random_matrix(random, 1, count), m(1, count), v(1, count);
  std::vector<Parameter> expected;
  for (std::int64_t i = 0; i < count; ++i) expected.push_back({master.at(0, i)});

  AdamW step;
  step.learning_rate = 1e-2f;
  step.epsilon = 0.125f;  // large enough to show where it is added
  step.weight_decay = 0.1f;
  step.gradient_scale = 0.5f;
  for (int number = 1; number <= 20; ++number) {
    step.correction1 = static_cast<float>(1 - std::pow(step.beta1, number));
    step.correction2 = static_cast<float>(1 - std::pow(step.beta2, number));
    const HostMatrix gradient = random_matrix(random, 1, count);
    // master is its own copy of the weights here
    kernels.adamw(step, gradient, master, m, v, number % 2 == 0 ? master.view() : Matrix{});
    HostMatrix expected_w(1, count), expected_m(1, count), expected_v(1, count);
    for (std::int64_t i = 0; i < count; ++i) {
      Parameter& parameter = expected[static_cast<std::size_t>(i)];
      parameter.update(0.5 * gradient.at(0, i), step);
      expected_w.set(0, i, parameter.w);
      expected_m.set(0, i, parameter.m);
      expected_v.set(0, i, parameter.v);
    }
    ASSERT_TRUE(close_to(m, expected_m, 1e-5)) << "step " << number;
    ASSERT_TRUE(close_to(v, expected_v, 1e-5)) << "step " << number;
    ASSERT_TRUE(close_to(master, expected_w, 1e-5)) << "step " << number;
  }
}

TEST_P(Optimizer, SgdGathersMomentumAndDecaysWeights) {
  Sgd step;
  step.learning_rate = 0.5f;
  step.momentum = 0.75f;
  step.weight_decay = 0.25f;
  step.gradient_scale = 2;
  const HostMatrix master{{8}}, m{{4}}, weights(1, 1, DType::bf16);
  kernels.sgd(step, HostMatrix{{3}}, master, m, weights);
  const double velocity = 0.75 * 4 + 2 * 3;
  const double first = 8 * (1 - 0.5 * 0.25) - 0.5 * velocity;
  EXPECT_EQ(m.at(0, 0), velocity);
  EXPECT_EQ(master.at(0, 0), first);
  EXPECT_EQ(weights.at(0, 0), first);  // 2.5 is a bf16

  kernels.sgd(step, HostMatrix{{3}}, master, m, {});
  EXPECT_EQ(m.at(0, 0), 0.75 * velocity + 6);
  EXPECT_EQ(master.at(0, 0), first * (1 - 0.5 * 0.25) - 0.5 * (0.75 * velocity + 6));
}

}  // namespace
}  // namespace kumihimo::testing

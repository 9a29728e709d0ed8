#include <algorithm>
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
  const HostMatrix first{{1, 2}, {3, 4}}, second{{10}}, other({{0.5, -2}}, DType::bf16);
  kernels.sum_of_squares(std::vector<Matrix>{first, second}, sum);
  kernels.sum_of_squares(std::vector<Matrix>{other}, sum);
  kernels.sum_of_squares({}, sum);
  EXPECT_EQ(sum.at(0, 0), 100 + 1 + 4 + 9 + 16 + 100 + 0.25 + 4);

  const HostMatrix fine(1, 1, DType::fp64);
  const HostMatrix large{{0x1p20, 1}};
  kernels.sum_of_squares(std::vector<Matrix>{large}, fine);
  EXPECT_EQ(fine.at(0, 0), 0x1p40 + 1);  // fp32 would have lost the 1
}

TEST_P(Optimizer, TheFirstStepOfAdamWMovesByTheLearningRate) {
  AdamW step;
  step.learning_rate = 0.5f;
  step.beta1 = 0.75f;
  step.beta2 = 0.5f;
  step.epsilon = 0;
  step.gradient_scale = 2;
  step.correction1 = 1 - 0.75f;
  step.correction2 = 1 - 0.5f;
  const HostMatrix gradient{{3, -5}}, master{{8, 8}}, m(1, 2), v(1, 2), weights(1, 2, DType::bf16);
  kernels.adamw(step, std::vector<OptimizerPiece>{{gradient, master, m, v, weights, 0.25f}});
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

  void update(double g, const AdamW& s, double weight_decay) {
    m = s.beta1 * m + (1 - s.beta1) * g;
    v = s.beta2 * v + (1 - s.beta2) * g * g;
    w -= s.learning_rate * weight_decay * w;
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
  step.gradient_scale = 0.5f;
  constexpr float weight_decay = 0.1f;
  for (int number = 1; number <= 20; ++number) {
    step.correction1 = static_cast<float>(1 - std::pow(step.beta1, number));
    step.correction2 = static_cast<float>(1 - std::pow(step.beta2, number));
    const HostMatrix gradient = random_matrix(random, 1, count);
    // master is its own copy of the weights here
    const Matrix weights = number % 2 == 0 ? master.view() : Matrix{};
    kernels.adamw(step,
                  std::vector<OptimizerPiece>{{gradient, master, m, v, weights, weight_decay}});
    HostMatrix expected_w(1, count), expected_m(1, count), expected_v(1, count);
    for (std::int64_t i = 0; i < count; ++i) {
      Parameter& parameter = expected[static_cast<std::size_t>(i)];
      parameter.update(0.5 * gradient.at(0, i), step, weight_decay);
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
  step.gradient_scale = 2;
  const HostMatrix gradient{{3}}, master{{8}}, m{{4}}, weights(1, 1, DType::bf16);
  kernels.sgd(step, std::vector<OptimizerPiece>{{gradient, master, m, {}, weights, 0.25f}});
  const double velocity = 0.75 * 4 + 2 * 3;
  const double first = 8 * (1 - 0.5 * 0.25) - 0.5 * velocity;
  EXPECT_EQ(m.at(0, 0), velocity);
  EXPECT_EQ(master.at(0, 0), first);
  EXPECT_EQ(weights.at(0, 0), first);  // 2.5 is a bf16

  kernels.sgd(step, std::vector<OptimizerPiece>{{gradient, master, m, {}, {}, 0.25f}});
  EXPECT_EQ(m.at(0, 0), 0.75 * velocity + 6);
  EXPECT_EQ(master.at(0, 0), first * (1 - 0.5 * 0.25) - 0.5 * (0.75 * velocity + 6));
}

/// Pieces of parameters as the engine has them: cut out of longer rows, at any offset, many of them
/// with few elements, some longer than a block's share, some without any; with weights in bf16, in
/// fp32 or none.
class ManyPieces {
 public:
  ManyPieces() {
    Random random(22);
    std::vector<std::int64_t> counts{8192, 8193, 1, 0, 20'001, 64, 0};
    for (std::int64_t i = 0; i < 300; ++i) counts.push_back(i * 7 % 41);
    for (const std::int64_t count : counts) {
      const std::int64_t gap = cuts.size() % 5;  // 0: as aligned as the piece before
      cuts.push_back({all + gap, count});
      all += gap + count;
    }
    gradient = random_matrix(random, 1, all);
    master = random_matrix(random, 1, all);
  }

  struct States {
    HostMatrix master, m, v, narrow, wide;
  };
  States states() const {
    States result{master, HostMatrix(1, all), HostMatrix(1, all), HostMatrix(1, all, DType::bf16),
                  HostMatrix(1, all)};
    return result;
  }
  std::vector<OptimizerPiece> pieces_of(const States& states) const {
    std::vector<OptimizerPiece> pieces;
    for (const auto& [first, count] : cuts) {
      const auto part = [first = first, count = count](const HostMatrix& x) {
        return cols_of(x, first, count);
      };
      const std::size_t kind = std::min<std::size_t>(pieces.size() / 7, 3);
      const Matrix weights = kind == 0   ? Matrix{}
                             : kind == 1 ? part(states.wide)
                             : kind == 2 ? part(states.master)
                                         : part(states.narrow);
      pieces.push_back({part(gradient), part(states.master), part(states.m), part(states.v),
                        weights, pieces.size() % 3 == 0 ? 0.0f : 0.1f});
    }
    return pieces;
  }
  std::vector<Matrix> gradients() const {
    std::vector<Matrix> result;
    for (const auto& [first, count] : cuts) result.push_back(cols_of(gradient, first, count));
    return result;
  }

  std::int64_t all = 0;
  struct Cut {
    std::int64_t first, count;
  };
  std::vector<Cut> cuts;
  HostMatrix gradient{1, 1}, master{1, 1};
};

TEST_P(Optimizer, UpdatesAListAsItsPiecesOneByOne) {
  const ManyPieces many;
  const AdamW adamw{.learning_rate = 0.1f, .gradient_scale = 0.5f, .correction1 = 0.1f};
  const Sgd sgd{.learning_rate = 0.1f, .momentum = 0.9f, .gradient_scale = 2};
  const auto run = [&](Kernels& by, bool one_by_one) {
    const ManyPieces::States states = many.states();
    const std::vector<OptimizerPiece> pieces = many.pieces_of(states);
    const std::span all(pieces);
    if (one_by_one) {
      for (std::size_t i = 0; i < all.size(); ++i) by.adamw(adamw, all.subspan(i, 1));
      for (std::size_t i = 0; i < all.size(); ++i) by.sgd(sgd, all.subspan(i, 1));
    } else {
      by.adamw(adamw, all);
      by.sgd(sgd, all);
    }
    return states;
  };
  const ManyPieces::States listed = run(kernels, false);
  Device reference(HostBackend::reference);
  const auto compare = [&](const ManyPieces::States& expected, const auto& equal) {
    EXPECT_TRUE(equal(listed.master, expected.master));
    EXPECT_TRUE(equal(listed.m, expected.m));
    EXPECT_TRUE(equal(listed.v, expected.v));
    EXPECT_TRUE(equal(listed.narrow, expected.narrow));
    EXPECT_TRUE(equal(listed.wide, expected.wide));
  };
  // What lies between the pieces is compared, too.
  compare(run(*reference.kernels, true), [](const HostMatrix& a, const HostMatrix& b) {
    return close_to(a, b, a.dtype() == DType::bf16 ? 0.01 : 1e-5);
  });
  compare(run(kernels, true),
          [](const HostMatrix& a, const HostMatrix& b) { return same_values(a, b); });
}

TEST_P(Optimizer, SumsTheSquaresOfAList) {
  const ManyPieces many;
  const HostMatrix sum(1, 1, DType::fp64), again(1, 1, DType::fp64), expected(1, 1, DType::fp64);
  kernels.sum_of_squares(many.gradients(), sum);
  kernels.sum_of_squares(many.gradients(), again);
  Device(HostBackend::reference).kernels->sum_of_squares(many.gradients(), expected);
  EXPECT_NEAR(sum.at(0, 0), expected.at(0, 0), 1e-12 * expected.at(0, 0));
  EXPECT_EQ(again.at(0, 0), sum.at(0, 0));
}

}  // namespace
}  // namespace kumihimo::testing

#include <cmath>
#include <gtest/gtest.h>
#include <limits>

#include "support/backends.hpp"
#include "support/gradients.hpp"
#include "support/matrices.hpp"

namespace kumihimo::testing {
namespace {

class CrossEntropy : public KernelsTest {};
INSTANTIATE_TEST_SUITE_P(On, CrossEntropy, ::testing::ValuesIn(host_backends()), backend_name);

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

TEST_P(CrossEntropy, OneTokenByHand) {
  const double ln2 = std::log(2.0);
  const HostMatrix logits{{0, ln2, 0, not_a_number}};  // the last column is padding
  const HostMatrix targets({{2}}, DType::int32), statistics(1, 3);
  kernels.cross_entropy_statistics(logits, targets, 0, 3, statistics);
  // Maximum ln 2; exp(0 - ln 2) = 1/2; the target's logit is 0.
  EXPECT_TRUE(close_to(statistics, HostMatrix{{ln2, 0.5 + 1 + 0.5, 0}}, 1e-6));

  const HostMatrix log_sum_exp(1, 1), loss_sum({{10}}, DType::fp64);
  kernels.cross_entropy_combine(statistics, 1, log_sum_exp, loss_sum);
  EXPECT_NEAR(log_sum_exp.at(0, 0), std::log(1.0 + 2 + 1), 1e-6);
  EXPECT_NEAR(loss_sum.at(0, 0), 10 + std::log(4.0) - 0, 1e-6);

  kernels.cross_entropy_backward(logits, targets, 0, 3, log_sum_exp, 0.5f);
  EXPECT_TRUE(
      close_to(logits, HostMatrix{{0.5 * 1 / 4, 0.5 * 2 / 4, 0.5 * (1.0 / 4 - 1), 0}}, 1e-6));
}

TEST_P(CrossEntropy, ATargetElsewhereCountsForNothingHere) {
  const HostMatrix logits{{1, 2}, {3, 4}, {5, 6}}, statistics(3, 3);
  const HostMatrix targets({{9}, {10}, {12}}, DType::int32);  // columns 10 and 11 are here
  kernels.cross_entropy_statistics(logits, targets, 10, 2, statistics);
  EXPECT_EQ(statistics.at(0, 2), 0);
  EXPECT_EQ(statistics.at(1, 2), 3);
  EXPECT_EQ(statistics.at(2, 2), 0);
  kernels.cross_entropy_backward(logits, targets, 10, 2, HostMatrix{{infinity}, {4}, {infinity}},
                                 1);
  EXPECT_TRUE(close_to(
      logits, HostMatrix{{0, 0}, {std::exp(3.0 - 4) - 1, std::exp(4.0 - 4)}, {0, 0}}, 1e-6));
}

TEST_P(CrossEntropy, ARankOfPaddingAloneHasEmptyStatisticsWhichDoNotMatter) {
  const HostMatrix padding{{not_a_number, infinity}}, statistics(2, 3);
  const HostMatrix targets({{0}}, DType::int32);
  kernels.cross_entropy_statistics(HostMatrix{{3, 3}}, targets, 0, 2, rows_of(statistics, 0, 1));
  kernels.cross_entropy_statistics(padding, targets, 2, 0, rows_of(statistics, 1, 1));
  EXPECT_TRUE(close_to(statistics, HostMatrix{{3, 2, 3}, {-infinity, 0, 0}}, 1e-6));

  const HostMatrix log_sum_exp(1, 1), loss_sum(1, 1, DType::fp64);
  kernels.cross_entropy_combine(statistics, 2, log_sum_exp, loss_sum);
  EXPECT_NEAR(log_sum_exp.at(0, 0), 3 + std::log(2.0), 1e-6);
  EXPECT_NEAR(loss_sum.at(0, 0), std::log(2.0), 1e-6);
  kernels.cross_entropy_backward(padding, targets, 2, 0, log_sum_exp, 1);
  EXPECT_TRUE(same_values(padding, HostMatrix{{0, 0}}));
}

TEST_P(CrossEntropy, WithoutAnyColumnNothingIsNaN) {
  const HostMatrix statistics{{-infinity, 0, 0}, {-infinity, 0, 0}};
  const HostMatrix log_sum_exp(1, 1), loss_sum(1, 1, DType::fp64);
  kernels.cross_entropy_combine(statistics, 2, log_sum_exp, loss_sum);
  EXPECT_EQ(log_sum_exp.at(0, 0), -infinity);
  EXPECT_EQ(loss_sum.at(0, 0), -infinity);
}

TEST_P(CrossEntropy, ALossWithNaNAmongItsLogitsIsNotFinite) {
  for (const HostMatrix& logits :
       {HostMatrix{{not_a_number, 1, 2, 3}}, HostMatrix{{1, not_a_number}},
        HostMatrix{{not_a_number, not_a_number}},
        HostMatrix{{-infinity, not_a_number, -infinity}}}) {
    const HostMatrix statistics(1, 3), log_sum_exp(1, 1), loss_sum(1, 1, DType::fp64);
    kernels.cross_entropy_statistics(logits, HostMatrix({{0}}, DType::int32), 0, logits.cols(),
                                     statistics);
    kernels.cross_entropy_combine(statistics, 1, log_sum_exp, loss_sum);
    EXPECT_FALSE(std::isfinite(loss_sum.at(0, 0)));
  }
}

TEST_P(CrossEntropy, LargeLogitsDoNotOverflow) {
  const HostMatrix logits{{1000, 1000, -1000}}, statistics(1, 3), log_sum_exp(1, 1);
  const HostMatrix targets({{2}}, DType::int32), loss_sum(1, 1, DType::fp64);
  kernels.cross_entropy_statistics(logits, targets, 0, 3, statistics);
  kernels.cross_entropy_combine(statistics, 1, log_sum_exp, loss_sum);
  EXPECT_NEAR(loss_sum.at(0, 0), 1000 + std::log(2.0) + 1000, 1e-3);
  kernels.cross_entropy_backward(logits, targets, 0, 3, log_sum_exp, 1);
  EXPECT_TRUE(close_to(logits, HostMatrix{{0.5, 0.5, 0 - 1}}, 1e-3));
}

TEST_P(CrossEntropy, Bf16IsWidenedBeforeItIsSummed) {
  // 256 equal logits: their sum of exponentials, 256, and one more, 257, are told apart.
  for (const std::int64_t columns : {256, 257}) {
    const HostMatrix logits(1, columns, DType::bf16), statistics(1, 3);
    kernels.cross_entropy_statistics(logits, HostMatrix({{0}}, DType::int32), 0, columns,
                                     statistics);
    EXPECT_EQ(statistics.at(0, 1), columns);
  }
}

/// A vocabulary of 7, split 4 + 3 with one column of padding in the second part.
class Split {
 public:
  explicit Split(Kernels& kernels) : kernels_(kernels) {}

  double loss(const HostMatrix& logits, const HostMatrix& targets) {
    HostMatrix first(tokens, 4), second(tokens, 4);
    divide(logits, first, second);
    const HostMatrix statistics(2 * tokens, 3), loss_sum(1, 1, DType::fp64);
    kernels_.cross_entropy_statistics(first, targets, 0, 4, rows_of(statistics, 0, tokens));
    kernels_.cross_entropy_statistics(second, targets, 4, 3, rows_of(statistics, tokens, tokens));
    kernels_.cross_entropy_combine(statistics, 2, log_sum_exp, loss_sum);
    return loss_sum.at(0, 0);
  }
  HostMatrix gradient(const HostMatrix& logits, const HostMatrix& targets, float scale) {
    HostMatrix first(tokens, 4), second(tokens, 4);
    divide(logits, first, second);
    kernels_.cross_entropy_backward(first, targets, 0, 4, log_sum_exp, scale);
    kernels_.cross_entropy_backward(second, targets, 4, 3, log_sum_exp, scale);
    HostMatrix together(tokens, 7);
    kernels_.copy(first, cols_of(together, 0, 4));
    kernels_.copy(cols_of(second, 0, 3), cols_of(together, 4, 3));
    EXPECT_TRUE(same_values(cols_of(second, 3, 1), HostMatrix(tokens, 1)));
    return together;
  }

  static constexpr std::int64_t tokens = 5;
  HostMatrix log_sum_exp{tokens, 1};

 private:
  void divide(const HostMatrix& logits, HostMatrix& first, HostMatrix& second) {
    kernels_.copy(cols_of(logits, 0, 4), first);
    kernels_.copy(cols_of(logits, 4, 3), cols_of(second, 0, 3));
    for (std::int64_t token = 0; token < tokens; ++token) second.set(token, 3, not_a_number);
  }

  Kernels& kernels_;
};

TEST_P(CrossEntropy, SplittingTheVocabularyChangesNothing) {
  Random random(18);
  Split split(kernels);
  HostMatrix logits = random_matrix(random, Split::tokens, 7, DType::fp32, 4);
  const HostMatrix targets = random_indices(random, Split::tokens, 7);
  const double split_loss = split.loss(logits, targets);
  const HostMatrix split_gradient = split.gradient(logits, targets, 2);

  const HostMatrix statistics(Split::tokens, 3), log_sum_exp(Split::tokens, 1);
  const HostMatrix loss_sum(1, 1, DType::fp64);
  kernels.cross_entropy_statistics(logits, targets, 0, 7, statistics);
  kernels.cross_entropy_combine(statistics, 1, log_sum_exp, loss_sum);
  kernels.cross_entropy_backward(logits, targets, 0, 7, log_sum_exp, 2);
  EXPECT_NEAR(split_loss, loss_sum.at(0, 0), 1e-6 * loss_sum.at(0, 0));
  EXPECT_TRUE(close_to(split_gradient, logits, 1e-5));
}

TEST_P(CrossEntropy, GradientOfASplitVocabularyIsThatOfFiniteDifferences) {
  Random random(19);
  Split split(kernels);
  HostMatrix logits = random_matrix(random, Split::tokens, 7, DType::fp32, 2);
  const HostMatrix targets = random_indices(random, Split::tokens, 7);
  const HostMatrix numerical =
      numerical_gradient(logits, [&] { return 3 * split.loss(logits, targets); });
  split.loss(logits, targets);
  EXPECT_TRUE(close_to(split.gradient(logits, targets, 3), numerical, 1e-4));
}

}  // namespace
}  // namespace kumihimo::testing

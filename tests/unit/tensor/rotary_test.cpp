#include <cmath>
#include <gtest/gtest.h>

#include "support/backends.hpp"
#include "support/gradients.hpp"
#include "support/matrices.hpp"

namespace kumihimo::testing {
namespace {

class Rotary : public KernelsTest {};
INSTANTIATE_TEST_SUITE_P(On, Rotary, ::testing::ValuesIn(host_backends()), backend_name);

/// Position p turns pair i by p / 10^i.
HostMatrix table_of(std::int64_t positions, std::int64_t head_dim) {
  HostMatrix table(positions, head_dim);
  for (std::int64_t p = 0; p < positions; ++p) {
    for (std::int64_t i = 0; i < head_dim / 2; ++i) {
      const double angle = static_cast<double>(p) * std::pow(10, -static_cast<double>(i));
      table.set(p, i, std::cos(angle));
      table.set(p, head_dim / 2 + i, std::sin(angle));
    }
  }
  return table;
}

TEST_P(Rotary, TurnsAPairByThePositionsAngle) {
  HostMatrix x{{1, 2}, {1, 2}};
  kernels.rotate(x, 1, 2, 2, HostMatrix{{1, 0}, {0.6, 0.8}}, false);
  EXPECT_TRUE(close_to(x, HostMatrix{{1, 2}, {1 * 0.6 - 2 * 0.8, 2 * 0.6 + 1 * 0.8}}, 1e-6));
}

TEST_P(Rotary, PairsTheHalvesOfEachHeadAndLeavesOtherColumnsAlone) {
  // A quarter turn maps (a, b) to (-b, a). Two heads of four, and two columns that are no head's.
  HostMatrix x{{1, 2, 3, 4, 5, 6, 7, 8, 100, 200}};
  kernels.rotate(x, 2, 4, 1, HostMatrix{{0, 0, 1, 1}}, false);
  EXPECT_TRUE(same_values(x, HostMatrix{{-3, -4, 1, 2, -7, -8, 5, 6, 100, 200}}));
}

TEST_P(Rotary, PositionsStartAnewWithEverySequence) {
  Random random(5);
  const HostMatrix table = table_of(8, 6);  // longer than the sequences
  HostMatrix x = random_matrix(random, 2 * 3, 12);
  HostMatrix second(3, 12);
  kernels.copy(rows_of(x, 3, 3), second);
  kernels.rotate(x, 2, 6, 3, table, false);
  kernels.rotate(second, 2, 6, 3, table, false);
  EXPECT_TRUE(same_values(rows_of(x, 3, 3), second));
}

TEST_P(Rotary, TheInverseUndoesItAndIsItsGradient) {
  Random random(6);
  const HostMatrix table = table_of(4, 6);
  HostMatrix x = random_matrix(random, 4, 12), turned(4, 12);
  const HostMatrix weights = random_matrix(random, 4, 12);
  const auto loss = [&] {
    kernels.copy(x, turned);
    kernels.rotate(turned, 2, 6, 4, table, false);
    return weighted_sum(turned, weights);
  };
  const HostMatrix numerical = numerical_gradient(x, loss);
  loss();
  kernels.rotate(turned, 2, 6, 4, table, true);
  EXPECT_TRUE(close_to(turned, x, 1e-6));

  HostMatrix d_x(4, 12);
  kernels.copy(weights, d_x);
  kernels.rotate(d_x, 2, 6, 4, table, true);
  EXPECT_TRUE(close_to(d_x, numerical, 1e-4));
}

TEST_P(Rotary, Bf16IsRoundedOnce) {
  Random random(7);
  const HostMatrix table = table_of(5, 8);
  const HostMatrix x = random_matrix(random, 5, 8, DType::bf16, 1, 13);
  HostMatrix wide = converted(x, DType::fp32);
  kernels.rotate(x, 1, 8, 5, table, false);
  kernels.rotate(wide, 1, 8, 5, table, false);
  EXPECT_TRUE(close_to(x, wide, 1.01 * rounding_of(DType::bf16)));
  EXPECT_TRUE(x.gaps_are_untouched());
}

}  // namespace
}  // namespace kumihimo::testing

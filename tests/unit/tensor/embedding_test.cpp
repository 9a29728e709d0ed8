#include <gtest/gtest.h>

#include "support/backends.hpp"
#include "support/gradients.hpp"
#include "support/matrices.hpp"

namespace kumihimo::testing {
namespace {

class Embedding : public KernelsTest {};
INSTANTIATE_TEST_SUITE_P(On, Embedding, ::testing::ValuesIn(host_backends()), backend_name);

TEST_P(Embedding, LooksUpRowsAndGivesZerosForThoseOfOtherRanks) {
  const HostMatrix tokens({{4}, {2}, {3}, {5}}, DType::int32);
  const HostMatrix table{{30, 31}, {40, 41}};  // rows 3 and 4 of the vocabulary
  const HostMatrix out{{9, 9}, {9, 9}, {9, 9}, {9, 9}};
  kernels.embedding_forward(tokens, table, 3, out);
  EXPECT_TRUE(same_values(out, HostMatrix{{40, 41}, {0, 0}, {30, 31}, {0, 0}}));
}

TEST_P(Embedding, GradientsOfOneTokenAddUp) {
  const HostMatrix tokens({{4}, {2}, {4}, {3}}, DType::int32);
  const HostMatrix d_out({{1, 2}, {10, 20}, {3, 4}, {5, 6}}, DType::bf16);
  const HostMatrix d_table{{100, 200}, {300, 400}};
  kernels.embedding_backward(tokens, d_out, 3, d_table);
  EXPECT_TRUE(same_values(d_table, HostMatrix{{100 + 5, 200 + 6}, {300 + 1 + 3, 400 + 2 + 4}}));
}

TEST_P(Embedding, AddsGradientsInTheOrderOfTheTokens) {
  // In fp32, 2^24 + 1 is 2^24: from the left both ones are lost, from the right they would count.
  const HostMatrix tokens({{0}, {0}, {0}}, DType::int32);
  const HostMatrix d_out{{0x1p24}, {1}, {1}}, d_table(1, 1);
  kernels.embedding_backward(tokens, d_out, 0, d_table);
  EXPECT_EQ(d_table.at(0, 0), 0x1p24);
}

TEST_P(Embedding, GradientIsThatOfFiniteDifferences) {
  Random random(16);
  const HostMatrix tokens = random_indices(random, 6, 5);
  HostMatrix table = random_matrix(random, 3, 4);  // rows 1 to 3 of 5
  const HostMatrix d_out = random_matrix(random, 6, 4), out(6, 4), d_table(3, 4);
  kernels.embedding_backward(tokens, d_out, 1, d_table);
  EXPECT_TRUE(close_to(d_table,
                       numerical_gradient(table,
                                          [&] {
                                            kernels.embedding_forward(tokens, table, 1, out);
                                            return weighted_sum(out, d_out);
                                          }),
                       1e-4));
}

TEST_P(Embedding, PositionsCountFromTheFirstTokenAndStartAnewWithEverySequence) {
  const HostMatrix table{{1, 2}, {3, 4}, {5, 6}, {-1, -1}};  // one position more than are used
  const HostMatrix x{{10, 10}, {20, 20}, {30, 30}};
  kernels.add_positions(x, table, 3 + 1, 3);  // tokens 4, 5, 6 of sequences of 3
  EXPECT_TRUE(same_values(x, HostMatrix{{10 + 3, 10 + 4}, {20 + 5, 20 + 6}, {30 + 1, 30 + 2}}));

  const HostMatrix d_table{{100, 100}, {0, 0}, {0, 0}, {7, 7}};
  kernels.positions_backward(HostMatrix{{1, 2}, {3, 4}, {5, 6}, {7, 8}}, 4, 3, d_table);
  // Tokens 4 to 7 have positions 1, 2, 0, 1.
  EXPECT_TRUE(same_values(d_table, HostMatrix{{100 + 5, 100 + 6}, {1 + 7, 2 + 8}, {3, 4}, {7, 7}}));
}

TEST_P(Embedding, GradientOfPositionsIsThatOfFiniteDifferences) {
  Random random(17);
  const HostMatrix before = random_matrix(random, 7, 4), d_x = random_matrix(random, 7, 4);
  HostMatrix table = random_matrix(random, 3, 4);
  const HostMatrix x(7, 4), d_table(3, 4);
  kernels.positions_backward(d_x, 2, 3, d_table);
  EXPECT_TRUE(close_to(d_table,
                       numerical_gradient(table,
                                          [&] {
                                            kernels.copy(before, x);
                                            kernels.add_positions(x, table, 2, 3);
                                            return weighted_sum(x, d_x);
                                          }),
                       1e-4));
}

}  // namespace
}  // namespace kumihimo::testing

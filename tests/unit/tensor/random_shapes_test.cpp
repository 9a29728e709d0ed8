#include <gtest/gtest.h>
#include <sstream>

#include "support/backends.hpp"
#include "support/kept_for_backward.hpp"
#include "support/matrices.hpp"

// Shapes that nobody would choose: on every back end, all kernels of an operation, in either format
// and within wider matrices, agree with the reference in fp32.

namespace kumihimo::testing {
namespace {

class RandomShapes : public KernelsTest {
 protected:
  Device reference{HostBackend::reference};
};
INSTANTIATE_TEST_SUITE_P(On, RandomShapes, ::testing::ValuesIn(host_backends()), backend_name);

constexpr int cases = 40;

/// Rounding once per result, and in between where a kernel stores what it has so far.
double tolerance_of(DType dtype) { return (dtype == DType::fp32 ? 64 : 6) * rounding_of(dtype); }

DType random_dtype(Random& random) { return random.integer(0, 1) == 0 ? DType::fp32 : DType::bf16; }

/// A matrix like `values`, rounded to `dtype`, between gaps of random width.
HostMatrix spread(Random& random, const HostMatrix& values, DType dtype) {
  HostMatrix matrix(values.rows(), values.cols(), dtype, values.cols() + random.integer(0, 9));
  for (std::int64_t row = 0; row < values.rows(); ++row) {
    for (std::int64_t col = 0; col < values.cols(); ++col) {
      matrix.set(row, col, values.at(row, col));
    }
  }
  return matrix;
}

HostMatrix spread(Random& random, std::int64_t rows, std::int64_t cols, DType dtype) {
  return spread(random, HostMatrix(rows, cols), dtype);
}

TEST_P(RandomShapes, AttentionKernelsAgree) {
  Random random(31);
  for (int number = 0; number < cases; ++number) {
    AttentionShape shape;
    shape.sequences = random.integer(1, 3);
    shape.seq_length = random.integer(2, 21);
    shape.kv_heads = random.integer(1, 3);
    shape.heads = shape.kv_heads * random.integer(1, 4);
    shape.head_dim = random.integer(1, 19);
    const DType dtype = random_dtype(random);
    const std::int64_t tokens = shape.sequences * shape.seq_length;
    const std::int64_t width = shape.heads * shape.head_dim;
    const std::int64_t kv_width = shape.kv_heads * shape.head_dim;
    // Rounded to the format first, so that both sides read the same numbers.
    const HostMatrix q = random_matrix(random, tokens, width, dtype);
    const HostMatrix k = random_matrix(random, tokens, kv_width, dtype);
    const HostMatrix v = random_matrix(random, tokens, kv_width, dtype);
    const HostMatrix d_out = random_matrix(random, tokens, width, dtype);

    const HostMatrix out(tokens, width), d_q(tokens, width);
    const HostMatrix d_k(tokens, kv_width), d_v(tokens, kv_width);
    const AttentionMemory kept(shape);
    const HostMatrix wide_q = converted(q, DType::fp32), wide_k = converted(k, DType::fp32);
    const HostMatrix wide_v = converted(v, DType::fp32), wide_d_out = converted(d_out, DType::fp32);
    reference.kernels->attention_forward(shape, wide_q, wide_k, wide_v, out, kept.saved());
    reference.kernels->attention_backward(shape, wide_q, wide_k, wide_v, out, kept.saved(),
                                          wide_d_out, d_q, d_k, d_v);

    for (const AttentionKernel kernel : all_attention_kernels) {
      shape.kernel = kernel;
      std::ostringstream description;
      description << "case " << number << ": " << shape.sequences << " x " << shape.seq_length
                  << " tokens, " << shape.heads << "/" << shape.kv_heads << " heads of "
                  << shape.head_dim << ", " << to_string(dtype) << ", kernel "
                  << static_cast<int>(kernel);
      SCOPED_TRACE(description.str());
      const HostMatrix my_q = spread(random, q, dtype), my_k = spread(random, k, dtype);
      const HostMatrix my_v = spread(random, v, dtype), my_d_out = spread(random, d_out, dtype);
      const HostMatrix my_out = spread(random, tokens, width, dtype);
      const HostMatrix my_d_q = spread(random, tokens, width, dtype);
      const HostMatrix my_d_k = spread(random, tokens, kv_width, dtype);
      const HostMatrix my_d_v = spread(random, tokens, kv_width, dtype);
      const AttentionMemory my_kept(shape, dtype);
      kernels.attention_forward(shape, my_q, my_k, my_v, my_out, my_kept.saved());
      kernels.attention_backward(shape, my_q, my_k, my_v, my_out, my_kept.saved(), my_d_out, my_d_q,
                                 my_d_k, my_d_v);
      const double tolerance = tolerance_of(dtype);
      // Gradients of scores are differences: of d_out v and of the sum of d_out out over the head,
      // which flash takes from the output as it is stored. What rounding has left there is a larger
      // share of the difference.
      const double of_scores = dtype == DType::bf16 ? 2 * tolerance : tolerance;
      EXPECT_TRUE(close_to(my_out, out, tolerance));
      EXPECT_TRUE(close_to(my_d_q, d_q, of_scores));
      EXPECT_TRUE(close_to(my_d_k, d_k, of_scores));
      EXPECT_TRUE(close_to(my_d_v, d_v, tolerance));
      for (const HostMatrix* each : {&my_out, &my_d_q, &my_d_k, &my_d_v}) {
        EXPECT_TRUE(each->gaps_are_untouched());
      }
    }
  }
}

TEST_P(RandomShapes, NormKernelsAgree) {
  Random random(32);
  for (int number = 0; number < cases; ++number) {
    const std::int64_t tokens = random.integer(1, 9), hidden = random.integer(2, 133);
    const DType dtype = random_dtype(random);
    NormKinds norm;
    norm.kind = random.integer(0, 1) == 0 ? NormKind::rms_norm : NormKind::layer_norm;
    const bool with_bias = norm.kind == NormKind::layer_norm;
    const double offset = random.uniform(-2, 2);
    HostMatrix x = random_matrix(random, tokens, hidden, dtype);
    for (std::int64_t col = 0; col < hidden; ++col) x.set(0, col, x.at(0, col) + offset);
    const HostMatrix weight = random_matrix(random, 1, hidden, dtype);
    const HostMatrix bias = random_matrix(random, 1, hidden, dtype);
    const HostMatrix d_y = random_matrix(random, tokens, hidden, dtype);
    const HostMatrix d_residual = random_matrix(random, tokens, hidden, dtype);

    const HostMatrix y(tokens, hidden), d_x(tokens, hidden), d_weight(1, hidden), d_bias(1, hidden);
    const NormMemory kept(norm, tokens, hidden);
    const HostMatrix wide_x = converted(x, DType::fp32);
    const HostMatrix wide_weight = converted(weight, DType::fp32);
    const HostMatrix wide_bias = converted(bias, DType::fp32);
    reference.kernels->norm_forward(norm, wide_x, wide_weight,
                                    with_bias ? wide_bias.view() : Matrix{}, y, kept.saved());
    reference.kernels->norm_backward(
        norm, wide_x, wide_weight, kept.saved(), converted(d_y, DType::fp32),
        converted(d_residual, DType::fp32), d_x, d_weight, with_bias ? d_bias.view() : Matrix{});

    for (const NormKernel kernel : {NormKernel::fused, NormKernel::unfused}) {
      norm.kernel = kernel;
      std::ostringstream description;
      description << "case " << number << ": [" << tokens << ", " << hidden << "], "
                  << to_string(dtype) << (with_bias ? ", LayerNorm" : ", RMSNorm")
                  << (kernel == NormKernel::fused ? ", fused" : ", unfused");
      SCOPED_TRACE(description.str());
      const HostMatrix my_x = spread(random, x, dtype), my_d_y = spread(random, d_y, dtype);
      const HostMatrix my_d_residual = spread(random, d_residual, dtype);
      const HostMatrix my_y = spread(random, tokens, hidden, dtype);
      const HostMatrix my_d_x = spread(random, tokens, hidden, dtype);
      const HostMatrix my_d_weight(1, hidden), my_d_bias(1, hidden);
      const NormMemory my_kept(norm, tokens, hidden, dtype);
      kernels.norm_forward(norm, my_x, weight, with_bias ? bias.view() : Matrix{}, my_y,
                           my_kept.saved());
      kernels.norm_backward(norm, my_x, weight, my_kept.saved(), my_d_y, my_d_residual, my_d_x,
                            my_d_weight, with_bias ? my_d_bias.view() : Matrix{});
      const double tolerance = tolerance_of(dtype);
      EXPECT_TRUE(close_to(my_y, y, tolerance));
      EXPECT_TRUE(close_to(my_d_x, d_x, tolerance));
      EXPECT_TRUE(close_to(my_d_weight, d_weight, tolerance));
      EXPECT_TRUE(close_to(my_d_bias, d_bias, tolerance));
      EXPECT_TRUE(my_y.gaps_are_untouched());
      EXPECT_TRUE(my_d_x.gaps_are_untouched());
    }
  }
}

TEST_P(RandomShapes, ProductsAgreeInEveryFormatAndTransposition) {
  Random random(33);
  for (int number = 0; number < cases; ++number) {
    const std::int64_t rows = random.integer(1, 33), cols = random.integer(1, 33);
    const std::int64_t depth = random.integer(1, 70);
    const Transpose transpose_a{random.integer(0, 1) == 1};
    const Transpose transpose_b{random.integer(0, 1) == 1};
    constexpr DType operand_dtypes[][2] = {{DType::fp32, DType::fp32},
                                           {DType::bf16, DType::bf16},
                                           {DType::fp8_e4m3, DType::fp8_e4m3},
                                           {DType::fp8_e5m2, DType::fp8_e4m3}};
    const auto& [dtype_a, dtype_b] = operand_dtypes[number % 4];
    const bool accumulated = random.integer(0, 1) == 1;
    const DType dtype_c = accumulated ? DType::fp32 : random_dtype(random);
    std::ostringstream description;
    description << "case " << number << ": [" << rows << ", " << depth << "] " << to_string(dtype_a)
                << " by [" << depth << ", " << cols << "] " << to_string(dtype_b)
                << (accumulated ? ", accumulated" : "");
    SCOPED_TRACE(description.str());

    const auto operand = [&](Transpose transpose, std::int64_t r, std::int64_t c, DType dtype) {
      const HostMatrix values =
          transpose == Transpose::yes ? random_matrix(random, c, r) : random_matrix(random, r, c);
      return spread(random, values, dtype);
    };
    const HostMatrix a = operand(transpose_a, rows, depth, dtype_a);
    const HostMatrix b = operand(transpose_b, depth, cols, dtype_b);
    const HostMatrix start = random_matrix(random, rows, cols);
    const HostMatrix c = spread(random, start, dtype_c), expected = start;
    const Accumulate accumulate{accumulated};
    kernels.matmul(a, transpose_a, b, transpose_b, c, accumulate, {0.5f});
    reference.kernels->matmul(a, transpose_a, b, transpose_b, expected, accumulate, {0.5f});
    EXPECT_TRUE(close_to(c, expected, tolerance_of(dtype_c)));
    EXPECT_TRUE(c.gaps_are_untouched());
  }
}

}  // namespace
}  // namespace kumihimo::testing

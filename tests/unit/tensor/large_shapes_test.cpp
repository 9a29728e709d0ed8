#include <cmath>
#include <gtest/gtest.h>
#include <sstream>

#include "support/backends.hpp"
#include "support/fp8_casts.hpp"
#include "support/kept_for_backward.hpp"
#include "support/matrices.hpp"

// Shapes that do not fit into one tile, one block or one thread's registers, whatever the back end:
// it agrees with the reference in fp32, with rows that begin anywhere and with rows that begin
// where whole vectors can be read.

namespace kumihimo::testing {
namespace {

class LargeShapes : public KernelsTest {
 protected:
  Kernels& reference() { return *reference_.kernels; }

 private:
  Device reference_{HostBackend::reference};
};

std::vector<HostBackend> faster_backends() {
  std::vector<HostBackend> backends = host_backends();
  std::erase(backends, HostBackend::reference);
  return backends;
}

INSTANTIATE_TEST_SUITE_P(On, LargeShapes, ::testing::ValuesIn(faster_backends()), backend_name);

constexpr DType both[] = {DType::fp32, DType::bf16};

/// Sums of n terms that are rounded one after the other.
double tolerance_of(DType dtype, std::int64_t terms = 1) {
  const double once = (dtype == DType::fp32 ? 64 : 6) * rounding_of(dtype);
  return once + static_cast<double>(terms) * rounding_of(DType::fp32) / 16;
}

struct AttentionCase {
  std::int64_t sequences, seq_length, heads, kv_heads, head_dim;
  std::int64_t gap;  ///< elements between rows
};

constexpr AttentionCase attention_cases[] = {
    {1, 200, 2, 1, 64, 8},   // several tiles of queries and keys, two heads a group
    {1, 129, 1, 1, 128, 0},  // one query beyond a tile
    {2, 64, 2, 2, 64, 0},    // whole tiles
    {1, 100, 2, 1, 96, 16},  // a head that is padded
    {1, 70, 1, 1, 100, 3},   // a head and a gap that are no whole vectors
    {2, 97, 3, 1, 24, 0},   {1, 3, 1, 1, 128, 0},
};

TEST_P(LargeShapes, Attention) {
  Random random(41);
  for (const AttentionCase& each : attention_cases) {
    for (const DType dtype : both) {
      std::ostringstream description;
      description << each.sequences << " x " << each.seq_length << " tokens, " << each.heads << "/"
                  << each.kv_heads << " heads of " << each.head_dim << ", " << to_string(dtype);
      SCOPED_TRACE(description.str());
      AttentionShape shape{each.sequences, each.seq_length, each.heads, each.kv_heads,
                           each.head_dim};
      const std::int64_t tokens = shape.sequences * shape.seq_length;
      const std::int64_t width = shape.heads * shape.head_dim;
      const std::int64_t kv_width = shape.kv_heads * shape.head_dim;
      const auto random_rows = [&](std::int64_t cols) {
        return random_matrix(random, tokens, cols, dtype, 1, cols + each.gap);
      };
      const HostMatrix q = random_rows(width), k = random_rows(kv_width);
      const HostMatrix v = random_rows(kv_width), d_out = random_rows(width);
      const HostMatrix out(tokens, width), d_q(tokens, width);
      const HostMatrix d_k(tokens, kv_width), d_v(tokens, kv_width);
      const AttentionMemory kept(shape);
      const HostMatrix wide_q = converted(q, DType::fp32), wide_k = converted(k, DType::fp32);
      const HostMatrix wide_v = converted(v, DType::fp32);
      reference().attention_forward(shape, wide_q, wide_k, wide_v, out, kept.saved());
      reference().attention_backward(shape, wide_q, wide_k, wide_v, out, kept.saved(),
                                     converted(d_out, DType::fp32), d_q, d_k, d_v);

      for (const AttentionKernel kernel :
           {AttentionKernel::unfused, AttentionKernel::fused_softmax, AttentionKernel::flash2}) {
        SCOPED_TRACE(static_cast<int>(kernel));
        shape.kernel = kernel;
        const auto result = [&](std::int64_t cols) {
          return HostMatrix(tokens, cols, dtype, cols + each.gap);
        };
        const HostMatrix my_out = result(width), my_d_q = result(width);
        const HostMatrix my_d_k = result(kv_width), my_d_v = result(kv_width);
        const AttentionMemory my_kept(shape, dtype);
        kernels.attention_forward(shape, q, k, v, my_out, my_kept.saved());
        kernels.attention_backward(shape, q, k, v, my_out, my_kept.saved(), d_out, my_d_q, my_d_k,
                                   my_d_v);
        const double tolerance = tolerance_of(dtype, shape.seq_length);
        EXPECT_TRUE(close_to(my_out, out, tolerance));
        // As for random shapes: differences that rounding leaves less of.
        EXPECT_TRUE(close_to(my_d_q, d_q, 2 * tolerance));
        EXPECT_TRUE(close_to(my_d_k, d_k, 2 * tolerance));
        EXPECT_TRUE(close_to(my_d_v, d_v, tolerance));
        if (is_flash(kernel)) {
          EXPECT_TRUE(close_to(my_kept.log_sum_exp, kept.log_sum_exp, 1e-5));
        }
        for (const HostMatrix* each_result : {&my_out, &my_d_q, &my_d_k, &my_d_v}) {
          EXPECT_TRUE(each_result->gaps_are_untouched());
        }
      }
    }
  }
}

struct Shape {
  std::int64_t rows, cols, gap;
};

TEST_P(LargeShapes, Norms) {
  Random random(42);
  // Rows longer than a block keeps in registers; more rows than blocks; both aligned and not.
  for (const Shape& shape : {Shape{2, 9001, 0}, Shape{3, 8704, 8}, Shape{1100, 40, 0}}) {
    for (const DType dtype : both) {
      for (const NormKind kind : {NormKind::rms_norm, NormKind::layer_norm}) {
        SCOPED_TRACE(std::to_string(shape.cols) + " features, " + std::string(to_string(dtype)));
        const auto random_rows = [&](std::int64_t rows) {
          return random_matrix(random, rows, shape.cols, dtype, 1, shape.cols + shape.gap);
        };
        const HostMatrix x = random_rows(shape.rows), delta = random_rows(shape.rows);
        const HostMatrix d_y = random_rows(shape.rows), d_residual = random_rows(shape.rows);
        const HostMatrix weight = random_rows(1), bias = random_rows(1);
        const Matrix bias_or_none = kind == NormKind::layer_norm ? bias.view() : Matrix{};
        const auto run = [&](Kernels& by, const NormKinds& norm, const HostMatrix& sum,
                             const HostMatrix& y, const HostMatrix& d_x, const HostMatrix& d_weight,
                             const HostMatrix& d_bias) {
          const NormMemory kept(norm, shape.rows, shape.cols, dtype);
          by.add_norm_forward(norm, x, delta, weight, bias_or_none, sum, y, kept.saved());
          by.norm_backward(norm, sum, weight, kept.saved(), d_y, d_residual, d_x, d_weight,
                           kind == NormKind::layer_norm ? d_bias.view() : Matrix{});
        };
        const auto result = [&] {
          return HostMatrix(shape.rows, shape.cols, dtype, shape.cols + shape.gap);
        };
        const HostMatrix sum = result(), y = result(), d_x = result();
        const HostMatrix d_weight(1, shape.cols), d_bias(1, shape.cols);
        run(reference(), {kind, NormKernel::fused}, sum, y, d_x, d_weight, d_bias);
        for (const NormKernel kernel : {NormKernel::fused, NormKernel::unfused}) {
          const HostMatrix my_sum = result(), my_y = result(), my_d_x = result();
          const HostMatrix my_d_weight(1, shape.cols), my_d_bias(1, shape.cols);
          run(kernels, {kind, kernel}, my_sum, my_y, my_d_x, my_d_weight, my_d_bias);
          const double tolerance = tolerance_of(dtype, shape.rows);
          EXPECT_TRUE(same_values(my_sum, sum));
          EXPECT_TRUE(close_to(my_y, y, tolerance));
          EXPECT_TRUE(close_to(my_d_x, d_x, tolerance));
          EXPECT_TRUE(close_to(my_d_weight, d_weight, tolerance));
          EXPECT_TRUE(close_to(my_d_bias, d_bias, tolerance));
          EXPECT_TRUE(my_y.gaps_are_untouched());
          EXPECT_TRUE(my_d_x.gaps_are_untouched());
        }
      }
    }
  }
}

TEST_P(LargeShapes, Elementwise) {
  Random random(43);
  for (const Shape& shape : {Shape{3, 5003, 0}, Shape{3, 5000, 8}, Shape{66'000, 1, 1}}) {
    for (const DType dtype : both) {
      SCOPED_TRACE(std::to_string(shape.rows) + " x " + std::to_string(shape.cols) + ", " +
                   std::string(to_string(dtype)));
      const auto random_rows = [&](std::int64_t rows, std::int64_t cols) {
        return random_matrix(random, rows, cols, dtype, 3, cols + shape.gap);
      };
      const auto result = [&](std::int64_t cols) {
        return HostMatrix(shape.rows, cols, dtype, cols + shape.gap);
      };
      HostMatrix a = random_rows(shape.rows, shape.cols);
      a.set(0, 0, -4);  // the largest, and the first
      const HostMatrix b = random_rows(shape.rows, shape.cols);
      const HostMatrix bias = random_rows(1, shape.cols);
      const HostMatrix gate_up = random_rows(shape.rows, 2 * shape.cols);
      // Every operation on both back ends, one list of results each.
      const auto run = [&](Kernels& by) {
        std::vector<HostMatrix> results;
        results.push_back(result(shape.cols));
        by.add(a, b, results.back());
        by.add_bias(results.back(), bias);
        by.scale(results.back(), 0.5f);
        results.push_back(result(shape.cols));
        by.swiglu_forward(gate_up, results.back());
        results.push_back(result(2 * shape.cols));
        by.swiglu_backward(gate_up, a, results.back());
        results.push_back(result(shape.cols));
        by.gelu_forward(a, results.back());
        results.push_back(result(shape.cols));
        by.gelu_backward(a, b, results.back());
        results.emplace_back(shape.rows, shape.cols,
                             dtype == DType::fp32 ? DType::bf16 : DType::fp32);
        by.copy(a, results.back());
        results.emplace_back(1, shape.cols);
        by.bias_backward(a, results.back());
        results.emplace_back(1, 1, DType::fp64);
        HostMatrix dense(shape.rows, shape.cols, dtype);
        by.copy(a, dense);
        by.sum_of_squares(std::vector<Matrix>{dense}, results.back());
        const CastMemory memory(0x1p-9);
        results.emplace_back(shape.rows, shape.cols, DType::fp8_e4m3, shape.cols + shape.gap);
        by.cast_to_fp8(a, memory.cast(), {.straight = results.back()});
        results.emplace_back(shape.cols, shape.rows, DType::fp8_e4m3, shape.rows + shape.gap);
        by.cast_to_fp8(a, memory.cast(), {.transposed = results.back()});
        HostMatrix straight(shape.rows, shape.cols, DType::fp8_e5m2, shape.cols + shape.gap);
        HostMatrix transposed(shape.cols, shape.rows, DType::fp8_e5m2, shape.rows + shape.gap);
        by.cast_to_fp8(a, memory.cast(), {.straight = straight, .transposed = transposed});
        results.push_back(straight);
        results.push_back(transposed);
        by.fp8_scales(a, DType::fp8_e5m2, memory.scales);
        for (const HostMatrix* seen : {&memory.scales, &memory.maximum, &memory.counts}) {
          results.push_back(*seen);
        }
        return results;
      };
      const std::vector<HostMatrix> expected = run(reference()), actual = run(kernels);
      for (std::size_t i = 0; i < expected.size(); ++i) {
        SCOPED_TRACE(i);
        EXPECT_TRUE(close_to(actual[i], expected[i], tolerance_of(dtype, shape.rows / 64)));
        EXPECT_TRUE(actual[i].gaps_are_untouched());
      }
    }
  }
}

TEST_P(LargeShapes, EmbeddingOfTokensThatOccurOftenAndSeldom) {
  Random random(44);
  constexpr std::int64_t tokens = 300, vocabulary = 70, hidden = 1100;
  HostMatrix indices = random_indices(random, tokens, vocabulary);
  for (std::int64_t token = 0; token < tokens; token += 3) indices.set(token, 0, 20);
  for (const DType dtype : both) {
    const HostMatrix d_out = random_matrix(random, tokens, hidden, dtype);
    const HostMatrix expected = random_matrix(random, 50, hidden);
    const HostMatrix d_table = expected;
    reference().embedding_backward(indices, d_out, 10, expected);
    kernels.embedding_backward(indices, d_out, 10, d_table);
    EXPECT_TRUE(same_values(d_table, expected));  // the order of sums is promised
  }
}

TEST_P(LargeShapes, CrossEntropy) {
  Random random(45);
  constexpr std::int64_t tokens = 5, padding = 5;
  for (const std::int64_t columns : {9001, 9008}) {  // the padding begins within a vector of 9008
    for (const DType dtype : both) {
      SCOPED_TRACE(std::to_string(columns) + " columns, " + std::string(to_string(dtype)));
      const std::int64_t vocabulary = columns - padding;
      HostMatrix logits = random_matrix(random, tokens, columns, dtype, 8);
      for (std::int64_t col = vocabulary; col < columns; ++col) logits.set(0, col, NAN);
      const HostMatrix expected = logits;
      const HostMatrix targets = random_indices(random, tokens, vocabulary);
      const auto run = [&](Kernels& by, const HostMatrix& in_place, const HostMatrix& loss_sum) {
        const HostMatrix statistics(tokens, 3), log_sum_exp(tokens, 1);
        by.cross_entropy_statistics(in_place, targets, 0, vocabulary, statistics);
        by.cross_entropy_combine(statistics, 1, log_sum_exp, loss_sum);
        by.cross_entropy_backward(in_place, targets, 0, vocabulary, log_sum_exp, 3);
      };
      const HostMatrix loss_sum(1, 1, DType::fp64), expected_loss(1, 1, DType::fp64);
      run(reference(), expected, expected_loss);
      run(kernels, logits, loss_sum);
      EXPECT_NEAR(loss_sum.at(0, 0), expected_loss.at(0, 0), 1e-6 * expected_loss.at(0, 0));
      EXPECT_TRUE(close_to(logits, expected, tolerance_of(dtype)));
    }
  }
}

TEST_P(LargeShapes, Optimizers) {
  Random random(46);
  constexpr std::int64_t count = 10'007;
  for (const DType dtype : both) {
    const HostMatrix gradient = random_matrix(random, 1, count);
    const HostMatrix before = random_matrix(random, 1, count);
    const auto run = [&](Kernels& by) {
      std::vector<HostMatrix> states(5, HostMatrix(1, count));
      by.copy(before, states[0]);
      HostMatrix weights(1, count, dtype);
      AdamW adamw;
      adamw.learning_rate = 0.1f;
      adamw.gradient_scale = 0.5f;
      for (int step = 1; step <= 3; ++step) {
        adamw.correction1 = 1 - std::pow(adamw.beta1, static_cast<float>(step));
        adamw.correction2 = 1 - std::pow(adamw.beta2, static_cast<float>(step));
        by.adamw(adamw, std::vector<OptimizerPiece>{
                            {gradient, states[0], states[1], states[2], weights, 0.1f}});
      }
      by.copy(states[0], states[3]);
      const Sgd sgd{.learning_rate = 0.1f, .momentum = 0.9f, .gradient_scale = 2};
      by.sgd(sgd, std::vector<OptimizerPiece>{{gradient, states[3], states[4], {}, {}, 0.1f}});
      states.push_back(weights);
      return states;
    };
    const std::vector<HostMatrix> expected = run(reference()), actual = run(kernels);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      SCOPED_TRACE(i);
      EXPECT_TRUE(close_to(actual[i], expected[i], tolerance_of(actual[i].dtype())));
    }
  }
}

}  // namespace
}  // namespace kumihimo::testing

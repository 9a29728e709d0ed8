#include <cmath>
#include <gtest/gtest.h>

#include "support/backends.hpp"
#include "support/gradients.hpp"
#include "support/kept_for_backward.hpp"
#include "support/matrices.hpp"

namespace kumihimo::testing {
namespace {

class Attention : public KernelsTest {};
INSTANTIATE_TEST_SUITE_P(On, Attention, ::testing::ValuesIn(host_backends()), backend_name);

std::string name_of(AttentionKernel kernel) {
  switch (kernel) {
    case AttentionKernel::unfused: return "unfused";
    case AttentionKernel::fused_softmax: return "fused softmax";
    default: return "flash";
  }
}

TEST_P(Attention, TwoTokensByHand) {
  for (const AttentionKernel kernel : all_attention_kernels) {
    SCOPED_TRACE(name_of(kernel));
    const AttentionShape shape{1, 2, 1, 1, 1, kernel};
    const double ln3 = std::log(3.0);
    const HostMatrix q{{1}, {1}}, k{{0}, {ln3}}, v{{4}, {8}}, out(2, 1);
    const AttentionMemory kept(shape);
    kernels.attention_forward(shape, q, k, v, out, kept.saved());
    // The first query sees the first key only; exp of the second's scores are 1 and 3.
    EXPECT_TRUE(close_to(out, HostMatrix{{4}, {1.0 / 4 * 4 + 3.0 / 4 * 8}}, 1e-6));
    if (is_flash(kernel)) {
      EXPECT_TRUE(close_to(kept.log_sum_exp, HostMatrix{{0}, {std::log(1.0 + 3.0)}}, 1e-6));
    } else {
      EXPECT_TRUE(close_to(kept.probabilities, HostMatrix{{1, 0}, {1.0 / 4, 3.0 / 4}}, 1e-6));
    }

    const HostMatrix d_out{{1}, {2}}, d_q(2, 1), d_k(2, 1), d_v(2, 1);
    kernels.attention_backward(shape, q, k, v, out, kept.saved(), d_out, d_q, d_k, d_v);
    // Second query: d_p = 2 v = (8, 16), their mean under p 1/4 8 + 3/4 16 = 14.
    const double d_score0 = 1.0 / 4 * (8 - 14), d_score1 = 3.0 / 4 * (16 - 14);
    EXPECT_TRUE(close_to(d_q, HostMatrix{{0}, {d_score0 * 0 + d_score1 * ln3}}, 1e-6));
    EXPECT_TRUE(close_to(d_k, HostMatrix{{d_score0 * 1}, {d_score1 * 1}}, 1e-6));
    EXPECT_TRUE(close_to(d_v, HostMatrix{{1 * 1 + 1.0 / 4 * 2}, {3.0 / 4 * 2}}, 1e-6));
  }
}

TEST_P(Attention, ScalesScoresByTheRootOfTheHeadDim) {
  for (const AttentionKernel kernel : all_attention_kernels) {
    SCOPED_TRACE(name_of(kernel));
    const AttentionShape shape{1, 2, 1, 1, 4, kernel};
    const HostMatrix q{{0, 0, 0, 0}, {1, 1, 0, 0}};
    const HostMatrix k{{0, 0, 0, 0}, {std::log(3.0), std::log(3.0), 0, 0}};  // score 2 ln 3 / 2
    const HostMatrix v{{0, 0, 0, 4}, {0, 0, 0, 8}}, out(2, 4);
    const AttentionMemory kept(shape);
    kernels.attention_forward(shape, q, k, v, out, kept.saved());
    EXPECT_NEAR(out.at(1, 3), (1.0 * 4 + 3.0 * 8) / 4, 1e-5);
  }
}

TEST_P(Attention, LargeScoresDoNotOverflow) {
  for (const AttentionKernel kernel : all_attention_kernels) {
    SCOPED_TRACE(name_of(kernel));
    const AttentionShape shape{1, 2, 1, 1, 1, kernel};
    const HostMatrix q{{100}, {100}}, k{{10}, {10}}, v{{4}, {8}}, out(2, 1);  // exp(1000)
    const AttentionMemory kept(shape);
    kernels.attention_forward(shape, q, k, v, out, kept.saved());
    EXPECT_TRUE(close_to(out, HostMatrix{{4}, {(4.0 + 8.0) / 2}}, 1e-6));
  }
}

/// Everything that one call of forward and one of backward reads and writes.
struct Example {
  Example(const AttentionShape& shape_, std::uint64_t seed, DType dtype = DType::fp32)
      : shape(shape_), kept(shape_, dtype) {
    Random random(seed);
    const std::int64_t tokens = shape.sequences * shape.seq_length;
    const std::int64_t width = shape.heads * shape.head_dim;
    const std::int64_t kv_width = shape.kv_heads * shape.head_dim;
    q = random_matrix(random, tokens, width, dtype);
    k = random_matrix(random, tokens, kv_width, dtype);
    v = random_matrix(random, tokens, kv_width, dtype);
    d_out = random_matrix(random, tokens, width, dtype);
    out = d_q = HostMatrix(tokens, width, dtype);
    d_k = d_v = HostMatrix(tokens, kv_width, dtype);
  }
  void forward(Kernels& kernels) const {
    kernels.attention_forward(shape, q, k, v, out, kept.saved());
  }
  void backward(Kernels& kernels) const {
    kernels.attention_backward(shape, q, k, v, out, kept.saved(), d_out, d_q, d_k, d_v);
  }

  AttentionShape shape;
  AttentionMemory kept;
  HostMatrix q, k, v, out, d_out, d_q, d_k, d_v;
};

TEST_P(Attention, GradientsAreThoseOfFiniteDifferences) {
  for (const AttentionKernel kernel : all_attention_kernels) {
    SCOPED_TRACE(name_of(kernel));
    Example example({2, 3, 4, 2, 3, kernel}, 8);  // two query heads for each key/value head
    const auto loss = [&] {
      example.forward(kernels);
      return weighted_sum(example.out, example.d_out);
    };
    loss();
    example.backward(kernels);
    EXPECT_TRUE(close_to(example.d_q, numerical_gradient(example.q, loss), 2e-4));
    EXPECT_TRUE(close_to(example.d_k, numerical_gradient(example.k, loss), 2e-4));
    EXPECT_TRUE(close_to(example.d_v, numerical_gradient(example.v, loss), 2e-4));
  }
}

TEST_P(Attention, AGroupOfHeadsEqualsHeadsWithCopiesOfTheirKeysAndValues) {
  for (const AttentionKernel kernel : all_attention_kernels) {
    SCOPED_TRACE(name_of(kernel));
    const Example grouped({1, 5, 4, 2, 2, kernel}, 9);
    Example copied({1, 5, 4, 4, 2, kernel}, 9);
    copied.q = grouped.q;
    copied.d_out = grouped.d_out;
    for (std::int64_t head = 0; head < 4; ++head) {
      kernels.copy(cols_of(grouped.k, head / 2 * 2, 2), cols_of(copied.k, head * 2, 2));
      kernels.copy(cols_of(grouped.v, head / 2 * 2, 2), cols_of(copied.v, head * 2, 2));
    }
    for (const Example* each : {&grouped, const_cast<const Example*>(&copied)}) {
      each->forward(kernels);
      each->backward(kernels);
    }
    EXPECT_TRUE(close_to(grouped.out, copied.out, 1e-6));
    EXPECT_TRUE(close_to(grouped.d_q, copied.d_q, 1e-5));
    HostMatrix d_k(5, 4), d_v(5, 4);
    for (std::int64_t kv_head = 0; kv_head < 2; ++kv_head) {
      const auto sum_of_copies = [&](const HostMatrix& gradient, const HostMatrix& sum) {
        kernels.add(cols_of(gradient, kv_head * 4, 2), cols_of(gradient, kv_head * 4 + 2, 2),
                    cols_of(sum, kv_head * 2, 2));
      };
      sum_of_copies(copied.d_k, d_k);
      sum_of_copies(copied.d_v, d_v);
    }
    EXPECT_TRUE(close_to(grouped.d_k, d_k, 1e-5));
    EXPECT_TRUE(close_to(grouped.d_v, d_v, 1e-5));
  }
}

TEST_P(Attention, NoTokenSeesLaterTokensOrOtherSequences) {
  for (const AttentionKernel kernel : all_attention_kernels) {
    SCOPED_TRACE(name_of(kernel));
    Example example({2, 4, 2, 1, 3, kernel}, 10);
    example.forward(kernels);
    const HostMatrix before = converted(example.out, DType::fp32);
    constexpr std::int64_t changed = 4 + 1;  // the second token of the second sequence
    for (std::int64_t col = 0; col < 3; ++col) {
      example.k.set(changed, col, 5);
      example.v.set(changed, col, 50);
    }
    example.forward(kernels);
    EXPECT_TRUE(same_values(rows_of(example.out, 0, changed), rows_of(before, 0, changed)));
    for (std::int64_t token = changed; token < 8; ++token) {
      EXPECT_NE(example.out.at(token, 0), before.at(token, 0)) << token;
    }
  }
}

TEST_P(Attention, ReadsAndWritesColumnsOfOneMatrixOfQueriesKeysAndValues) {
  for (const DType dtype : {DType::fp32, DType::bf16}) {
    for (const AttentionKernel kernel : all_attention_kernels) {
      SCOPED_TRACE(name_of(kernel));
      const Example apart({2, 5, 4, 2, 3, kernel}, 11, dtype);
      apart.forward(kernels);
      apart.backward(kernels);

      // 12 columns of queries, 6 of keys, 6 of values, then a gap.
      const HostMatrix qkv(10, 24, dtype, 29), d_qkv(10, 24, dtype, 29);
      const HostMatrix out(10, 12, dtype, 17), d_out(10, 12, dtype, 15);
      kernels.copy(apart.q, cols_of(qkv, 0, 12));
      kernels.copy(apart.k, cols_of(qkv, 12, 6));
      kernels.copy(apart.v, cols_of(qkv, 18, 6));
      kernels.copy(apart.d_out, d_out);
      const AttentionMemory kept(apart.shape, dtype);
      kernels.attention_forward(apart.shape, cols_of(qkv, 0, 12), cols_of(qkv, 12, 6),
                                cols_of(qkv, 18, 6), out, kept.saved());
      kernels.attention_backward(
          apart.shape, cols_of(qkv, 0, 12), cols_of(qkv, 12, 6), cols_of(qkv, 18, 6), out,
          kept.saved(), d_out, cols_of(d_qkv, 0, 12), cols_of(d_qkv, 12, 6), cols_of(d_qkv, 18, 6));
      EXPECT_TRUE(close_to(out, apart.out, 8 * rounding_of(dtype)));
      EXPECT_TRUE(close_to(cols_of(d_qkv, 0, 12), apart.d_q, 8 * rounding_of(dtype)));
      EXPECT_TRUE(close_to(cols_of(d_qkv, 12, 6), apart.d_k, 8 * rounding_of(dtype)));
      EXPECT_TRUE(close_to(cols_of(d_qkv, 18, 6), apart.d_v, 8 * rounding_of(dtype)));
      EXPECT_TRUE(out.gaps_are_untouched());
      EXPECT_TRUE(d_qkv.gaps_are_untouched());
    }
  }
}

/// The most that the kernels' temporaries took in one forward and one backward.
Bytes workspace_of(HostBackend backend, AttentionKernel kernel) {
  Device device(backend);
  const Example example({1, 512, 4, 4, 4, kernel}, 12);
  example.forward(*device.kernels);
  example.backward(*device.kernels);
  return device.memory.peak()[MemoryCategory::workspace];
}

TEST_P(Attention, FlashNeverHoldsTheScoresAndTheUnfusedKernelHoldsThemMoreThanOnce) {
  const Bytes scores = Bytes{4} * 512 * 512 * 4;  // four heads, fp32
  const Bytes flash = workspace_of(GetParam(), AttentionKernel::flash2);
  const Bytes fused_softmax = workspace_of(GetParam(), AttentionKernel::fused_softmax);
  const Bytes unfused = workspace_of(GetParam(), AttentionKernel::unfused);
  EXPECT_LT(flash, scores / 2);
  EXPECT_GE(fused_softmax, scores);
  EXPECT_GE(unfused, fused_softmax + scores);
}

}  // namespace
}  // namespace kumihimo::testing

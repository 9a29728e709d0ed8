#include <limits>

#include "tensor/attention_heads.hpp"
#include "tensor/cpu/cpu_kernels.hpp"
#include "tensor/cpu/elements.hpp"
#include "tensor/cpu/softmax.hpp"

// Attention that holds the scores of all pairs of tokens: what flash attention is measured against.
// fused_softmax masks and normalises in one pass over them; unfused has a pass, and a matrix, for
// the mask and another for the softmax.

namespace kumihimo::cpu {
namespace {

/// body(the rows of one head of one sequence of each matrix) for all of them.
template <class Body, class... Matrices>
void for_heads(const Team& team, const AttentionShape& shape, const Body& body,
               const Matrices&... matrices) {
  team.for_each(shape.sequences * shape.heads, [&](std::int64_t piece, int) {
    body(rows_of(matrices, piece * shape.seq_length, shape.seq_length)...);
  });
}

/// Every key visible to every query: what the mask hides has been hidden by a pass before.
std::int64_t all_visible(const AttentionShape& shape) { return shape.seq_length; }

constexpr std::int64_t causal = 1;  // the first query sees the first key

}  // namespace

void CpuKernels::materialised_forward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                                      const Matrix& v, const Matrix& out,
                                      const Matrix& probabilities) {
  const bool fused = shape.kernel == AttentionKernel::fused_softmax;
  const Workspace::Scope scope(workspace_);
  const auto take_scores = [&] {
    return workspace_.take(probabilities.rows, probabilities.cols, probabilities.dtype);
  };
  const Matrix scores = fused ? probabilities : take_scores();
  const OneThread one_thread;

  team_.for_each(shape.sequences * shape.heads, [&](std::int64_t piece, int thread) {
    const std::int64_t sequence = piece / shape.heads, head = piece % shape.heads;
    products_.of_thread(thread).multiply(head_of(shape, q, sequence, head), Transpose::no,
                                         head_of(shape, k, sequence, head / group_size(shape)),
                                         Transpose::yes, scores_of(shape, scores, sequence, head),
                                         Accumulate::no, scale_of(shape));
  });

  if (fused) {
    for_heads(
        team_, shape, [&](const Matrix& in, const Matrix& to) { softmax(in, causal, to); }, scores,
        probabilities);
  } else {
    const Matrix masked = take_scores();
    constexpr float hidden = -std::numeric_limits<float>::infinity();
    for_heads(
        team_, shape, [&](const Matrix& in, const Matrix& to) { mask(in, causal, hidden, to); },
        scores, masked);
    for_heads(
        team_, shape,
        [&](const Matrix& in, const Matrix& to) { softmax(in, all_visible(shape), to); }, masked,
        probabilities);
  }

  team_.for_each(shape.sequences * shape.heads, [&](std::int64_t piece, int thread) {
    const std::int64_t sequence = piece / shape.heads, head = piece % shape.heads;
    products_.of_thread(thread).multiply(
        scores_of(shape, probabilities, sequence, head), Transpose::no,
        head_of(shape, v, sequence, head / group_size(shape)), Transpose::no,
        head_of(shape, out, sequence, head), Accumulate::no);
  });
}

void CpuKernels::materialised_backward(const AttentionShape& shape, const Matrix& q,
                                       const Matrix& k, const Matrix& v,
                                       const Matrix& probabilities, const Matrix& d_out,
                                       const Matrix& d_q, const Matrix& d_k, const Matrix& d_v) {
  const Workspace::Scope scope(workspace_);
  const auto take_scores = [&] {
    return workspace_.take(probabilities.rows, probabilities.cols, probabilities.dtype);
  };
  const Matrix d_probabilities = take_scores();
  const OneThread one_thread;

  team_.for_each(shape.sequences * shape.heads, [&](std::int64_t piece, int thread) {
    const std::int64_t sequence = piece / shape.heads, head = piece % shape.heads;
    products_.of_thread(thread).multiply(
        head_of(shape, d_out, sequence, head), Transpose::no,
        head_of(shape, v, sequence, head / group_size(shape)), Transpose::yes,
        scores_of(shape, d_probabilities, sequence, head), Accumulate::no);
  });

  Matrix d_scores = d_probabilities;  // in place, when fused
  if (shape.kernel == AttentionKernel::unfused) {
    const Matrix d_masked = take_scores();
    for_heads(team_, shape, softmax_backward, probabilities, d_probabilities, d_masked);
    d_scores = take_scores();
    for_heads(
        team_, shape, [&](const Matrix& in, const Matrix& to) { mask(in, causal, 0, to); },
        d_masked, d_scores);
  } else {
    for_heads(team_, shape, softmax_backward, probabilities, d_probabilities, d_scores);
  }

  // The heads of a group add to one gradient, which is rounded when it is complete.
  const std::int64_t rows = team_.threads() * shape.seq_length;
  const Matrix d_k_sums = workspace_.take(rows, shape.head_dim, DType::fp32);
  const Matrix d_v_sums = workspace_.take(rows, shape.head_dim, DType::fp32);
  team_.for_each(shape.sequences * shape.kv_heads, [&](std::int64_t piece, int thread) {
    const std::int64_t sequence = piece / shape.kv_heads, kv_head = piece % shape.kv_heads;
    SerialProducts& products = products_.of_thread(thread);
    const Matrix d_k_sum = rows_of(d_k_sums, thread * shape.seq_length, shape.seq_length);
    const Matrix d_v_sum = rows_of(d_v_sums, thread * shape.seq_length, shape.seq_length);
    for (std::int64_t member = 0; member < group_size(shape); ++member) {
      const std::int64_t head = kv_head * group_size(shape) + member;
      const Accumulate accumulate = member == 0 ? Accumulate::no : Accumulate::yes;
      const Matrix d_scores_head = scores_of(shape, d_scores, sequence, head);
      products.multiply(d_scores_head, Transpose::no, head_of(shape, k, sequence, kv_head),
                        Transpose::no, head_of(shape, d_q, sequence, head), Accumulate::no,
                        scale_of(shape));
      products.multiply(d_scores_head, Transpose::yes, head_of(shape, q, sequence, head),
                        Transpose::no, d_k_sum, accumulate, scale_of(shape));
      products.multiply(scores_of(shape, probabilities, sequence, head), Transpose::yes,
                        head_of(shape, d_out, sequence, head), Transpose::no, d_v_sum, accumulate);
    }
    const Team alone(1);
    cpu::copy(alone, d_k_sum, head_of(shape, d_k, sequence, kv_head));
    cpu::copy(alone, d_v_sum, head_of(shape, d_v, sequence, kv_head));
  });
}

}  // namespace kumihimo::cpu

#pragma once

#include <cstdint>

#include "tensor/matrix.hpp"

namespace kumihimo::cpu {

// The element-wise parts of attention, on rows of scores: vector code for the calling thread. Of
// row r the first `first_visible + r` keys, at most all, are visible to its query (causal mask).

/// What a flash kernel knows of its rows after some tiles of keys.
struct RunningSoftmax {
  float* maximum;  ///< of scaled scores
  float* sum;      ///< of exp(scaled score - maximum)
};

/// One step of online softmax over a tile of scores (fp32): updates the running statistics,
/// multiplies the rows of `out` (fp32) by what the new maximum makes of the old sums, and writes
/// exp(scale score - maximum), or 0 where not visible, to `exponentials`, which is scores itself or
/// bf16. `is_first`: there were no tiles before, and out is left alone.
void online_softmax(const Matrix& scores, float scale, std::int64_t first_visible, bool is_first,
                    const RunningSoftmax& running, const Matrix& out, const Matrix& exponentials);

/// out = sums / running sum, row by row; log_sum_exp [rows, 1], fp32. out may be sums.
void finish_softmax(const Matrix& sums, const RunningSoftmax& running, const Matrix& out,
                    const Matrix& log_sum_exp);

/// Of a tile of scores and one of gradients of probabilities (both fp32), for backward:
/// probabilities = exp(scale score - log_sum_exp); d_scores = scale probability (d_probability -
/// mean); 0 where not visible. The results are the inputs themselves or bf16. log_sum_exp:
/// [rows, 1]. means: one number a row.
void softmax_from_log_sum(const Matrix& scores, float scale, std::int64_t first_visible,
                          const Matrix& log_sum_exp, const float* means,
                          const Matrix& d_probabilities, const Matrix& probabilities,
                          const Matrix& d_scores);

/// dots[r] = the dot product of row r of a and of b.
void row_dots(const Matrix& a, const Matrix& b, float* dots);

/// Rows of probabilities from rows of scores, which may lie in the same place.
void softmax(const Matrix& scores, std::int64_t first_visible, const Matrix& probabilities);

/// d_scores = p (d_p - sum of p d_p), which may lie in the place of d_p.
void softmax_backward(const Matrix& probabilities, const Matrix& d_probabilities,
                      const Matrix& d_scores);

/// out = in where visible, `hidden` elsewhere.
void mask(const Matrix& in, std::int64_t first_visible, float hidden, const Matrix& out);

}  // namespace kumihimo::cpu

#include <algorithm>
#include <cmath>

#include "base/check.hpp"
#include "tensor/cpu/cpu_kernels.hpp"
#include "tensor/cpu/elements.hpp"

namespace kumihimo::cpu {
namespace {

void check_shapes(const AttentionShape& shape, const Matrix& like_q, const Matrix& like_k,
                  const Matrix& like_v, const AttentionSaved& saved) {
  const std::int64_t tokens = shape.sequences * shape.seq_length;
  const std::int64_t kv_width = shape.kv_heads * shape.head_dim;
  KUMIHIMO_CHECK(like_q.dtype == DType::fp32 || like_q.dtype == DType::bf16);
  KUMIHIMO_CHECK(like_k.dtype == like_q.dtype && like_v.dtype == like_q.dtype);
  KUMIHIMO_CHECK(shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0);
  KUMIHIMO_CHECK(has_shape(like_q, tokens, shape.heads * shape.head_dim));
  KUMIHIMO_CHECK(has_shape(like_k, tokens, kv_width) && has_shape(like_v, tokens, kv_width));
  if (is_flash(shape.kernel)) {
    KUMIHIMO_CHECK(has_shape(saved.log_sum_exp, tokens, shape.heads));
    KUMIHIMO_CHECK(saved.log_sum_exp.dtype == DType::fp32);
  } else {
    KUMIHIMO_CHECK(has_shape(saved.probabilities, tokens * shape.heads, shape.seq_length));
    KUMIHIMO_CHECK(saved.probabilities.dtype == like_q.dtype);
  }
}

}  // namespace

void CpuKernels::attention_forward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                                   const Matrix& v, const Matrix& out,
                                   const AttentionSaved& saved) {
  KUMIHIMO_CHECK(same_shape(q, out) && out.dtype == q.dtype);
  check_shapes(shape, q, k, v, saved);
  if (is_flash(shape.kernel)) {
    flash_forward(shape, q, k, v, out, saved.log_sum_exp);
  } else {
    materialised_forward(shape, q, k, v, out, saved.probabilities);
  }
}

void CpuKernels::attention_backward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                                    const Matrix& v, const Matrix& out, const AttentionSaved& saved,
                                    const Matrix& d_out, const Matrix& d_q, const Matrix& d_k,
                                    const Matrix& d_v) {
  KUMIHIMO_CHECK(same_shape(q, d_out) && same_shape(q, out));
  KUMIHIMO_CHECK(d_out.dtype == q.dtype && out.dtype == q.dtype && d_q.dtype == q.dtype);
  check_shapes(shape, q, k, v, saved);
  check_shapes(shape, d_q, d_k, d_v, saved);
  if (is_flash(shape.kernel)) {
    flash_backward(shape, q, k, v, out, saved.log_sum_exp, d_out, d_q, d_k, d_v);
  } else {
    materialised_backward(shape, q, k, v, saved.probabilities, d_out, d_q, d_k, d_v);
  }
}

}  // namespace kumihimo::cpu

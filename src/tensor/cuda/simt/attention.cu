#include "base/check.hpp"
#include "tensor/attention_heads.hpp"
#include "tensor/cuda/simt_kernels.hpp"

namespace KUMIHIMO_CUDA_NAMESPACE {

void SimtKernels::attention_forward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                                    const Matrix& v, const Matrix& out,
                                    const AttentionSaved& saved) {
  KUMIHIMO_CHECK(same_shape(q, out) && out.dtype == q.dtype);
  check_attention(shape, q, k, v, saved);
  if (q.elements() == 0) return;
  if (is_flash(shape.kernel)) {
    flash_forward(shape, q, k, v, out, saved.log_sum_exp);
  } else {
    materialised_forward(shape, q, k, v, out, saved.probabilities);
  }
}

void SimtKernels::attention_backward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                                     const Matrix& v, const Matrix& out,
                                     const AttentionSaved& saved, const Matrix& d_out,
                                     const Matrix& d_q, const Matrix& d_k, const Matrix& d_v) {
  KUMIHIMO_CHECK(same_shape(q, d_out) && same_shape(q, out));
  KUMIHIMO_CHECK(d_out.dtype == q.dtype && out.dtype == q.dtype && d_q.dtype == q.dtype);
  check_attention(shape, q, k, v, saved);
  check_attention(shape, d_q, d_k, d_v, saved);
  if (q.elements() == 0) return;
  if (is_flash(shape.kernel)) {
    flash_backward(shape, q, k, v, out, saved.log_sum_exp, d_out, d_q, d_k, d_v);
  } else {
    materialised_backward(shape, q, k, v, saved.probabilities, d_out, d_q, d_k, d_v);
  }
}

}  // namespace KUMIHIMO_CUDA_NAMESPACE

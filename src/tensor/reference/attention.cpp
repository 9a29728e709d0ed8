#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.hpp"
#include "tensor/attention_heads.hpp"
#include "tensor/reference/element.hpp"
#include "tensor/reference/reference_kernels.hpp"

// For a query i and the keys j <= i that it may see (scale = 1/sqrt(head_dim)):
//   score_ij = scale q_i.k_j     p_ij = exp(score_ij) / sum_j exp(score_ij)     out_i = sum_j p_ij
//   v_j
// and backward, with d_p_ij = d_out_i.v_j:
//   d_score_ij = p_ij (d_p_ij - sum_j p_ij d_p_ij)           d_v_j = sum_i p_ij d_out_i
//   d_q_i = scale sum_j d_score_ij k_j                        d_k_j = scale sum_i d_score_ij q_i
// where the sums over i run over the queries of all heads that share the key/value head.
//
// unfused and fused_softmax hold p for all pairs. flash (Dao et al. 2022, arXiv:2205.14135) holds a
// row, keeps log sum_j exp(score_ij), and computes p again from it in backward, where
//   sum_j p_ij d_p_ij = d_out_i.out_i.

namespace kumihimo::reference {
namespace {

double dot(const Matrix& a, std::int64_t a_row, const Matrix& b, std::int64_t b_row) {
  double sum = 0;
  for (std::int64_t i = 0; i < a.cols; ++i) sum += read(a, a_row, i) * read(b, b_row, i);
  return sum;
}

struct Softmax {
  double maximum;
  double sum;  ///< of exp(score - maximum)
};

Softmax softmax_of(const Matrix& scores, std::int64_t row, std::int64_t cols) {
  double maximum = -std::numeric_limits<double>::infinity();
  for (std::int64_t j = 0; j < cols; ++j) maximum = std::max(maximum, read(scores, row, j));
  double sum = 0;
  for (std::int64_t j = 0; j < cols; ++j) sum += std::exp(read(scores, row, j) - maximum);
  return {maximum, sum};
}

/// The first `cols` probabilities of a row, from its scores, which may lie in the same place.
void write_softmax(const Matrix& scores, const Matrix& probabilities, std::int64_t row,
                   std::int64_t cols) {
  const Softmax softmax = softmax_of(scores, row, cols);
  for (std::int64_t j = 0; j < cols; ++j) {
    write(probabilities, row, j, std::exp(read(scores, row, j) - softmax.maximum) / softmax.sum);
  }
}

/// out = in for keys that the query of the row may see, `hidden` for the others.
void apply_mask(const AttentionShape& shape, const Matrix& in, double hidden, const Matrix& out) {
  for (std::int64_t row = 0; row < in.rows; ++row) {
    const std::int64_t query = row % shape.seq_length;
    for (std::int64_t key = 0; key < shape.seq_length; ++key) {
      write(out, row, key, key <= query ? read(in, row, key) : hidden);
    }
  }
}

/// d_scores, which may be d_probabilities itself, from the gradient of softmax.
void softmax_backward(const Matrix& probabilities, const Matrix& d_probabilities,
                      const Matrix& d_scores) {
  for (std::int64_t row = 0; row < probabilities.rows; ++row) {
    const double mean = dot(probabilities, row, d_probabilities, row);
    for (std::int64_t j = 0; j < probabilities.cols; ++j) {
      const double p = read(probabilities, row, j);
      write(d_scores, row, j, p * (read(d_probabilities, row, j) - mean));
    }
  }
}

}  // namespace

void ReferenceKernels::attention_forward(const AttentionShape& shape, const Matrix& q,
                                         const Matrix& k, const Matrix& v, const Matrix& out,
                                         const AttentionSaved& saved) {
  KUMIHIMO_CHECK(same_shape(q, out));
  check_attention(shape, q, k, v, saved);
  if (is_flash(shape.kernel)) {
    flash_forward(shape, q, k, v, out, saved.log_sum_exp);
  } else {
    materialised_forward(shape, q, k, v, out, saved.probabilities);
  }
}

void ReferenceKernels::attention_backward(const AttentionShape& shape, const Matrix& q,
                                          const Matrix& k, const Matrix& v, const Matrix& out,
                                          const AttentionSaved& saved, const Matrix& d_out,
                                          const Matrix& d_q, const Matrix& d_k, const Matrix& d_v) {
  KUMIHIMO_CHECK(same_shape(q, d_out) && same_shape(q, out));
  check_attention(shape, q, k, v, saved);
  check_attention(shape, d_q, d_k, d_v, saved);
  if (is_flash(shape.kernel)) {
    flash_backward(shape, q, k, v, out, saved.log_sum_exp, d_out, d_q, d_k, d_v);
  } else {
    materialised_backward(shape, q, k, v, saved.probabilities, d_out, d_q, d_k, d_v);
  }
}

void ReferenceKernels::materialised_forward(const AttentionShape& shape, const Matrix& q,
                                            const Matrix& k, const Matrix& v, const Matrix& out,
                                            const Matrix& probabilities) {
  const bool fused = shape.kernel == AttentionKernel::fused_softmax;
  const Workspace::Scope scope(workspace_);
  const Matrix scores =
      fused ? probabilities
            : workspace_.take(probabilities.rows, probabilities.cols, probabilities.dtype);

  for (std::int64_t sequence = 0; sequence < shape.sequences; ++sequence) {
    for (std::int64_t head = 0; head < shape.heads; ++head) {
      matmul(head_of(shape, q, sequence, head), Transpose::no,
             head_of(shape, k, sequence, head / group_size(shape)), Transpose::yes,
             scores_of(shape, scores, sequence, head), Accumulate::no, {scale_of(shape)});
    }
  }

  if (fused) {
    for (std::int64_t row = 0; row < scores.rows; ++row) {
      const std::int64_t seen = row % shape.seq_length + 1;
      write_softmax(scores, probabilities, row, seen);
      for (std::int64_t key = seen; key < shape.seq_length; ++key) {
        write(probabilities, row, key, 0);
      }
    }
  } else {
    const Matrix masked = workspace_.take(scores.rows, scores.cols, scores.dtype);
    apply_mask(shape, scores, -std::numeric_limits<double>::infinity(), masked);
    for (std::int64_t row = 0; row < masked.rows; ++row) {
      write_softmax(masked, probabilities, row, shape.seq_length);
    }
  }

  for (std::int64_t sequence = 0; sequence < shape.sequences; ++sequence) {
    for (std::int64_t head = 0; head < shape.heads; ++head) {
      matmul(scores_of(shape, probabilities, sequence, head), Transpose::no,
             head_of(shape, v, sequence, head / group_size(shape)), Transpose::no,
             head_of(shape, out, sequence, head), Accumulate::no, {});
    }
  }
}

void ReferenceKernels::materialised_backward(const AttentionShape& shape, const Matrix& q,
                                             const Matrix& k, const Matrix& v,
                                             const Matrix& probabilities, const Matrix& d_out,
                                             const Matrix& d_q, const Matrix& d_k,
                                             const Matrix& d_v) {
  const Workspace::Scope scope(workspace_);
  const auto take_scores = [&] {
    return workspace_.take(probabilities.rows, probabilities.cols, probabilities.dtype);
  };
  const Matrix d_probabilities = take_scores();
  for (std::int64_t sequence = 0; sequence < shape.sequences; ++sequence) {
    for (std::int64_t head = 0; head < shape.heads; ++head) {
      matmul(head_of(shape, d_out, sequence, head), Transpose::no,
             head_of(shape, v, sequence, head / group_size(shape)), Transpose::yes,
             scores_of(shape, d_probabilities, sequence, head), Accumulate::no, {});
    }
  }

  Matrix d_scores = d_probabilities;  // in place, when fused
  if (shape.kernel == AttentionKernel::unfused) {
    const Matrix d_masked = take_scores();
    softmax_backward(probabilities, d_probabilities, d_masked);
    d_scores = take_scores();
    apply_mask(shape, d_masked, 0, d_scores);
  } else {
    softmax_backward(probabilities, d_probabilities, d_scores);
  }

  // The heads of a group add to one gradient, which is rounded when it is complete.
  const Matrix d_k_sum = workspace_.take(shape.seq_length, shape.head_dim, DType::fp32);
  const Matrix d_v_sum = workspace_.take(shape.seq_length, shape.head_dim, DType::fp32);
  for (std::int64_t sequence = 0; sequence < shape.sequences; ++sequence) {
    for (std::int64_t kv_head = 0; kv_head < shape.kv_heads; ++kv_head) {
      fill(d_k_sum, 0);
      fill(d_v_sum, 0);
      for (std::int64_t member = 0; member < group_size(shape); ++member) {
        const std::int64_t head = kv_head * group_size(shape) + member;
        const Matrix d_scores_head = scores_of(shape, d_scores, sequence, head);
        matmul(d_scores_head, Transpose::no, head_of(shape, k, sequence, kv_head), Transpose::no,
               head_of(shape, d_q, sequence, head), Accumulate::no, {scale_of(shape)});
        matmul(d_scores_head, Transpose::yes, head_of(shape, q, sequence, head), Transpose::no,
               d_k_sum, Accumulate::yes, {scale_of(shape)});
        matmul(scores_of(shape, probabilities, sequence, head), Transpose::yes,
               head_of(shape, d_out, sequence, head), Transpose::no, d_v_sum, Accumulate::yes, {});
      }
      copy(d_k_sum, head_of(shape, d_k, sequence, kv_head));
      copy(d_v_sum, head_of(shape, d_v, sequence, kv_head));
    }
  }
}

void ReferenceKernels::flash_forward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                                     const Matrix& v, const Matrix& out,
                                     const Matrix& log_sum_exp) {
  const Workspace::Scope scope(workspace_);
  const Matrix scores = workspace_.take(1, shape.seq_length, DType::fp64);  // of one query

  for (std::int64_t sequence = 0; sequence < shape.sequences; ++sequence) {
    for (std::int64_t head = 0; head < shape.heads; ++head) {
      const std::int64_t kv_head = head / group_size(shape);
      const Matrix q_head = head_of(shape, q, sequence, head);
      const Matrix k_head = head_of(shape, k, sequence, kv_head);
      const Matrix v_head = head_of(shape, v, sequence, kv_head);
      const Matrix out_head = head_of(shape, out, sequence, head);
      for (std::int64_t query = 0; query < shape.seq_length; ++query) {
        for (std::int64_t key = 0; key <= query; ++key) {
          write(scores, 0, key, scale_of(shape) * dot(q_head, query, k_head, key));
        }
        const Softmax softmax = softmax_of(scores, 0, query + 1);
        write(log_sum_exp, sequence * shape.seq_length + query, head,
              softmax.maximum + std::log(softmax.sum));
        write_softmax(scores, scores, 0, query + 1);
        for (std::int64_t col = 0; col < shape.head_dim; ++col) {
          double sum = 0;
          for (std::int64_t key = 0; key <= query; ++key) {
            sum += read(scores, 0, key) * read(v_head, key, col);
          }
          write(out_head, query, col, sum);
        }
      }
    }
  }
}

void ReferenceKernels::flash_backward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                                      const Matrix& v, const Matrix& out, const Matrix& log_sum_exp,
                                      const Matrix& d_out, const Matrix& d_q, const Matrix& d_k,
                                      const Matrix& d_v) {
  const double scale = scale_of(shape);
  const Workspace::Scope scope(workspace_);
  const Matrix d_scores = workspace_.take(1, shape.seq_length, DType::fp64);  // of one query
  const Matrix d_k_sum = workspace_.take(shape.seq_length, shape.head_dim, DType::fp64);
  const Matrix d_v_sum = workspace_.take(shape.seq_length, shape.head_dim, DType::fp64);

  for (std::int64_t sequence = 0; sequence < shape.sequences; ++sequence) {
    for (std::int64_t kv_head = 0; kv_head < shape.kv_heads; ++kv_head) {
      const Matrix k_head = head_of(shape, k, sequence, kv_head);
      const Matrix v_head = head_of(shape, v, sequence, kv_head);
      fill(d_k_sum, 0);
      fill(d_v_sum, 0);
      for (std::int64_t member = 0; member < group_size(shape); ++member) {
        const std::int64_t head = kv_head * group_size(shape) + member;
        const Matrix q_head = head_of(shape, q, sequence, head);
        const Matrix d_q_head = head_of(shape, d_q, sequence, head);
        const Matrix out_head = head_of(shape, out, sequence, head);
        const Matrix d_out_head = head_of(shape, d_out, sequence, head);
        for (std::int64_t query = 0; query < shape.seq_length; ++query) {
          const double log_sum = read(log_sum_exp, sequence * shape.seq_length + query, head);
          const double mean = dot(d_out_head, query, out_head, query);
          for (std::int64_t key = 0; key <= query; ++key) {
            const double p = std::exp(scale * dot(q_head, query, k_head, key) - log_sum);
            const double d_score = p * (dot(d_out_head, query, v_head, key) - mean);
            write(d_scores, 0, key, d_score);
            for (std::int64_t col = 0; col < shape.head_dim; ++col) {
              add_to(d_v_sum, key, col, p * read(d_out_head, query, col));
              add_to(d_k_sum, key, col, scale * d_score * read(q_head, query, col));
            }
          }
          for (std::int64_t col = 0; col < shape.head_dim; ++col) {
            double sum = 0;
            for (std::int64_t key = 0; key <= query; ++key) {
              sum += read(d_scores, 0, key) * read(k_head, key, col);
            }
            write(d_q_head, query, col, scale * sum);
          }
        }
      }
      const Matrix d_k_head = head_of(shape, d_k, sequence, kv_head);
      const Matrix d_v_head = head_of(shape, d_v, sequence, kv_head);
      for (std::int64_t key = 0; key < shape.seq_length; ++key) {
        for (std::int64_t col = 0; col < shape.head_dim; ++col) {
          write(d_k_head, key, col, read(d_k_sum, key, col));
          write(d_v_head, key, col, read(d_v_sum, key, col));
        }
      }
    }
  }
}

}  // namespace kumihimo::reference

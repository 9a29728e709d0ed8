#include "tensor/attention_heads.hpp"
#include "tensor/cuda/simt/over_elements.hpp"
#include "tensor/cuda/simt/reductions.hpp"
#include "tensor/cuda/simt_kernels.hpp"

// Attention that holds the scores of all pairs of tokens: what flash attention is measured against.
// fused_softmax masks and normalises in one pass over them; unfused has a pass, and a matrix, for
// the mask and another for the softmax.

namespace KUMIHIMO_CUDA_NAMESPACE {
namespace {

constexpr unsigned row_threads = 512;
constexpr int kept_vectors = 4;

unsigned threads_of_row(std::int64_t cols, int width) {
  return threads_for(pieces_of(cols, std::int64_t{kept_vectors} * width), row_threads);
}

/// probabilities = softmax(scores), which may lie in the same place, and 0 where a causal query
/// (row mod seq_length) does not see the key. Grid: rows.
template <int width, class T>
__global__ void __launch_bounds__(row_threads)
    softmax_kernel(std::int64_t seq_length, bool causal, Rows<const T> scores,
                   Rows<T> probabilities) {
  SharedMemory shared;
  const auto scratch = shared.take<float>(scratch_for(1));
  const std::int64_t row = blockIdx.x;
  const std::int64_t visible = causal ? row % seq_length + 1 : seq_length;
  // exp(-inf) is 0: what is not seen needs no case of its own below.
  const auto load_scores = [&](std::int64_t col) {
    Floats<width> values = load<width>(scores.at(row, col), visible - col);
#pragma unroll
    for (int i = 0; i < width; ++i) {
      if (col + i >= visible) values.values[i] = minus_infinity;
    }
    return values;
  };
  OwnVectors<Floats<width>, width, kept_vectors> own;
  float maximum = minus_infinity;
  own.load_and_visit(seq_length, load_scores, [&](int, std::int64_t, const Floats<width>& values) {
#pragma unroll
    for (int i = 0; i < width; ++i) maximum = Larger()(maximum, values.values[i]);
  });
  maximum = block_maximum(maximum, scratch);
  float sum = 0;
  own.visit(seq_length, load_scores, [&](int, std::int64_t, const Floats<width>& values) {
#pragma unroll
    for (int i = 0; i < width; ++i) sum += expf(values.values[i] - maximum);
  });
  const float share = 1 / block_sum(sum, scratch);
  own.visit(seq_length, load_scores, [&](int, std::int64_t col, const Floats<width>& values) {
    Floats<width> result;
#pragma unroll
    for (int i = 0; i < width; ++i) result.values[i] = expf(values.values[i] - maximum) * share;
    store(probabilities.at(row, col), result, seq_length - col);
  });
}

/// d_scores = p (d_p - sum of p d_p), which may lie in the place of d_p. Grid: rows.
template <int width, class T>
__global__ void __launch_bounds__(row_threads)
    softmax_backward_kernel(std::int64_t seq_length, Rows<const T> probabilities,
                            Rows<const T> d_probabilities, Rows<T> d_scores) {
  SharedMemory shared;
  const auto scratch = shared.take<float>(scratch_for(1));
  const std::int64_t row = blockIdx.x;
  struct Pair {
    Vector<T, width> p, d_p;
  };
  const auto load_row = [&](std::int64_t col) {
    const std::int64_t count = seq_length - col;
    return Pair{load_elements<width>(probabilities.at(row, col), count),
                load_elements<width>(d_probabilities.at(row, col), count)};
  };
  OwnVectors<Pair, width, kept_vectors> own;
  float sum = 0;
  own.load_and_visit(seq_length, load_row, [&](int, std::int64_t, const Pair& pair) {
    const Floats<width> p = widened(pair.p), d_p = widened(pair.d_p);
#pragma unroll
    for (int i = 0; i < width; ++i) sum += p.values[i] * d_p.values[i];
  });
  const float mean = block_sum(sum, scratch);
  own.visit(seq_length, load_row, [&](int, std::int64_t col, const Pair& pair) {
    const Floats<width> p = widened(pair.p);
    Floats<width> d = widened(pair.d_p);
#pragma unroll
    for (int i = 0; i < width; ++i) d.values[i] = p.values[i] * (d.values[i] - mean);
    store(d_scores.at(row, col), d, seq_length - col);
  });
}

/// out = in where the query sees the key, `hidden` elsewhere.
template <class T>
struct Mask {
  Rows<const T> in;
  int seq_length;
  float hidden;
  Rows<T> out;

  template <int width>
  __device__ void run(std::int64_t row, std::int64_t col, std::int64_t count) const {
    const int query = static_cast<int>(row) % seq_length;
    Floats<width> values = load<width>(in.at(row, col), count);
#pragma unroll
    for (int i = 0; i < width; ++i) {
      if (col + i > query) values.values[i] = hidden;
    }
    store(out.at(row, col), values, count);
  }
};

void mask(Stream stream, const Matrix& in, std::int64_t seq_length, float hidden,
          const Matrix& out) {
  KUMIHIMO_CHECK(in.rows <= 0x7fff'ffff);
  with_type(in.dtype, [&](auto zero) {
    using T = decltype(zero);
    with_width<wide<T>>(
        [&](auto width) {
          over_elements<decltype(width)::value>(
              stream, in.rows, in.cols,
              Mask<T>{rows<const T>(in), static_cast<int>(seq_length), hidden, rows<T>(out)});
        },
        in, out);
  });
}

void softmax(Stream stream, const Matrix& scores, bool causal, const Matrix& probabilities) {
  with_type(scores.dtype, [&](auto zero) {
    using T = decltype(zero);
    with_width<wide<T>>(
        [&](auto chosen) {
          constexpr int width = decltype(chosen)::value;
          launch(softmax_kernel<width, T>,
                 {{blocks(scores.rows)},
                  threads_of_row(scores.cols, width),
                  scratch_for(1) * sizeof(float)},
                 stream, scores.cols, causal, rows<const T>(scores), rows<T>(probabilities));
        },
        scores, probabilities);
  });
}

void softmax_backward(Stream stream, const Matrix& probabilities, const Matrix& d_probabilities,
                      const Matrix& d_scores) {
  with_type(probabilities.dtype, [&](auto zero) {
    using T = decltype(zero);
    with_width<wide<T>>(
        [&](auto chosen) {
          constexpr int width = decltype(chosen)::value;
          launch(softmax_backward_kernel<width, T>,
                 {{blocks(probabilities.rows)},
                  threads_of_row(probabilities.cols, width),
                  scratch_for(1) * sizeof(float)},
                 stream, probabilities.cols, rows<const T>(probabilities),
                 rows<const T>(d_probabilities), rows<T>(d_scores));
        },
        probabilities, d_probabilities, d_scores);
  });
}

// Products of all groups at once: of query head number `member` of each group of one sequence,
// beside the key and value head that the group shares.

MatrixBatch queries_of(const AttentionShape& shape, const Matrix& like_q, std::int64_t sequence,
                       std::int64_t member) {
  return {head_of(shape, like_q, sequence, member), group_size(shape) * shape.head_dim};
}

MatrixBatch keys_of(const AttentionShape& shape, const Matrix& like_k, std::int64_t sequence) {
  return {head_of(shape, like_k, sequence, 0), shape.head_dim};
}

MatrixBatch score_batch(const AttentionShape& shape, const Matrix& scores, std::int64_t sequence,
                        std::int64_t member) {
  return {scores_of(shape, scores, sequence, member),
          group_size(shape) * shape.seq_length * scores.stride};
}

/// body(sequence, member) for all of them.
template <class Body>
void for_members(const AttentionShape& shape, const Body& body) {
  for (std::int64_t sequence = 0; sequence < shape.sequences; ++sequence) {
    for (std::int64_t member = 0; member < group_size(shape); ++member) body(sequence, member);
  }
}

}  // namespace

void SimtKernels::materialised_forward(const AttentionShape& shape, const Matrix& q,
                                       const Matrix& k, const Matrix& v, const Matrix& out,
                                       const Matrix& probabilities) {
  const bool fused = shape.kernel == AttentionKernel::fused_softmax;
  const Workspace::Scope scope(workspace_);
  const auto take_scores = [&] {
    return workspace_.take(probabilities.rows, probabilities.cols, probabilities.dtype);
  };
  const Matrix scores = fused ? probabilities : take_scores();
  for_members(shape, [&](std::int64_t sequence, std::int64_t member) {
    batched_matmul(shape.kv_heads, queries_of(shape, q, sequence, member), Transpose::no,
                   keys_of(shape, k, sequence), Transpose::yes,
                   score_batch(shape, scores, sequence, member), Accumulate::no, scale_of(shape));
  });
  if (fused) {
    softmax(stream_, scores, true, probabilities);
  } else {
    const Matrix masked = take_scores();
    mask(stream_, scores, shape.seq_length, minus_infinity, masked);
    softmax(stream_, masked, false, probabilities);
  }
  for_members(shape, [&](std::int64_t sequence, std::int64_t member) {
    batched_matmul(shape.kv_heads, score_batch(shape, probabilities, sequence, member),
                   Transpose::no, keys_of(shape, v, sequence), Transpose::no,
                   queries_of(shape, out, sequence, member), Accumulate::no, 1);
  });
}

void SimtKernels::materialised_backward(const AttentionShape& shape, const Matrix& q,
                                        const Matrix& k, const Matrix& v,
                                        const Matrix& probabilities, const Matrix& d_out,
                                        const Matrix& d_q, const Matrix& d_k, const Matrix& d_v) {
  const Workspace::Scope scope(workspace_);
  const auto take_scores = [&] {
    return workspace_.take(probabilities.rows, probabilities.cols, probabilities.dtype);
  };
  const Matrix d_probabilities = take_scores();
  for_members(shape, [&](std::int64_t sequence, std::int64_t member) {
    batched_matmul(shape.kv_heads, queries_of(shape, d_out, sequence, member), Transpose::no,
                   keys_of(shape, v, sequence), Transpose::yes,
                   score_batch(shape, d_probabilities, sequence, member), Accumulate::no, 1);
  });

  Matrix d_scores = d_probabilities;  // in place, when fused
  if (shape.kernel == AttentionKernel::unfused) {
    const Matrix d_masked = take_scores();
    softmax_backward(stream_, probabilities, d_probabilities, d_masked);
    d_scores = take_scores();
    mask(stream_, d_masked, shape.seq_length, 0, d_scores);
  } else {
    softmax_backward(stream_, probabilities, d_probabilities, d_scores);
  }

  // The heads of a group add to one gradient, which is rounded when it is complete.
  const Matrix d_k_sum = workspace_.take(k.rows, k.cols, DType::fp32);
  const Matrix d_v_sum = workspace_.take(v.rows, v.cols, DType::fp32);
  for_members(shape, [&](std::int64_t sequence, std::int64_t member) {
    const Accumulate accumulate = member == 0 ? Accumulate::no : Accumulate::yes;
    const MatrixBatch d = score_batch(shape, d_scores, sequence, member);
    batched_matmul(shape.kv_heads, d, Transpose::no, keys_of(shape, k, sequence), Transpose::no,
                   queries_of(shape, d_q, sequence, member), Accumulate::no, scale_of(shape));
    batched_matmul(shape.kv_heads, d, Transpose::yes, queries_of(shape, q, sequence, member),
                   Transpose::no, keys_of(shape, d_k_sum, sequence), accumulate, scale_of(shape));
    batched_matmul(shape.kv_heads, score_batch(shape, probabilities, sequence, member),
                   Transpose::yes, queries_of(shape, d_out, sequence, member), Transpose::no,
                   keys_of(shape, d_v_sum, sequence), accumulate, 1);
  });
  copy(d_k_sum, d_k);
  copy(d_v_sum, d_v);
}

}  // namespace KUMIHIMO_CUDA_NAMESPACE

#include "base/check.hpp"
#include "tensor/cuda/simt/over_elements.hpp"
#include "tensor/cuda/simt/reductions.hpp"
#include "tensor/cuda/simt_kernels.hpp"

namespace KUMIHIMO_CUDA_NAMESPACE {
namespace {

template <class T>
struct LookUp {
  Rows<const std::int32_t> tokens;
  Rows<const T> table;
  std::int64_t first_row, row_count;  ///< of the table
  Rows<T> out;

  template <int width>
  __device__ void run(std::int64_t token, std::int64_t col, std::int64_t count) const {
    const std::int64_t row = *tokens.at(token, 0) - first_row;
    Vector<T, width> vector = {};
    if (0 <= row && row < row_count) vector = load_elements<width>(table.at(row, col), count);
    store_elements(out.at(token, col), vector, count);
  }
};

// The gradient of a row of the table is the sum over the tokens that looked it up, in their order.
// First every token finds the one before it of the same row, which makes a list of each row's
// tokens; then the first of each list adds up the list. No sorting and no atomics; searching reads
// tokens^2 / 2 indices at most, from caches: 2 GiB for 32,768 tokens.

constexpr unsigned tokens_per_block = 8;
constexpr std::int32_t none = -1;

/// A warp for each token. previous[t]: the last token before t of the same row, or none; next is
/// its inverse, where there is one.
__global__ void __launch_bounds__(32 * tokens_per_block)
    link_tokens_kernel(std::int64_t count, Rows<const std::int32_t> tokens, std::int64_t first_row,
                       std::int64_t row_count, std::int32_t* previous, std::int32_t* next) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t token = std::int64_t{blockIdx.x} * tokens_per_block + threadIdx.x / 32;
  if (token >= count) return;  // with its warp
  const std::int32_t index = *tokens.at(token, 0);
  std::int32_t found = none;
  if (first_row <= index && index < first_row + row_count) {
    for (std::int64_t last = token - 1; last >= 0 && found == none; last -= 32) {
      const std::int64_t other = last - lane;
      const bool same = other >= 0 && *tokens.at(other, 0) == index;
      found = warp_reduce(same ? static_cast<std::int32_t>(other) : none, Larger());
    }
  }
  if (lane == 0) {
    previous[token] = found;
    if (found != none) next[found] = static_cast<std::int32_t>(token);
  }
}

/// A block for some columns of one token, which does something only if the token is the first of
/// its row.
template <int width, class T>
__global__ void __launch_bounds__(128)
    add_lists_kernel(std::int64_t cols, Rows<const std::int32_t> tokens, std::int64_t first_row,
                     std::int64_t row_count, const std::int32_t* previous, const std::int32_t* next,
                     Rows<const T> d_out, Rows<float> d_table) {
  const std::int64_t col = (std::int64_t{blockIdx.y} * blockDim.x + threadIdx.x) * width;
  const std::int64_t first = blockIdx.x;
  const std::int64_t row = *tokens.at(first, 0) - first_row;
  if (previous[first] != none || row < 0 || row >= row_count || col >= cols) return;
  const std::int64_t count = cols - col;
  Floats<width> sum = load<width>(d_table.at(row, col), count);
  for (std::int32_t token = static_cast<std::int32_t>(first); token != none;) {
    const std::int32_t following = next[token];
    const Floats<width> d = load<width>(d_out.at(token, col), count);
#pragma unroll
    for (int i = 0; i < width; ++i) sum.values[i] += d.values[i];
    token = following;
  }
  store(d_table.at(row, col), sum, count);
}

/// Row p of d_table += the rows of d_x of position p, in their order.
template <class T>
struct AddPositions {
  Rows<const T> d_x;
  std::int64_t tokens, first_token, seq_length;
  Rows<float> d_table;

  template <int width>
  __device__ void run(std::int64_t position, std::int64_t col, std::int64_t count) const {
    Floats<width> sum = load<width>(d_table.at(position, col), count);
    const std::int64_t first = (position - first_token % seq_length + seq_length) % seq_length;
    for (std::int64_t token = first; token < tokens; token += seq_length) {
      const Floats<width> d = load<width>(d_x.at(token, col), count);
#pragma unroll
      for (int i = 0; i < width; ++i) sum.values[i] += d.values[i];
    }
    store(d_table.at(position, col), sum, count);
  }
};

}  // namespace

void SimtKernels::embedding_forward(const Matrix& tokens, const Matrix& table,
                                    std::int64_t first_row, const Matrix& out) {
  KUMIHIMO_CHECK(tokens.rows == out.rows && table.cols == out.cols && table.dtype == out.dtype);
  KUMIHIMO_CHECK(tokens.dtype == DType::int32);
  with_type(out.dtype, [&](auto zero) {
    using T = decltype(zero);
    with_width<wide<T>>(
        [&](auto width) {
          over_elements<decltype(width)::value>(
              stream_, out.rows, out.cols,
              LookUp<T>{rows<const std::int32_t>(tokens), rows<const T>(table), first_row,
                        table.rows, rows<T>(out)});
        },
        table, out);
  });
}

void SimtKernels::embedding_backward(const Matrix& tokens, const Matrix& d_out,
                                     std::int64_t first_row, const Matrix& d_table) {
  KUMIHIMO_CHECK(tokens.rows == d_out.rows && d_table.cols == d_out.cols);
  KUMIHIMO_CHECK(tokens.dtype == DType::int32 && d_table.dtype == DType::fp32);
  if (d_out.elements() == 0 || d_table.rows == 0) return;
  const Workspace::Scope scope(workspace_);
  const Matrix previous = workspace_.take(1, tokens.rows, DType::int32);
  const Matrix next = workspace_.take(1, tokens.rows, DType::int32);
  auto* const previous_data = static_cast<std::int32_t*>(previous.data);
  auto* const next_data = static_cast<std::int32_t*>(next.data);
  fill(next, none);
  launch(link_tokens_kernel,
         {{blocks(pieces_of(tokens.rows, tokens_per_block))}, 32 * tokens_per_block}, stream_,
         tokens.rows, rows<const std::int32_t>(tokens), first_row, d_table.rows, previous_data,
         next_data);
  with_type(d_out.dtype, [&](auto zero) {
    using T = decltype(zero);
    with_width<wide<T>>(
        [&](auto chosen) {
          constexpr int width = decltype(chosen)::value;
          const std::int64_t vectors = pieces_of(d_out.cols, width);
          const unsigned threads = threads_for(vectors, 128);
          launch(add_lists_kernel<width, T>,
                 {{blocks(tokens.rows), blocks(pieces_of(vectors, threads))}, threads}, stream_,
                 d_out.cols, rows<const std::int32_t>(tokens), first_row, d_table.rows,
                 previous_data, next_data, rows<const T>(d_out), rows<float>(d_table));
        },
        d_out, d_table);
  });
}

void SimtKernels::positions_backward(const Matrix& d_x, std::int64_t first_token,
                                     std::int64_t seq_length, const Matrix& d_table) {
  KUMIHIMO_CHECK(d_x.cols == d_table.cols && seq_length <= d_table.rows);
  KUMIHIMO_CHECK(d_table.dtype == DType::fp32);
  with_type(d_x.dtype, [&](auto zero) {
    using T = decltype(zero);
    with_width<wide<T>>(
        [&](auto width) {
          over_elements<decltype(width)::value>(
              stream_, seq_length, d_x.cols,
              AddPositions<T>{rows<const T>(d_x), d_x.rows, first_token, seq_length,
                              rows<float>(d_table)});
        },
        d_x, d_table);
  });
}

}  // namespace KUMIHIMO_CUDA_NAMESPACE

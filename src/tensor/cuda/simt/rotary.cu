#include "base/check.hpp"
#include "tensor/cuda/simt/over_elements.hpp"
#include "tensor/cuda/simt_kernels.hpp"

namespace KUMIHIMO_CUDA_NAMESPACE {
namespace {

/// Of the pairs of a row: element i of the first half of a head, and i of its second half.
template <class T>
struct Rotate {
  Rows<T> x;
  Rows<const float> table;
  int half;
  int seq_length;
  float sign;  ///< of sines

  template <int width>
  __device__ void run(std::int64_t row, std::int64_t pair, std::int64_t /*count*/) const {
    // In 32 bits: a division of 64 costs as much as everything else here.
    const int head = static_cast<int>(pair) / half, i = static_cast<int>(pair) - head * half;
    const int position = static_cast<int>(row) % seq_length;
    T* const first = x.at(row, pair + head * half);
    T* const second = first + half;
    Floats<width> a = load<width>(first, width), b = load<width>(second, width);
    const Floats<width> cosine = load<width>(table.at(position, i), width);
    const Floats<width> sine = load<width>(table.at(position, half + i), width);
#pragma unroll
    for (int j = 0; j < width; ++j) {
      const float c = cosine.values[j], s = sign * sine.values[j];
      const float before = a.values[j];
      a.values[j] = before * c - b.values[j] * s;
      b.values[j] = b.values[j] * c + before * s;
    }
    store(first, a, width);
    store(second, b, width);
  }
};

}  // namespace

void SimtKernels::rotate(const Matrix& x, std::int64_t heads, std::int64_t head_dim,
                         std::int64_t seq_length, const Matrix& table, bool inverse) {
  KUMIHIMO_CHECK(head_dim % 2 == 0 && heads * head_dim <= x.cols);
  KUMIHIMO_CHECK(table.cols == head_dim && seq_length <= table.rows);
  KUMIHIMO_CHECK(table.dtype == DType::fp32);
  KUMIHIMO_CHECK(x.rows <= 0x7fff'ffff && heads * head_dim <= 0x7fff'ffff);
  const std::int64_t half = head_dim / 2;
  if (x.rows == 0 || heads * half == 0) return;
  with_type(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    // Where halves are no whole vectors, the second ones are not aligned.
    with_width<wide<T>>(
        [&](auto width) {
          over_elements<decltype(width)::value>(
              stream_, x.rows, heads * half,
              Rotate<T>{rows<T>(x), rows<const float>(table), static_cast<int>(half),
                        static_cast<int>(seq_length), inverse ? -1.0f : 1.0f});
        },
        x, cols_of(x, half, half), table, cols_of(table, half, half));
  });
}

}  // namespace KUMIHIMO_CUDA_NAMESPACE

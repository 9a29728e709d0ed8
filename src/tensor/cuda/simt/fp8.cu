#include <bit>

#include "base/check.hpp"
#include "tensor/cuda/simt/over_matrix.hpp"
#include "tensor/cuda/simt/reductions.hpp"
#include "tensor/cuda/simt_kernels.hpp"
#include "tensor/float_formats.hpp"

namespace KUMIHIMO_CUDA_NAMESPACE {
namespace {

__device__ __forceinline__ std::uint32_t magnitude_bits(float value) {
  return bits_of(value) & 0x7fff'ffff;
}

// Magnitudes order like their bits, with NaN above infinity: so NaN wins.

template <int width, class T>
__global__ void __launch_bounds__(share_threads)
    largest_magnitude_kernel(std::int64_t row_count, std::int64_t cols, Rows<const T> x,
                             std::uint32_t* largest) {
  SharedMemory shared;
  const auto scratch = shared.take<std::uint32_t>(scratch_for(1));
  std::uint32_t found[1] = {0};
  visit_share<width>(row_count, cols, [&](std::int64_t row, std::int64_t col, std::int64_t count) {
    const Floats<width> values = load<width>(x.at(row, col), count);
#pragma unroll
    for (int i = 0; i < width; ++i) {
      found[0] = Larger()(found[0], magnitude_bits(values.values[i]));
    }
  });
  block_reduce(found, Larger(), std::uint32_t{0}, scratch);
  if (threadIdx.x == 0) largest[share_number()] = found[0];
}

/// One block: the largest of all, in the first place.
__global__ void __launch_bounds__(share_threads)
    largest_of_all_kernel(std::int64_t count, std::uint32_t* largest) {
  SharedMemory shared;
  const auto scratch = shared.take<std::uint32_t>(scratch_for(1));
  std::uint32_t found[1] = {0};
  for (std::int64_t i = threadIdx.x; i < count; i += blockDim.x) {
    found[0] = Larger()(found[0], largest[i]);
  }
  block_reduce(found, Larger(), std::uint32_t{0}, scratch);
  if (threadIdx.x == 0) largest[0] = found[0];
}

// Of each share: [0] overflowed, [1] underflowed.

template <int width, bool e4m3, class T>
__global__ void __launch_bounds__(share_threads)
    cast_kernel(std::int64_t row_count, std::int64_t cols, Rows<const T> x, float scale,
                float largest, Rows<std::uint8_t> out, std::int64_t* counts) {
  SharedMemory shared;
  const auto scratch = shared.take<std::int64_t>(scratch_for(2));
  std::int64_t misfits[2] = {0, 0};
  visit_share<width>(row_count, cols, [&](std::int64_t row, std::int64_t col, std::int64_t count) {
    const Floats<width> values = load<width>(x.at(row, col), count);
    Vector<std::uint8_t, width> codes;
#pragma unroll
    for (int i = 0; i < width; ++i) {
      // Elements that are not there are 0, which fits.
      const float scaled = values.values[i] * scale;
      codes.elements[i] = fp8_code<e4m3>(scaled);
      misfits[0] += fabsf(scaled) > largest ? 1 : 0;
      misfits[1] += values.values[i] != 0 && (codes.elements[i] & 0x7f) == 0 ? 1 : 0;
    }
    store_elements(out.at(row, col), codes, count);
  });
  block_reduce(misfits, Plus(), std::int64_t{0}, scratch);
  if (threadIdx.x == 0) {
    counts[2 * share_number()] = misfits[0];
    counts[2 * share_number() + 1] = misfits[1];
  }
}

/// One block: the sums of all, in the first place.
__global__ void __launch_bounds__(share_threads)
    add_counts_kernel(std::int64_t count, std::int64_t* counts) {
  SharedMemory shared;
  const auto scratch = shared.take<std::int64_t>(scratch_for(2));
  std::int64_t sums[2] = {0, 0};
  for (std::int64_t i = threadIdx.x; i < count; i += blockDim.x) {
    sums[0] += counts[2 * i];
    sums[1] += counts[2 * i + 1];
  }
  block_reduce(sums, Plus(), std::int64_t{0}, scratch);
  if (threadIdx.x == 0) {
    counts[0] = sums[0];
    counts[1] = sums[1];
  }
}

}  // namespace

float SimtKernels::absolute_maximum(const Matrix& x) {
  if (x.elements() == 0) return 0;
  const Workspace::Scope scope(workspace_);
  const Matrix all = as_one_row(x);
  Matrix found;
  with_type(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    with_width<wide<T>>(
        [&](auto chosen) {
          constexpr int width = decltype(chosen)::value;
          const Shares shares = shares_of(all, width);
          found = workspace_.take(1, shares.count(), DType::fp32);
          auto* const data = static_cast<std::uint32_t*>(found.data);
          constexpr std::size_t scratch = scratch_for(1) * sizeof(std::uint32_t);
          launch(largest_magnitude_kernel<width, T>,
                 {{shares.across, shares.down}, share_threads, scratch}, stream_, all.rows,
                 all.cols, rows<const T>(all), data);
          launch(largest_of_all_kernel, {{1}, share_threads, scratch}, stream_, shares.count(),
                 data);
        },
        all);
  });
  float largest = 0;
  download(cols_of(found, 0, 1), &largest);
  return largest;
}

Fp8CastCounts SimtKernels::cast_to_fp8(const Matrix& x, float scale, const Matrix& out) {
  KUMIHIMO_CHECK(same_shape(x, out));
  const bool is_e4m3 = out.dtype == DType::fp8_e4m3;
  KUMIHIMO_CHECK(is_e4m3 || out.dtype == DType::fp8_e5m2);
  if (x.elements() == 0) return {};
  const float largest = (is_e4m3 ? fp8_e4m3_format : fp8_e5m2_format).largest;
  const Workspace::Scope scope(workspace_);
  const bool one_row = x.contiguous() && out.contiguous();
  const Matrix from = one_row ? as_one_row(x) : x, to = one_row ? as_one_row(out) : out;
  Matrix counts;
  with_type(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    with_width<16>(  // codes: one vector of 16 bytes
        [&](auto chosen) {
          constexpr int width = decltype(chosen)::value;
          const Shares shares = shares_of(from, width);
          counts = workspace_.take(1, 2 * shares.count(), DType::fp64);  // 8 bytes each
          auto* const data = static_cast<std::int64_t*>(counts.data);
          constexpr std::size_t scratch = scratch_for(2) * sizeof(std::int64_t);
          launch(is_e4m3 ? cast_kernel<width, true, T> : cast_kernel<width, false, T>,
                 {{shares.across, shares.down}, share_threads, scratch}, stream_, from.rows,
                 from.cols, rows<const T>(from), scale, largest, rows<std::uint8_t>(to), data);
          launch(add_counts_kernel, {{1}, share_threads, scratch}, stream_, shares.count(), data);
        },
        from, to);
  });
  std::int64_t misfits[2] = {};
  download(cols_of(counts, 0, 2), misfits);
  return {x.elements(), misfits[0], misfits[1]};
}

}  // namespace KUMIHIMO_CUDA_NAMESPACE

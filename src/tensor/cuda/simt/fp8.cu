#include "tensor/cuda/simt/over_elements.hpp"
#include "tensor/cuda/simt/over_matrix.hpp"
#include "tensor/cuda/simt/reductions.hpp"
#include "tensor/cuda/simt_kernels.hpp"
#include "tensor/fp8_cast.hpp"

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
  visit_share<width>(row_count, cols, [&](auto chosen, std::int64_t row, std::int64_t col) {
    constexpr int count = decltype(chosen)::value;
    const Floats<count> values = load<count>(x.at(row, col), count);
#pragma unroll
    for (int i = 0; i < count; ++i) {
      found[0] = Larger()(found[0], magnitude_bits(values.values[i]));
    }
  });
  block_reduce(found, Larger(), std::uint32_t{0}, scratch);
  if (threadIdx.x == 0) largest[share_number()] = found[0];
}

/// One block: the scale that follows from the largest of all, as fp8_scale computes it.
__global__ void __launch_bounds__(share_threads)
    scales_kernel(std::int64_t count, const std::uint32_t* magnitudes, float format_largest,
                  float* scales) {
  SharedMemory shared;
  const auto scratch = shared.take<std::uint32_t>(scratch_for(1));
  std::uint32_t found[1] = {0};
  for (std::int64_t i = threadIdx.x; i < count; i += blockDim.x) {
    found[0] = Larger()(found[0], magnitudes[i]);
  }
  block_reduce(found, Larger(), std::uint32_t{0}, scratch);
  if (threadIdx.x != 0) return;
  constexpr std::uint32_t exponent = 0x7f80'0000, one = 127u << 23, most = (127u + 126) << 23;
  const bool usable = 0 < found[0] && found[0] < exponent;  // not infinite, not NaN
  const std::uint32_t ratio = usable ? bits_of(format_largest / float_of(found[0])) : one;
  const std::uint32_t scale = ratio < most ? ratio & exponent : most;  // infinity is above all
  scales[0] = float_of(scale);
  scales[1] = float_of(2 * one - scale);  // the exponent's negative
}

// --- Casts

/// What each block saw of its share.
struct CastReports {
  std::uint32_t* magnitudes;  ///< the largest
  std::int64_t* misfits;      ///< [0] overflowed, [1] underflowed
};

constexpr std::size_t report_scratch =
    scratch_for(2) * sizeof(std::int64_t) + scratch_for(1) * sizeof(std::uint32_t);

/// A thread's casts, and what it sees of them: of elements that are not there, 0, nothing.
template <bool e4m3>
struct Caster {
  float scale;
  float format_largest;
  std::uint32_t overflowing;  ///< no smaller magnitude does
  std::uint32_t magnitude[1] = {0};
  std::uint32_t misfits[2] = {0, 0};  ///< in 32 bits: a thread has few of the elements

  __device__ __forceinline__ Caster(const float* scales, float largest)
      : scale(scales[0]), format_largest(largest), overflowing(bits_of(largest / scales[0])) {}

  __device__ __forceinline__ std::uint8_t code_of(float value) {
    const std::uint8_t code = fp8_code<e4m3>(value * scale);
    magnitude[0] = Larger()(magnitude[0], magnitude_bits(value));
    count(value, code);
    return code;
  }
  /// Four codes, the first in the lowest byte. Few elements overflow or become zero: they are
  /// looked for one by one only where there are any, which else takes most of a cast's
  /// instructions.
  __device__ __forceinline__ std::uint32_t codes_of(const float (&values)[4]) {
    std::uint32_t largest = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) largest = Larger()(largest, magnitude_bits(values[i]));
    magnitude[0] = Larger()(magnitude[0], largest);
    const std::uint32_t codes = fp8_pair<e4m3>(values[0] * scale, values[1] * scale) |
                                std::uint32_t{fp8_pair<e4m3>(values[2] * scale, values[3] * scale)}
                                    << 16;
    // A byte that is zero but for its sign borrows: its highest bit is set then.
    const bool any_zero = (((codes & 0x7f7f'7f7f) - 0x0101'0101) & 0x8080'8080) != 0;
    if (any_zero || largest >= overflowing) {
#pragma unroll
      for (int i = 0; i < 4; ++i) count(values[i], codes >> (8 * i));
    }
    return codes;
  }
  __device__ __forceinline__ void count(float value, std::uint32_t code) {
    misfits[0] += fabsf(value * scale) > format_largest ? 1 : 0;
    misfits[1] += value != 0 && (code & 0x7f) == 0 ? 1 : 0;
  }

  /// By all threads of the block.
  __device__ __forceinline__ void report(const CastReports& reports, SharedMemory& shared) {
    std::int64_t of_block[2] = {misfits[0], misfits[1]};
    block_reduce(of_block, Plus(), std::int64_t{0}, shared.take<std::int64_t>(scratch_for(2)));
    block_reduce(magnitude, Larger(), std::uint32_t{0}, shared.take<std::uint32_t>(scratch_for(1)));
    if (threadIdx.x != 0) return;
    reports.magnitudes[share_number()] = magnitude[0];
    reports.misfits[2 * share_number()] = of_block[0];
    reports.misfits[2 * share_number() + 1] = of_block[1];
  }
};

/// 16 codes.
__device__ __forceinline__ void store_words(std::uint8_t* to,
                                            const Vector<std::uint32_t, 4>& codes) {
  store_global_vector(reinterpret_cast<std::uint32_t*>(to), codes);
}

template <int width, bool e4m3, class T>
__global__ void __launch_bounds__(share_threads)
    cast_kernel(std::int64_t row_count, std::int64_t cols, Rows<const T> x, const float* scales,
                float format_largest, Rows<std::uint8_t> out, CastReports reports) {
  SharedMemory shared;
  Caster<e4m3> caster(scales, format_largest);
  visit_share<width>(row_count, cols, [&](auto chosen, std::int64_t row, std::int64_t col) {
    constexpr int count = decltype(chosen)::value;
    const Floats<count> values = load<count>(x.at(row, col), count);
    if constexpr (count == 1) {
      *out.at(row, col) = caster.code_of(values.values[0]);
    } else {
      Vector<std::uint32_t, count / 4> codes;
#pragma unroll
      for (int i = 0; i < count; i += 4) {
        codes.elements[i / 4] = caster.codes_of(
            {values.values[i], values.values[i + 1], values.values[i + 2], values.values[i + 3]});
      }
      store_words(out.at(row, col), codes);
    }
  });
  caster.report(reports, shared);
}

// A tile passes through shared memory as columns of words, four rows' codes in each: a thread makes
// the words of four rows and of a vector's columns, and stores 16 rows of a column. One word more a
// column, so that its neighbours' words lie in other banks.
constexpr int tile_rows = 128, tile_cols = 64;
constexpr int rows_a_word = 4, rows_a_store = 16;
constexpr int tile_pitch = tile_rows / rows_a_word + 1;

/// A row's codes of a vector's columns: each word has those of a column's four rows.
template <int width>
__device__ __forceinline__ Vector<std::uint8_t, width> codes_of_row(
    const std::uint32_t (&words)[width], int row) {
  Vector<std::uint8_t, width> codes;
#pragma unroll
  for (int i = 0; i < width; ++i) {
    codes.elements[i] = static_cast<std::uint8_t>(words[i] >> (8 * row));
  }
  return codes;
}

/// transposed becomes x^T, and straight, with `both`, x. Tiles are numbered in one dimension.
/// `aligned`: rows of x for 16 bytes of its elements, of straight for as many codes, of transposed
/// for 16.
template <bool aligned, bool both, bool e4m3, class T>
__global__ void __launch_bounds__(share_threads)
    cast_transposed_kernel(std::int64_t row_count, std::int64_t cols, Rows<const T> x,
                           const float* scales, float format_largest, Rows<std::uint8_t> straight,
                           Rows<std::uint8_t> transposed, std::int64_t tiles_across,
                           std::int64_t tiles, CastReports reports) {
  constexpr int width = aligned ? wide<T> : 1;
  constexpr int vectors = tile_cols / width, words = tile_rows / rows_a_word;
  constexpr int stores = tile_rows / rows_a_store;
  SharedMemory shared;
  const auto held = shared.take<std::uint32_t>(tile_cols * tile_pitch);
  Caster<e4m3> caster(scales, format_largest);
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  for (std::int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const std::int64_t first_row = tile / tiles_across * tile_rows;
    const std::int64_t first_col = tile % tiles_across * tile_cols;
    for (int piece = thread; piece < vectors * words; piece += threads) {
      const int col = piece % vectors * width, word = piece / vectors;
      const std::int64_t row = first_row + word * rows_a_word;
      const std::int64_t there = cols - first_col - col;
      Vector<T, width> read[rows_a_word] = {};
      if (row + rows_a_word <= row_count && there >= width) {
#pragma unroll
        for (int i = 0; i < rows_a_word; ++i) {  // all are asked for at once
          read[i] = load_elements<width>(x.at(row + i, first_col + col), width);
        }
      } else {
#pragma unroll
        for (int i = 0; i < rows_a_word; ++i) {
          if (row + i >= row_count || there <= 0) continue;
          read[i] = load_elements<width>(x.at(row + i, first_col + col), there);
        }
      }
      std::uint32_t codes[width];
#pragma unroll
      for (int j = 0; j < width; ++j) {
        codes[j] = caster.codes_of({widened(read[0].elements[j]), widened(read[1].elements[j]),
                                    widened(read[2].elements[j]), widened(read[3].elements[j])});
        held[(col + j) * tile_pitch + word] = codes[j];
      }
      if constexpr (both) {
#pragma unroll
        for (int i = 0; i < rows_a_word; ++i) {
          if (row + i >= row_count || there <= 0) continue;
          store_elements(straight.at(row + i, first_col + col), codes_of_row(codes, i), there);
        }
      }
    }
    __syncthreads();
    for (int piece = thread; piece < tile_cols * stores; piece += threads) {
      const int col = piece / stores, row = piece % stores * rows_a_store;
      const std::int64_t there = row_count - first_row - row;
      if (first_col + col >= cols || there <= 0) continue;
      Vector<std::uint32_t, rows_a_store / rows_a_word> codes;
#pragma unroll
      for (int i = 0; i < rows_a_store / rows_a_word; ++i) {
        codes.elements[i] = held[col * tile_pitch + row / rows_a_word + i];
      }
      std::uint8_t* const to = transposed.at(first_col + col, first_row + row);
      if (aligned && there >= rows_a_store) {
        store_words(to, codes);
      } else {
#pragma unroll
        for (int i = 0; i < rows_a_store; ++i) {
          const std::uint32_t word = codes.elements[i / rows_a_word];
          if (i < there) to[i] = static_cast<std::uint8_t>(word >> (8 * (i % rows_a_word)));
        }
      }
    }
    __syncthreads();  // the next tile takes its place
  }
  caster.report(reports, shared);
}

/// One block: adds what all blocks saw to what was seen before.
__global__ void __launch_bounds__(share_threads)
    add_reports_kernel(std::int64_t count, CastReports reports, std::int64_t elements,
                       float* maximum, double* counts) {
  SharedMemory shared;
  std::uint32_t magnitude[1] = {0};
  std::int64_t misfits[2] = {0, 0};
  for (std::int64_t i = threadIdx.x; i < count; i += blockDim.x) {
    magnitude[0] = Larger()(magnitude[0], reports.magnitudes[i]);
    misfits[0] += reports.misfits[2 * i];
    misfits[1] += reports.misfits[2 * i + 1];
  }
  block_reduce(misfits, Plus(), std::int64_t{0}, shared.take<std::int64_t>(scratch_for(2)));
  block_reduce(magnitude, Larger(), std::uint32_t{0}, shared.take<std::uint32_t>(scratch_for(1)));
  if (threadIdx.x != 0) return;
  maximum[0] = float_of(Larger()(magnitude_bits(maximum[0]), magnitude[0]));
  counts[0] += static_cast<double>(elements);
  counts[1] += static_cast<double>(misfits[0]);
  counts[2] += static_cast<double>(misfits[1]);
}

template <bool e4m3>
struct WidenFp8 {
  Rows<const std::uint8_t> in;
  const float* scale;  ///< null: 1
  Rows<Bf16> out;

  template <int width>
  __device__ __forceinline__ void run(std::int64_t row, std::int64_t col,
                                      std::int64_t count) const {
    const Vector<std::uint8_t, width> codes = load_elements<width>(in.at(row, col), count);
    const float factor = scale == nullptr ? 1.0f : *scale;
    Floats<width> values;
#pragma unroll
    for (int i = 0; i < width; ++i) values.values[i] = fp8_value<e4m3>(codes.elements[i]) * factor;
    store(out.at(row, col), values, count);
  }
};

/// body(std::bool_constant of each flag).
template <class Body>
void with_flags(const Body& body) {
  body();
}
template <class Body, class... Flags>
void with_flags(const Body& body, bool first, Flags... others) {
  const auto choose = [&](auto chosen) {
    with_flags([&](auto... rest) { body(chosen, rest...); }, others...);
  };
  first ? choose(std::true_type()) : choose(std::false_type());
}

}  // namespace

void SimtKernels::fp8_scales(const Matrix& x, DType format, const Matrix& scales) {
  check_scales(scales);
  const float format_largest = fp8_format_of(format).largest;
  const Workspace::Scope scope(workspace_);
  const Matrix all = as_one_row(x);
  constexpr std::size_t scratch = scratch_for(1) * sizeof(std::uint32_t);
  with_type(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    with_width<wide<T>>(
        [&](auto chosen) {
          constexpr int width = decltype(chosen)::value;
          const Shares shares = all.elements() == 0 ? Shares{} : shares_of(all, width);
          const Matrix found = workspace_.take(1, shares.count(), DType::int32);
          auto* const magnitudes = static_cast<std::uint32_t*>(found.data);
          launch(largest_magnitude_kernel<width, T>,
                 {{shares.across, shares.down}, share_threads, scratch}, stream_, all.rows,
                 all.cols, rows<const T>(all), magnitudes);
          launch(scales_kernel, {{1}, share_threads, scratch}, stream_, shares.count(), magnitudes,
                 format_largest, static_cast<float*>(scales.data));
        },
        all);
  });
}

void SimtKernels::cast_to_fp8(const Matrix& x, const Fp8Cast& cast, const Fp8Codes& codes) {
  check_cast(x, cast, codes);
  if (x.elements() == 0) return;
  const bool is_e4m3 = dtype_of(codes) == DType::fp8_e4m3;
  const float format_largest = fp8_format_of(dtype_of(codes)).largest;
  const auto* const scales = static_cast<const float*>(cast.scales.data);
  const Workspace::Scope scope(workspace_);
  const auto reports_of = [&](std::int64_t shares) {
    return CastReports{
        static_cast<std::uint32_t*>(workspace_.take(1, shares, DType::int32).data),
        static_cast<std::int64_t*>(workspace_.take(2, shares, DType::fp64).data)};  // of 8 bytes
  };
  const auto add_up = [&](std::int64_t shares, const CastReports& reports) {
    launch(add_reports_kernel, {{1}, share_threads, report_scratch}, stream_, shares, reports,
           x.elements(), static_cast<float*>(cast.maximum.data),
           static_cast<double*>(cast.counts.data));
  };
  const auto as_stored = [&](auto zero) {
    using T = decltype(zero);
    const bool one_row = x.contiguous() && codes.straight.contiguous();
    const Matrix from = one_row ? as_one_row(x) : x;
    const Matrix to = one_row ? as_one_row(codes.straight) : codes.straight;
    with_width<16>(  // codes: one vector of 16 bytes
        [&](auto chosen) {
          constexpr int width = decltype(chosen)::value;
          const Shares shares = shares_of(from, width);
          const CastReports reports = reports_of(shares.count());
          launch(is_e4m3 ? cast_kernel<width, true, T> : cast_kernel<width, false, T>,
                 {{shares.across, shares.down}, share_threads, report_scratch}, stream_, from.rows,
                 from.cols, rows<const T>(from), scales, format_largest, rows<std::uint8_t>(to),
                 reports);
          add_up(shares.count(), reports);
        },
        from, to);
  };
  const auto transposed = [&](auto zero) {
    using T = decltype(zero);
    const std::int64_t across = pieces_of(x.cols, tile_cols);
    const std::int64_t tiles = across * pieces_of(x.rows, tile_rows);
    constexpr std::int64_t most = 1024;
    const std::int64_t shares = std::min(tiles, most);
    const CastReports reports = reports_of(shares);
    constexpr std::size_t tile = tile_cols * tile_pitch * sizeof(std::uint32_t);
    const bool both = !codes.straight.empty();
    const bool aligned = is_aligned(x, wide<T>) && is_aligned(codes.transposed, rows_a_store) &&
                         (!both || is_aligned(codes.straight, wide<T>));
    with_flags(
        [&](auto vectors, auto two, auto e4m3) {
          launch(cast_transposed_kernel<decltype(vectors)::value, decltype(two)::value,
                                        decltype(e4m3)::value, T>,
                 {{blocks(shares)}, share_threads, tile + report_scratch}, stream_, x.rows, x.cols,
                 rows<const T>(x), scales, format_largest, rows<std::uint8_t>(codes.straight),
                 rows<std::uint8_t>(codes.transposed), across, tiles, reports);
        },
        aligned, both, is_e4m3);
    add_up(shares, reports);
  };
  with_type(x.dtype,
            [&](auto zero) { codes.transposed.empty() ? as_stored(zero) : transposed(zero); });
}

void SimtKernels::widen_fp8(const Matrix& in, const Matrix& scale, const Matrix& out) {
  KUMIHIMO_CHECK(is_fp8(in.dtype) && same_shape(in, out) && out.dtype == DType::bf16);
  const auto* const factor = static_cast<const float*>(scale.data);
  const auto run = [&](auto e4m3) {
    over_all_elements<16>(
        stream_,
        [&](const Matrix& from, const Matrix& to) {
          return WidenFp8<decltype(e4m3)::value>{rows<const std::uint8_t>(from), factor,
                                                 rows<Bf16>(to)};
        },
        in, out);
  };
  in.dtype == DType::fp8_e4m3 ? run(std::true_type()) : run(std::false_type());
}

}  // namespace KUMIHIMO_CUDA_NAMESPACE

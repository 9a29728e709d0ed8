#include "base/check.hpp"
#include "tensor/cuda/simt/over_elements.hpp"
#include "tensor/cuda/simt_kernels.hpp"
#include "tensor/float_formats.hpp"

namespace KUMIHIMO_CUDA_NAMESPACE {
namespace {

template <class T>
struct Add {
  Rows<const T> a, b;
  Rows<T> out;

  template <int width>
  __device__ void run(std::int64_t row, std::int64_t col, std::int64_t count) const {
    Floats<width> sum = load<width>(a.at(row, col), count);
    const Floats<width> more = load<width>(b.at(row, col), count);
#pragma unroll
    for (int i = 0; i < width; ++i) sum.values[i] += more.values[i];
    store(out.at(row, col), sum, count);
  }
};

/// Row r of x += row (first + r) mod period of the table: 1 row for a bias, positions otherwise.
template <class T>
struct AddRowOf {
  Rows<T> x;
  Rows<const T> table;
  std::int64_t first;
  int period;

  template <int width>
  __device__ void run(std::int64_t row, std::int64_t col, std::int64_t count) const {
    Floats<width> sum = load<width>(x.at(row, col), count);
    const Floats<width> more =
        load<width>(table.at(static_cast<int>(first + row) % period, col), count);
#pragma unroll
    for (int i = 0; i < width; ++i) sum.values[i] += more.values[i];
    store(x.at(row, col), sum, count);
  }
};

template <class T>
struct Fill {
  Rows<T> x;
  T value;

  template <int width>
  __device__ void run(std::int64_t row, std::int64_t col, std::int64_t count) const {
    Vector<T, width> vector;
#pragma unroll
    for (int i = 0; i < width; ++i) vector.elements[i] = value;
    store_elements(x.at(row, col), vector, count);
  }
};

template <class T>
struct Scale {
  Rows<T> x;
  float factor;

  template <int width>
  __device__ void run(std::int64_t row, std::int64_t col, std::int64_t count) const {
    Floats<width> values = load<width>(x.at(row, col), count);
#pragma unroll
    for (int i = 0; i < width; ++i) values.values[i] *= factor;
    store(x.at(row, col), values, count);
  }
};

template <class To, class From>
__device__ __forceinline__ To converted(From value) {
  if constexpr (std::is_same_v<To, From>) {
    return value;
  } else if constexpr (std::is_same_v<To, double> || std::is_same_v<From, double>) {
    return static_cast<To>(value);  // from or to fp32
  } else {
    return narrowed_to<To>(widened(value));
  }
}

template <class From, class To>
struct Copy {
  Rows<const From> in;
  Rows<To> out;

  template <int width>
  __device__ void run(std::int64_t row, std::int64_t col, std::int64_t count) const {
    const Vector<From, width> from = load_elements<width>(in.at(row, col), count);
    Vector<To, width> to;
#pragma unroll
    for (int i = 0; i < width; ++i) to.elements[i] = converted<To>(from.elements[i]);
    store_elements(out.at(row, col), to, count);
  }
};

template <class From, class To>
void copy_elements(Stream stream, const Matrix& in, const Matrix& out) {
  over_all_elements<std::max(wide<From>, wide<To>)>(
      stream,
      [](const Matrix& from, const Matrix& to) {
        return Copy<From, To>{rows<const From>(from), rows<To>(to)};
      },
      in, out);
}

void copy_unchanged(Stream stream, const Matrix& in, const Matrix& out) {
  switch (bytes_of(in.dtype)) {
    case 1: return copy_elements<std::uint8_t, std::uint8_t>(stream, in, out);
    case 2: return copy_elements<std::uint16_t, std::uint16_t>(stream, in, out);
    case 4: return copy_elements<std::uint32_t, std::uint32_t>(stream, in, out);
    default: return copy_elements<std::uint64_t, std::uint64_t>(stream, in, out);
  }
}

template <class T>
void add_row_of(Stream stream, const Matrix& x, const Matrix& table, std::int64_t first,
                std::int64_t period) {
  KUMIHIMO_CHECK(first + x.rows <= 0x7fff'ffff && 0 < period && period <= 0x7fff'ffff);
  with_width<wide<T>>(
      [&](auto width) {
        over_elements<decltype(width)::value>(
            stream, x.rows, x.cols,
            AddRowOf<T>{rows<T>(x), rows<const T>(table), first, static_cast<int>(period)});
      },
      x, table);
}

}  // namespace

void SimtKernels::add(const Matrix& a, const Matrix& b, const Matrix& out) {
  KUMIHIMO_CHECK(same_shape(a, b) && same_shape(a, out));
  KUMIHIMO_CHECK(a.dtype == b.dtype && a.dtype == out.dtype);
  with_type(out.dtype, [&](auto zero) {
    using T = decltype(zero);
    over_all_elements<wide<T>>(
        stream_,
        [](const Matrix& x, const Matrix& y, const Matrix& sum) {
          return Add<T>{rows<const T>(x), rows<const T>(y), rows<T>(sum)};
        },
        a, b, out);
  });
}

void SimtKernels::copy(const Matrix& in, const Matrix& out) {
  KUMIHIMO_CHECK(same_shape(in, out));
  if (in.dtype == out.dtype) return copy_unchanged(stream_, in, out);
  const auto is = [&](DType from, DType to) { return in.dtype == from && out.dtype == to; };
  if (is(DType::fp32, DType::bf16)) return copy_elements<float, Bf16>(stream_, in, out);
  if (is(DType::bf16, DType::fp32)) return copy_elements<Bf16, float>(stream_, in, out);
  if (is(DType::fp32, DType::fp64)) return copy_elements<float, double>(stream_, in, out);
  KUMIHIMO_CHECK(is(DType::fp64, DType::fp32));
  copy_elements<double, float>(stream_, in, out);
}

void SimtKernels::fill(const Matrix& x, float value) {
  const auto fill_with = [&](auto element) {
    using T = decltype(element);
    over_all_elements<wide<T>>(
        stream_,
        [&](const Matrix& to) {
          return Fill<T>{rows<T>(to), element};
        },
        x);
  };
  switch (x.dtype) {
    case DType::fp64: return fill_with(static_cast<double>(value));
    case DType::fp32: return fill_with(value);
    case DType::bf16: return fill_with(to_bf16(value));
    case DType::fp8_e4m3: return fill_with(to_fp8(fp8_e4m3_format, value));
    case DType::fp8_e5m2: return fill_with(to_fp8(fp8_e5m2_format, value));
    case DType::int32: return fill_with(static_cast<std::int32_t>(value));
  }
}

void SimtKernels::scale(const Matrix& x, float factor) {
  with_type(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    over_all_elements<wide<T>>(
        stream_,
        [&](const Matrix& all) {
          return Scale<T>{rows<T>(all), factor};
        },
        x);
  });
}

void SimtKernels::add_bias(const Matrix& x, const Matrix& bias) {
  KUMIHIMO_CHECK(has_shape(bias, 1, x.cols) && bias.dtype == x.dtype);
  with_type(x.dtype, [&](auto zero) { add_row_of<decltype(zero)>(stream_, x, bias, 0, 1); });
}

void SimtKernels::add_positions(const Matrix& x, const Matrix& table, std::int64_t first_token,
                                std::int64_t seq_length) {
  KUMIHIMO_CHECK(x.cols == table.cols && seq_length <= table.rows && table.dtype == x.dtype);
  with_type(x.dtype, [&](auto zero) {
    add_row_of<decltype(zero)>(stream_, x, table, first_token, seq_length);
  });
}

}  // namespace KUMIHIMO_CUDA_NAMESPACE

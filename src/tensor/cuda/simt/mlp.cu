#include "base/check.hpp"
#include "tensor/cuda/simt/over_elements.hpp"
#include "tensor/cuda/simt_kernels.hpp"

namespace KUMIHIMO_CUDA_NAMESPACE {
namespace {

__device__ __forceinline__ float sigmoid(float x) { return 1 / (1 + expf(-x)); }

template <class T>
struct SwigluForward {
  Rows<const T> gate, up;
  Rows<T> y;

  template <int width>
  __device__ void run(std::int64_t row, std::int64_t col, std::int64_t count) const {
    const Floats<width> g = load<width>(gate.at(row, col), count);
    Floats<width> result = load<width>(up.at(row, col), count);
#pragma unroll
    for (int i = 0; i < width; ++i) result.values[i] *= g.values[i] * sigmoid(g.values[i]);
    store(y.at(row, col), result, count);
  }
};

/// d_gate and d_up may lie in the place of gate and up.
template <class T>
struct SwigluBackward {
  Rows<const T> gate, up, d_y;
  Rows<T> d_gate, d_up;

  template <int width>
  __device__ void run(std::int64_t row, std::int64_t col, std::int64_t count) const {
    Floats<width> g = load<width>(gate.at(row, col), count);
    Floats<width> u = load<width>(up.at(row, col), count);
    const Floats<width> d = load<width>(d_y.at(row, col), count);
#pragma unroll
    for (int i = 0; i < width; ++i) {
      const float s = sigmoid(g.values[i]);
      const float value = g.values[i];
      g.values[i] = d.values[i] * u.values[i] * s * (1 + value * (1 - s));
      u.values[i] = d.values[i] * value * s;
    }
    store(d_gate.at(row, col), g, count);
    store(d_up.at(row, col), u, count);
  }
};

// gelu(x) = x/2 (1 + tanh(slope (x + cubic x^3))), with slope = sqrt(2/pi).
constexpr float cubic = 0.044715f;
constexpr float slope = 0.79788456080286536f;

__device__ __forceinline__ float gelu_tanh(float x) {
  return tanhf(slope * (x + cubic * x * x * x));
}

template <class T>
struct GeluForward {
  Rows<const T> x;
  Rows<T> y;

  template <int width>
  __device__ void run(std::int64_t row, std::int64_t col, std::int64_t count) const {
    Floats<width> values = load<width>(x.at(row, col), count);
#pragma unroll
    for (int i = 0; i < width; ++i) {
      values.values[i] = values.values[i] / 2 * (1 + gelu_tanh(values.values[i]));
    }
    store(y.at(row, col), values, count);
  }
};

template <class T>
struct GeluBackward {
  Rows<const T> x, d_y;
  Rows<T> d_x;

  template <int width>
  __device__ void run(std::int64_t row, std::int64_t col, std::int64_t count) const {
    const Floats<width> values = load<width>(x.at(row, col), count);
    Floats<width> d = load<width>(d_y.at(row, col), count);
#pragma unroll
    for (int i = 0; i < width; ++i) {
      const float value = values.values[i];
      const float t = gelu_tanh(value);
      const float d_inner = slope * (1 + 3 * cubic * value * value);
      d.values[i] *= (1 + t) / 2 + value / 2 * (1 - t * t) * d_inner;
    }
    store(d_x.at(row, col), d, count);
  }
};

Matrix first_half(const Matrix& x) { return cols_of(x, 0, x.cols / 2); }
Matrix second_half(const Matrix& x) { return cols_of(x, x.cols / 2, x.cols / 2); }

}  // namespace

void SimtKernels::swiglu_forward(const Matrix& x, const Matrix& y) {
  KUMIHIMO_CHECK(has_shape(x, y.rows, 2 * y.cols) && x.dtype == y.dtype);
  with_type(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    over_all_elements<wide<T>>(
        stream_,
        [](const Matrix& result, const Matrix& gate, const Matrix& up) {
          return SwigluForward<T>{rows<const T>(gate), rows<const T>(up), rows<T>(result)};
        },
        y, first_half(x), second_half(x));
  });
}

void SimtKernels::swiglu_backward(const Matrix& x, const Matrix& d_y, const Matrix& d_x) {
  KUMIHIMO_CHECK(has_shape(x, d_y.rows, 2 * d_y.cols) && same_shape(x, d_x));
  KUMIHIMO_CHECK(x.dtype == d_y.dtype && x.dtype == d_x.dtype);
  with_type(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    over_all_elements<wide<T>>(
        stream_,
        [](const Matrix& d, const Matrix& gate, const Matrix& up, const Matrix& d_gate,
           const Matrix& d_up) {
          return SwigluBackward<T>{rows<const T>(gate), rows<const T>(up), rows<const T>(d),
                                   rows<T>(d_gate), rows<T>(d_up)};
        },
        d_y, first_half(x), second_half(x), first_half(d_x), second_half(d_x));
  });
}

void SimtKernels::gelu_forward(const Matrix& x, const Matrix& y) {
  KUMIHIMO_CHECK(same_shape(x, y) && x.dtype == y.dtype);
  with_type(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    over_all_elements<wide<T>>(
        stream_,
        [](const Matrix& in, const Matrix& out) {
          return GeluForward<T>{rows<const T>(in), rows<T>(out)};
        },
        x, y);
  });
}

void SimtKernels::gelu_backward(const Matrix& x, const Matrix& d_y, const Matrix& d_x) {
  KUMIHIMO_CHECK(same_shape(x, d_y) && same_shape(x, d_x));
  KUMIHIMO_CHECK(x.dtype == d_y.dtype && x.dtype == d_x.dtype);
  with_type(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    over_all_elements<wide<T>>(
        stream_,
        [](const Matrix& in, const Matrix& d, const Matrix& out) {
          return GeluBackward<T>{rows<const T>(in), rows<const T>(d), rows<T>(out)};
        },
        x, d_y, d_x);
  });
}

}  // namespace KUMIHIMO_CUDA_NAMESPACE

#include "tensor/cpu/softmax.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/softmax.cpp"
#include <hwy/foreach_target.h>
// After the line above, which includes this file again for each instruction set.
#include "tensor/cpu/vectors-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace kumihimo::cpu::HWY_NAMESPACE {

HWY_INLINE std::int64_t visible_of(const Matrix& scores, std::int64_t first_visible,
                                   std::int64_t row) {
  return std::clamp<std::int64_t>(first_visible + row, 0, scores.cols);
}

template <class T>
HWY_INLINE float maximum_of_row(const T* x, std::int64_t count) {
  Floats highest = all(-std::numeric_limits<float>::infinity());
  over(count, [&](std::size_t i, auto io)
                  HWY_ATTR { highest = hn::Max(highest, io.keep(io.load(x + i), highest)); });
  return maximum_of(highest);
}

/// to[i] = exp(scale x[i] - shift); returns their sum, before they are rounded.
template <class In, class Out>
HWY_INLINE float exponentiate_row(const In* x, std::int64_t count, float scale, float shift,
                                  Out* to) {
  const Floats scales = all(scale), shifts = all(shift);
  Floats sum = zeros();
  over(count, [&](std::size_t i, auto io) HWY_ATTR {
    const Floats e = exponential(hn::MulSub(io.load(x + i), scales, shifts));
    sum = hn::Add(sum, io.keep(e, zeros()));
    io.store(e, to + i);
  });
  return sum_of(sum);
}

template <class T>
HWY_INLINE void multiply_row(T* x, std::int64_t count, float factor) {
  const Floats factors = all(factor);
  over(count,
       [&](std::size_t i, auto io) HWY_ATTR { io.store(hn::Mul(io.load(x + i), factors), x + i); });
}

void online_softmax_rows(const Matrix& scores, float scale, std::int64_t first_visible,
                         bool is_first, const RunningSoftmax& running, const Matrix& out,
                         const Matrix& exponentials) {
  with_type(exponentials.dtype, [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    for (std::int64_t row = 0; row < scores.rows; ++row) {
      const float* x = row_of<float>(scores, row);
      T* to = row_of<T>(exponentials, row);
      const std::int64_t visible = visible_of(scores, first_visible, row);
      float& maximum = running.maximum[row];
      float& sum = running.sum[row];
      const float in_tile = maximum_of_row(x, visible) * scale;
      const float raised = is_first ? in_tile : std::max(maximum, in_tile);
      const float part = exponentiate_row(x, visible, scale, raised, to);
      std::fill(to + visible, to + scores.cols, T{0});
      if (is_first) {
        sum = part;
      } else {
        const float old = std::exp(maximum - raised);
        sum = sum * old + part;
        if (old != 1) multiply_row(row_of<float>(out, row), out.cols, old);
      }
      maximum = raised;
    }
  });
}

void finish_softmax_rows(const Matrix& sums, const RunningSoftmax& running, const Matrix& out,
                         const Matrix& log_sum_exp) {
  with_type(out.dtype, [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    for (std::int64_t row = 0; row < sums.rows; ++row) {
      const float* from = row_of<float>(sums, row);
      T* to = row_of<T>(out, row);
      const Floats inverse = all(1 / running.sum[row]);
      over(sums.cols, [&](std::size_t i, auto io)
                          HWY_ATTR { io.store(hn::Mul(io.load(from + i), inverse), to + i); });
      *row_of<float>(log_sum_exp, row) = running.maximum[row] + std::log(running.sum[row]);
    }
  });
}

void softmax_from_log_sum_rows(const Matrix& scores, float scale, std::int64_t first_visible,
                               const Matrix& log_sum_exp, const float* means,
                               const Matrix& d_probabilities, const Matrix& probabilities,
                               const Matrix& d_scores) {
  with_type(probabilities.dtype, [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    const Floats scales = all(scale);
    for (std::int64_t row = 0; row < scores.rows; ++row) {
      const float* x = row_of<float>(scores, row);
      const float* d = row_of<float>(d_probabilities, row);
      T* to_p = row_of<T>(probabilities, row);
      T* to_d = row_of<T>(d_scores, row);
      const std::int64_t visible = visible_of(scores, first_visible, row);
      const Floats log_sum = all(*row_of<float>(log_sum_exp, row)), mean = all(means[row]);
      over(visible, [&](std::size_t i, auto io) HWY_ATTR {
        const Floats p = exponential(hn::MulSub(io.load(x + i), scales, log_sum));
        const Floats d_score = hn::Mul(hn::Mul(p, scales), hn::Sub(io.load(d + i), mean));
        io.store(p, to_p + i);
        io.store(d_score, to_d + i);
      });
      std::fill(to_p + visible, to_p + scores.cols, T{0});
      std::fill(to_d + visible, to_d + scores.cols, T{0});
    }
  });
}

void row_dots_rows(const Matrix& a, const Matrix& b, float* dots) {
  with_type(a.dtype, [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    for (std::int64_t row = 0; row < a.rows; ++row) {
      const T* from_a = row_of<T>(a, row);
      const T* from_b = row_of<T>(b, row);
      Floats sum = zeros();
      over(a.cols, [&](std::size_t i, auto io) HWY_ATTR {
        sum = hn::MulAdd(io.load(from_a + i), io.load(from_b + i), sum);
      });
      dots[row] = sum_of(sum);
    }
  });
}

void softmax_rows(const Matrix& scores, std::int64_t first_visible, const Matrix& probabilities) {
  with_type(scores.dtype, [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    for (std::int64_t row = 0; row < scores.rows; ++row) {
      const T* x = row_of<T>(scores, row);
      T* to = row_of<T>(probabilities, row);
      const std::int64_t visible = visible_of(scores, first_visible, row);
      const Floats highest = all(maximum_of_row(x, visible));
      Floats sum = zeros();
      over(visible, [&](std::size_t i, auto io) HWY_ATTR {
        sum = hn::Add(sum, io.keep(exponential(hn::Sub(io.load(x + i), highest)), zeros()));
      });
      const Floats inverse = all(1 / sum_of(sum));
      over(visible, [&](std::size_t i, auto io) HWY_ATTR {
        const Floats e = exponential(hn::Sub(io.load(x + i), highest));
        io.store(hn::Mul(e, inverse), to + i);
      });
      std::fill(to + visible, to + scores.cols, T{0});
    }
  });
}

void softmax_backward_rows(const Matrix& probabilities, const Matrix& d_probabilities,
                           const Matrix& d_scores) {
  with_type(probabilities.dtype, [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    for (std::int64_t row = 0; row < probabilities.rows; ++row) {
      const T* p = row_of<T>(probabilities, row);
      const T* d = row_of<T>(d_probabilities, row);
      T* to = row_of<T>(d_scores, row);
      Floats sum = zeros();
      over(probabilities.cols, [&](std::size_t i, auto io) HWY_ATTR {
        sum = hn::MulAdd(io.load(p + i), io.load(d + i), sum);
      });
      const Floats mean = all(sum_of(sum));
      over(probabilities.cols, [&](std::size_t i, auto io) HWY_ATTR {
        io.store(hn::Mul(io.load(p + i), hn::Sub(io.load(d + i), mean)), to + i);
      });
    }
  });
}

void mask_rows(const Matrix& in, std::int64_t first_visible, float hidden, const Matrix& out) {
  with_type(in.dtype, [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    T filler[1];
    Some{1}.store(all(hidden), filler);
    for (std::int64_t row = 0; row < in.rows; ++row) {
      const T* from = row_of<T>(in, row);
      T* to = row_of<T>(out, row);
      const std::int64_t visible = visible_of(in, first_visible, row);
      std::copy(from, from + visible, to);
      std::fill(to + visible, to + in.cols, filler[0]);
    }
  });
}

}  // namespace kumihimo::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kumihimo::cpu {
namespace {

HWY_EXPORT(online_softmax_rows);
HWY_EXPORT(finish_softmax_rows);
HWY_EXPORT(softmax_from_log_sum_rows);
HWY_EXPORT(row_dots_rows);
HWY_EXPORT(softmax_rows);
HWY_EXPORT(softmax_backward_rows);
HWY_EXPORT(mask_rows);

}  // namespace

void online_softmax(const Matrix& scores, float scale, std::int64_t first_visible, bool is_first,
                    const RunningSoftmax& running, const Matrix& out, const Matrix& exponentials) {
  HWY_DYNAMIC_DISPATCH(online_softmax_rows)
  (scores, scale, first_visible, is_first, running, out, exponentials);
}

void finish_softmax(const Matrix& sums, const RunningSoftmax& running, const Matrix& out,
                    const Matrix& log_sum_exp) {
  HWY_DYNAMIC_DISPATCH(finish_softmax_rows)(sums, running, out, log_sum_exp);
}

void softmax_from_log_sum(const Matrix& scores, float scale, std::int64_t first_visible,
                          const Matrix& log_sum_exp, const float* means,
                          const Matrix& d_probabilities, const Matrix& probabilities,
                          const Matrix& d_scores) {
  HWY_DYNAMIC_DISPATCH(softmax_from_log_sum_rows)
  (scores, scale, first_visible, log_sum_exp, means, d_probabilities, probabilities, d_scores);
}

void row_dots(const Matrix& a, const Matrix& b, float* dots) {
  HWY_DYNAMIC_DISPATCH(row_dots_rows)(a, b, dots);
}

void softmax(const Matrix& scores, std::int64_t first_visible, const Matrix& probabilities) {
  HWY_DYNAMIC_DISPATCH(softmax_rows)(scores, first_visible, probabilities);
}

void softmax_backward(const Matrix& probabilities, const Matrix& d_probabilities,
                      const Matrix& d_scores) {
  HWY_DYNAMIC_DISPATCH(softmax_backward_rows)(probabilities, d_probabilities, d_scores);
}

void mask(const Matrix& in, std::int64_t first_visible, float hidden, const Matrix& out) {
  HWY_DYNAMIC_DISPATCH(mask_rows)(in, first_visible, hidden, out);
}

}  // namespace kumihimo::cpu
#endif

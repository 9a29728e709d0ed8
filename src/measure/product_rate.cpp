#include "measure/product_rate.hpp"

#include <algorithm>
#include <random>
#include <vector>

namespace kumihimo {
namespace {

constexpr double long_enough_s = 0.02;
constexpr double measured_for_s = 0.1;  ///< for each size

/// Square products of one thread, each of 2 side^3 FLOPs.
class TimedProduct {
 public:
  TimedProduct(Kernels& kernels, Workspace& workspace, std::int64_t side, DType dtype, int at_once)
      : kernels_(kernels),
        scope_(workspace),
        a_(workspace.take(side, side, dtype)),
        b_(workspace.take(side, side, dtype)),
        c_(workspace.take(side, side, dtype == DType::fp8_e4m3 ? DType::bf16 : dtype)),
        at_once_(at_once),
        flop_(2.0 * at_once * static_cast<double>(side * side * side)) {
    // Not a constant: a GPU that switches few bits stays cooler and runs faster than it ever will.
    for (const Matrix& x : {a_, b_}) fill_at_random(x, workspace);
  }

  double seconds(const std::function<double()>& now_s) {
    const double begin_s = now_s();
    for (int i = 0; i < at_once_; ++i) {
      kernels_.matmul(a_, Transpose::no, b_, Transpose::yes, c_, Accumulate::no);
    }
    return now_s() - begin_s;
  }

  /// The best of `measured_for_s`, FLOP/s: what disturbs a product only slows it.
  double rate(const std::function<double()>& now_s) {
    const double begin_s = now_s();
    double best = 0;
    do {
      best = std::max(best, flop_ / seconds(now_s));
    } while (now_s() - begin_s < measured_for_s);
    return best;
  }

 private:
  void fill_at_random(const Matrix& x, Workspace& workspace) {
    std::vector<float> values(static_cast<std::size_t>(x.elements()));
    std::minstd_rand random(1);
    for (float& value : values) {
      value = static_cast<float>(random()) / static_cast<float>(std::minstd_rand::max()) - 0.5f;
    }
    const Workspace::Scope scope(workspace);
    const Matrix uploaded = workspace.take(x.rows, x.cols, DType::fp32);
    kernels_.upload(values.data(), uploaded);
    if (x.dtype == DType::fp8_e4m3) {
      const Fp8Cast cast{workspace.take(1, 2, DType::fp32), workspace.take(1, 1, DType::fp32),
                         workspace.take(1, 3, DType::fp64)};
      kernels_.fill(cast.scales, 1);
      kernels_.fill(cast.maximum, 0);
      kernels_.fill(cast.counts, 0);
      kernels_.cast_to_fp8(uploaded, Transpose::no, cast, x);
    } else {
      kernels_.copy(uploaded, x);
    }
  }

  Kernels& kernels_;
  Workspace::Scope scope_;
  Matrix a_, b_, c_;
  int at_once_;
  double flop_;
};

}  // namespace

double best_product_rate(Kernels& kernels, Workspace& workspace, DType dtype,
                         const std::function<double()>& now_s, const ProductSizes& sizes) {
  double best = 0;
  for (std::int64_t side = 64; side <= sizes.largest_side; side *= 2) {
    TimedProduct product(kernels, workspace, side, dtype, sizes.at_once);
    product.seconds(now_s);  // the first of a size compiles its code
    const bool last = product.seconds(now_s) >= long_enough_s || side == sizes.largest_side;
    if (side >= sizes.smallest_side || last) best = std::max(best, product.rate(now_s));
    if (last) break;
  }
  return best;
}

}  // namespace kumihimo

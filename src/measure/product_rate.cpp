#include "measure/product_rate.hpp"

#include <algorithm>

#include "measure/random_values.hpp"

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
    for (const Matrix& x : {a_, b_}) fill_at_random(kernels, workspace, x);
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

#include "measure/product_rate.hpp"

#include <algorithm>

namespace kumihimo {
namespace {

/// Larger products run no faster; smaller ones are for slow back ends.
constexpr std::int64_t smallest_side = 256, largest_side = 1024;
constexpr double long_enough_s = 0.02;
constexpr double measured_for_s = 0.1;  ///< for each size

/// Square products of one thread, each of 2 side^3 FLOPs.
class TimedProduct {
 public:
  TimedProduct(Kernels& kernels, Workspace& workspace, std::int64_t side, DType dtype)
      : kernels_(kernels),
        scope_(workspace),
        a_(workspace.take(side, side, dtype)),
        b_(workspace.take(side, side, dtype)),
        c_(workspace.take(side, side, dtype)),
        flop_(2.0 * static_cast<double>(side * side * side)) {
    for (const Matrix& x : {a_, b_, c_}) kernels.fill(x, 0.5f);
  }

  double seconds(const std::function<double()>& now_s) {
    const double begin_s = now_s();
    kernels_.matmul(a_, Transpose::no, b_, Transpose::yes, c_, Accumulate::no);
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
  double flop_;
};

}  // namespace

double best_product_rate(Kernels& kernels, Workspace& workspace, DType dtype,
                         const std::function<double()>& now_s) {
  double best = 0;
  for (std::int64_t side = 64; side <= largest_side; side *= 2) {
    TimedProduct product(kernels, workspace, side, dtype);
    product.seconds(now_s);  // the first of a size compiles its code
    const bool last = product.seconds(now_s) >= long_enough_s || side == largest_side;
    if (side >= smallest_side || last) best = std::max(best, product.rate(now_s));
    if (last) break;
  }
  return best;
}

}  // namespace kumihimo

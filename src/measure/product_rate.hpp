#pragma once

#include <cstdint>
#include <functional>

#include "tensor/kernels.hpp"

namespace kumihimo {

/// What products are tried.
struct ProductSizes {
  std::int64_t smallest_side = 256;  ///< smaller ones are for slow back ends
  std::int64_t largest_side = 1024;  ///< larger ones run no faster
  int at_once = 1;                   ///< given to the back end before the clock is read
};
/// Of a GPU: its products are short beside the time that it takes to wait for it.
inline constexpr ProductSizes products_of_gpus{2048, 8192, 10};

/// FLOP/s of the best matrix product of `kernels` among square ones of several sizes: which size is
/// best differs between processors, precisions and back ends. Takes some tenths of a second.
/// Operands are random. `now_s`: any clock, in seconds, that waits for what the kernels were given.
double best_product_rate(Kernels& kernels, Workspace& workspace, DType dtype,
                         const std::function<double()>& now_s, const ProductSizes& sizes = {});

}  // namespace kumihimo

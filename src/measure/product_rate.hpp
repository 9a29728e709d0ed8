#pragma once

#include <functional>

#include "tensor/kernels.hpp"

namespace kumihimo {

/// FLOP/s of the best matrix product of `kernels` among square ones of several sizes: which size is
/// best differs between processors, precisions and back ends. Takes some tenths of a second.
/// `now_s`: any clock, in seconds.
double best_product_rate(Kernels& kernels, Workspace& workspace, DType dtype,
                         const std::function<double()>& now_s);

}  // namespace kumihimo

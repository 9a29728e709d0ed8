#pragma once

#include "tensor/kernels.hpp"

namespace kumihimo {

/// Fills a contiguous matrix, fp32, bf16 or fp8_e4m3, with random numbers between -1/2 and 1/2:
/// what is timed is not to be a constant, since a GPU that switches few bits stays cooler and runs
/// faster than it ever will. The same numbers every time, and again after a million of them: making
/// more would take the host longer than the product of two matrices takes a GPU.
void fill_at_random(Kernels& kernels, Workspace& workspace, const Matrix& x);

}  // namespace kumihimo

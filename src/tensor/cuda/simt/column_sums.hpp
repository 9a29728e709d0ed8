#pragma once

#include "tensor/cuda/simt_kernels.hpp"

namespace KUMIHIMO_CUDA_NAMESPACE {

// Sums over tokens, as gradients of weights and biases need them. Blocks of rows are summed apart,
// then their sums in order: blocks follow from the shape alone.

/// sums, fp32 [1, cols], += the sum of x's rows, each multiplied by its row of `factor` unless that
/// is empty. x and factor: fp32 or bf16, of one dtype.
void add_column_sums(Stream stream, Workspace& workspace, const Matrix& x, const Matrix& factor,
                     const Matrix& sums);

}  // namespace KUMIHIMO_CUDA_NAMESPACE

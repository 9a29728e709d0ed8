#pragma once

#include <cuda_runtime_api.h>

#include "tensor/matrix.hpp"

namespace kumihimo::cuda {

/// out, of the same fp8 format, becomes in^T. Strides may differ from the widths.
void transpose_fp8(const Matrix& in, const Matrix& out, cudaStream_t stream);

/// out, bf16, becomes in: every number of both fp8 formats is one of bf16.
void widen_fp8(const Matrix& in, const Matrix& out, cudaStream_t stream);

}  // namespace kumihimo::cuda

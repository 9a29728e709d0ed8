#pragma once

#include "tensor/cpu/team.hpp"
#include "tensor/matrix.hpp"

namespace kumihimo::cpu {

// Element-wise operations that other kernels use too. Shapes are equal.

/// As Kernels::copy.
void copy(const Team& team, const Matrix& in, const Matrix& out);
/// As Kernels::fill.
void fill(const Team& team, const Matrix& x, float value);
/// fp8 to bf16, or bf16 to fp32: exact.
void widen(const Team& team, const Matrix& in, const Matrix& out);

/// The one that vector code was chosen for: "AVX3".
const char* instruction_set();

}  // namespace kumihimo::cpu

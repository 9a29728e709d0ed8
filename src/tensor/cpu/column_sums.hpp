#pragma once

#include <cstdint>

#include "tensor/cpu/team.hpp"
#include "tensor/device_memory.hpp"

namespace kumihimo::cpu {

// Sums over tokens, as gradients of weights and biases need them. Each block of rows is summed by
// one thread, and the sums of blocks are added in their order: blocks follow from the shape alone.

inline constexpr std::int64_t rows_per_block = 64;

constexpr std::int64_t blocks_of(std::int64_t rows) {
  return (rows + rows_per_block - 1) / rows_per_block;
}

/// Rows of block `block`; empty stays empty.
Matrix block_of(const Matrix& matrix, std::int64_t block);

/// sums, fp32 [1, cols], += the sum of x's rows, each multiplied by its row of `factor` unless that
/// is empty. x and factor: fp32 or bf16, of one dtype.
void add_column_sums(const Team& team, Workspace& workspace, const Matrix& x, const Matrix& factor,
                     const Matrix& sums);

/// sums += the rows of `partial`, one of each block, in their order. On the calling thread.
void add_blocks(const Matrix& partial, const Matrix& sums);

}  // namespace kumihimo::cpu

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "comm/process_group.hpp"

namespace kumihimo {

/// What one member reduces of a matrix that all of them reduce together: the ranges of all members
/// cover `elements` without overlap. They begin at multiples of 64 elements, so that no two members
/// write to one cache line; some may be empty.
ElementRange share_of(std::int64_t elements, int rank, int size);

/// outputs[k][i] = ((inputs[0][i] + inputs[1][i]) + inputs[2][i]) ... for every i of `range` and
/// every k: inputs stand in rank order. An output may be one of the inputs. bf16 is summed in fp32
/// and rounded once, to nearest even; int32 wraps around; a maximum with a NaN is a NaN.
/// Requires fp64, fp32, bf16 or int32.
void reduce_in_rank_order(std::span<const std::byte* const> inputs,
                          std::span<std::byte* const> outputs, ElementRange range, DType dtype,
                          Reduction reduction);

}  // namespace kumihimo

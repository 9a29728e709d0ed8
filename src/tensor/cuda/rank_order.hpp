#pragma once

#include <cstddef>
#include <cuda_runtime_api.h>
#include <span>

#include "tensor/device_queue.hpp"

namespace kumihimo::cuda {

/// DeviceQueue::reduce on a stream: the sums of comm/rank_order.hpp, bit for bit. Any number of
/// inputs and outputs, all memory that the stream's GPU can reach; an output may be an input.
void reduce_on_device(std::span<const std::byte* const> inputs, std::span<std::byte* const> outputs,
                      ElementRange range, DType dtype, Reduction reduction, cudaStream_t stream);

/// Whether this module holds code for the calling thread's GPU.
bool has_code_for_device();

}  // namespace kumihimo::cuda

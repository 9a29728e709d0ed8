#pragma once

#include "cost/memory.hpp"
#include "simulator/predict.hpp"

namespace kumihimo {

/// Memory of the rank that needs most.
const MemoryUse& fullest_rank(const Prediction& prediction);

/// Whether `heavy` needs at least as much as `light` in every category of device memory. Then it
/// needs as much whatever a category's true size is as a multiple of the predicted one: where the
/// light layout ran out of memory, the heavy one does too.
bool at_least_as_heavy(const MemoryUse& heavy, const MemoryUse& light);

}  // namespace kumihimo

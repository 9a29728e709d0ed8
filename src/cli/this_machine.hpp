#pragma once

#include <cstdint>

#include "cluster/cluster.hpp"

namespace kumihimo {

/// This machine, or several like it, as validate wants a cluster: a device for each of `ranks`,
/// of architecture "cpu", that trains in fp32, bf16 and fp8. Its rates are round figures that say
/// what is supported, not how fast it is.
Cluster this_machine(std::int64_t ranks);

}  // namespace kumihimo

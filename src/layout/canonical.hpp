#pragma once

#include "layout/parallel_layout.hpp"

namespace kumihimo {

/// The one spelling of a layout among those that run alike: a knob without effect takes its default
/// (ZeRO on one replica, sequence parallelism on one tensor rank, a schedule without a pipeline, a
/// layer split that is the even one, ...), so that a search never lists twins.
/// Virtual stages belong to the interleaved schedule and are dropped from any other.
ParallelLayout canonical(ParallelLayout layout);

}  // namespace kumihimo

#pragma once

#include <memory>

#include "engine/step_recorder.hpp"
#include "tensor/kernels.hpp"

namespace kumihimo {

/// The kernels, with the time of every call noted by its kind.
std::unique_ptr<Kernels> measured(std::unique_ptr<Kernels> kernels, StepRecorder& recorder);

}  // namespace kumihimo

#pragma once

#include <memory>

#include "comm/world.hpp"
#include "engine/step_recorder.hpp"

namespace kumihimo {

/// The group, with the time that its calls take noted as `activity`. Groups of one rank take none
/// and are handed back as they are.
std::unique_ptr<ProcessGroup> measured(std::unique_ptr<ProcessGroup> group, StepRecorder& recorder,
                                       Activity activity);

/// The stream, with what the rank waits for it noted as exposed data communication.
std::unique_ptr<CommunicationStream> measured(std::unique_ptr<CommunicationStream> stream,
                                              StepRecorder& recorder);

}  // namespace kumihimo

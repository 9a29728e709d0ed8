#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <utility>

#include "comm/communication_clock.hpp"
#include "comm/queued_stream.hpp"
#include "tensor/gpu.hpp"

namespace kumihimo {

/// The queues of a GPU on which communication streams run beside the rank's own. Outlives the
/// streams.
class BesideQueues {
 public:
  /// A stream on a new queue. `rank_clock` and `give_up`: as QueuedStream has them.
  std::unique_ptr<CommunicationStream> make_stream(Gpu& gpu, CommunicationClock& rank_clock,
                                                   std::function<void()> give_up) {
    Beside& beside = queues_.emplace_back(gpu.make_queue());
    return std::make_unique<QueuedStream>(rank_clock, beside.clock, gpu.queue(), *beside.queue,
                                          std::move(give_up));
  }

 private:
  struct Beside {
    explicit Beside(std::unique_ptr<DeviceQueue> made) : queue(std::move(made)), clock(*queue) {}
    std::unique_ptr<DeviceQueue> queue;
    DeviceClock clock;
  };

  std::deque<Beside> queues_;  ///< a deque, since streams refer to them
};

}  // namespace kumihimo

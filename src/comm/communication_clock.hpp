#pragma once

#include <chrono>

#include "comm/world.hpp"

namespace kumihimo {

/// A clock as the back ends see it: communication may move it and is not computing. A wall clock
/// moves by itself and needs none of this. For one thread.
class CommunicationClock : public RankClock {
 public:
  /// Something that ends at `time_s` has been waited for.
  virtual void advance_to(double time_s) = 0;
  /// What the thread does between the two is communication, not computing. They may nest.
  virtual void begin_communication() = 0;
  virtual void end_communication() = 0;
};

/// A call into the communication layer, for as long as it lasts.
class CommunicationCall {
 public:
  explicit CommunicationCall(CommunicationClock& clock) : clock_(clock) {
    clock_.begin_communication();
  }
  ~CommunicationCall() { clock_.end_communication(); }
  CommunicationCall(const CommunicationCall&) = delete;
  CommunicationCall& operator=(const CommunicationCall&) = delete;

 private:
  CommunicationClock& clock_;
};

class WallClock final : public CommunicationClock {
 public:
  double now_s() override {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }
  void advance_to(double /*time_s*/) override {}
  void begin_communication() override {}
  void end_communication() override {}
};

/// The clock of a GPU, read off points of a queue, as seconds of the wall clock.
class DeviceClock final : public CommunicationClock {
 public:
  explicit DeviceClock(DeviceQueue& queue) : queue_(queue) {}

  double now_s() override {
    settle();
    return zero_s_;
  }
  Moment mark() override { return {0, queue_.timed_point()}; }
  void settle() override {
    // A zero that is never old: the GPU tells differences in milliseconds of 24 bits.
    zero_ = queue_.timed_point();
    queue_.synchronize();
    zero_s_ = WallClock().now_s();
  }
  double seconds_at(const Moment& moment) override {
    KUMIHIMO_CHECK(moment.point && zero_);
    return zero_s_ - zero_->seconds_since(*moment.point);
  }
  void advance_to(double /*time_s*/) override {}
  void begin_communication() override {}
  void end_communication() override {}

 private:
  DeviceQueue& queue_;
  std::shared_ptr<const DeviceQueue::Point> zero_;
  double zero_s_ = 0;
};

}  // namespace kumihimo

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

}  // namespace kumihimo

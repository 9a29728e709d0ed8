#pragma once

#include <algorithm>

#include "comm/communication_clock.hpp"

namespace kumihimo {

/// The time of a communication stream: moved by what it waits for, and by nothing else.
class VirtualClock : public CommunicationClock {
 public:
  double now_s() override { return now_s_; }
  void advance_to(double time_s) override { now_s_ = std::max(now_s(), time_s); }
  void begin_communication() override {}
  void end_communication() override {}

 protected:
  double now_s_ = 0;
};

/// The time of a rank: runs on with the processor time of the thread that made it, outside of
/// communication.
class ComputeClock final : public VirtualClock {
 public:
  ComputeClock();
  double now_s() override;
  void begin_communication() override;
  void end_communication() override;

 private:
  double counted_until_s_;  ///< processor time of the thread that now_s_ includes
  int calls_ = 0;           ///< communication calls that the thread is in
};

}  // namespace kumihimo

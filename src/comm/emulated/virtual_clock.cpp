#include "comm/emulated/virtual_clock.hpp"

#include <ctime>

namespace kumihimo {
namespace {

double processor_time_of_this_thread_s() {
  timespec time{};
  KUMIHIMO_CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

}  // namespace

ComputeClock::ComputeClock() : counted_until_s_(processor_time_of_this_thread_s()) {}

double ComputeClock::now_s() {
  if (calls_ == 0) {
    const double processor_s = processor_time_of_this_thread_s();
    now_s_ += processor_s - counted_until_s_;
    counted_until_s_ = processor_s;
  }
  return now_s_;
}

void ComputeClock::begin_communication() {
  now_s();
  ++calls_;
}

void ComputeClock::end_communication() {
  if (--calls_ == 0) counted_until_s_ = processor_time_of_this_thread_s();
}

}  // namespace kumihimo

#include "engine/recorded_passes.hpp"

#include <algorithm>

#include "base/check.hpp"

namespace kumihimo {

void RecordedPasses::run(const PassKey& key, const std::function<void()>& work) {
  if (queue_ == nullptr) return work();
  Known& known = known_[{key, workspace_.next()}];
  if (!known.settled) {
    const std::int64_t before = memory_.allocations();
    work();
    known.settled = memory_.allocations() == before;
    return;
  }
  if (!known.work) {
    const StepRecorder::Pause pause(recorder_);
    known.work = queue_->record(work);
    KUMIHIMO_CHECK(known.work != nullptr);
  }
  const StepRecorder::Span span(recorder_, Activity::recorded);
  known.work->run();
}

std::size_t RecordedPasses::recordings() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(known_, [](const auto& each) { return each.second.work != nullptr; }));
}

}  // namespace kumihimo

#include "engine/offloaded_states.hpp"

#include <algorithm>

#include "comm/host_queue.hpp"
#include "layout/parallel_layout.hpp"

namespace kumihimo {
namespace {

std::unique_ptr<DeviceQueue> make_queue(Gpu* gpu) {
  if (gpu != nullptr) return gpu->make_queue();
  return std::make_unique<HostQueue>();
}

}  // namespace

OffloadedStates::OffloadedStates(std::int64_t kinds, std::int64_t elements, std::int64_t portion,
                                 const RankMemory& memory, StepRecorder& recorder)
    : kinds_(kinds),
      elements_(elements),
      portion_(std::min(portion, elements)),
      recorder_(recorder),
      host_(memory.host, MemoryCategory::optimizer, kinds * elements * bytes_of(DType::fp32)),
      device_(memory.device, MemoryCategory::optimizer,
              kinds * offload_room(elements, portion) * bytes_of(DType::fp32)),
      host_queue_(memory.gpu == nullptr ? std::make_unique<HostQueue>() : nullptr),
      own_(memory.gpu == nullptr ? *host_queue_ : memory.gpu->queue()),
      fetching_(make_queue(memory.gpu)),
      writing_(make_queue(memory.gpu)) {
  slots_.resize(static_cast<std::size_t>(std::min<std::int64_t>(offload_slots, portions())));
  // Memory is the rank's own queue's to give.
  fetching_->wait_for(own_.point());
}

OffloadedStates::~OffloadedStates() {
  try {
    synchronize();
  } catch (const std::exception&) {
    // The device has failed, or another rank: whoever waits for it next is told.
  }
}

std::int64_t OffloadedStates::portions() const {
  return elements_ == 0 ? 0 : (elements_ + portion_ - 1) / portion_;
}

ElementRange OffloadedStates::range_of(std::int64_t portion) const {
  const std::int64_t first = portion * portion_;
  return {first, std::min(portion_, elements_ - first)};
}

OffloadedStates::Slot& OffloadedStates::slot_of(std::int64_t portion) {
  return slots_[static_cast<std::size_t>(portion) % slots_.size()];
}

Matrix OffloadedStates::on_device(std::int64_t portion, std::int64_t kind) const {
  const auto slots = std::ssize(slots_);
  const Matrix all = matrix_at(device_.data(), slots * kinds_, portion_, DType::fp32);
  return cols_of(rows_of(all, portion % slots * kinds_ + kind, 1), 0, range_of(portion).count);
}

Matrix OffloadedStates::on_host(std::int64_t portion, std::int64_t kind) const {
  const Matrix all = matrix_at(host_.data(), kinds_, elements_, DType::fp32);
  const ElementRange range = range_of(portion);
  return cols_of(rows_of(all, kind, 1), range.first, range.count);
}

void OffloadedStates::fetch(std::int64_t portion) {
  Slot& slot = slot_of(portion);
  slot.portion = portion;
  fetching_->wait_for(slot.written);
  for (std::int64_t kind = 0; kind < kinds_; ++kind) {
    const Matrix from = on_host(portion, kind);
    fetching_->copy(from.data, on_device(portion, kind).data, from.bytes());
  }
  slot.fetched = fetching_->point();
}

void OffloadedStates::write_back(std::int64_t portion) {
  Slot& slot = slot_of(portion);
  writing_->wait_for(own_.point());
  for (std::int64_t kind = 0; kind < kinds_; ++kind) {
    const Matrix from = on_device(portion, kind);
    writing_->copy(from.data, on_host(portion, kind).data, from.bytes());
  }
  slot.written = writing_->point();
}

void OffloadedStates::fetch_first() {
  const StepRecorder::Span span(recorder_, Activity::optimizer);
  for (std::int64_t portion = 0; portion < std::ssize(slots_); ++portion) {
    if (slot_of(portion).portion < 0) fetch(portion);
  }
}

void OffloadedStates::update(std::int64_t portion, const std::function<void()>& give_update) {
  {
    const StepRecorder::Span span(recorder_, Activity::optimizer);
    if (slot_of(portion).portion != portion) fetch(portion);
    own_.wait_for(slot_of(portion).fetched);
  }
  give_update();
  const StepRecorder::Span span(recorder_, Activity::optimizer);
  write_back(portion);
  const std::int64_t next = portion + std::ssize(slots_);
  fetch(next < portions() ? next : portion % std::ssize(slots_));
}

void OffloadedStates::synchronize() {
  fetching_->synchronize();
  writing_->synchronize();
}

Matrix OffloadedStates::in_host_memory(std::int64_t kind) {
  synchronize();
  for (Slot& slot : slots_) slot.portion = -1;  // the host may change what was fetched
  return rows_of(matrix_at(host_.data(), kinds_, elements_, DType::fp32), kind, 1);
}

}  // namespace kumihimo

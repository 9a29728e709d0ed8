#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "engine/step_recorder.hpp"
#include "tensor/device_memory.hpp"
#include "tensor/gpu.hpp"

namespace kumihimo {

/// Where a rank has memory, and what moves bytes between it.
struct RankMemory {
  DeviceMemory& device;
  DeviceMemory& host;  ///< that `gpu` reaches by itself; apart from the device's budget
  Gpu* gpu;            ///< null: device memory is the host's, too
};

/// Optimizer states that live in host memory, and pass through a fixed buffer on the device while
/// they are updated (as ZeRO-Offload moves them, Ren et al. 2021, arXiv:2101.06840, but for the
/// update, which is the device's here). The buffer has room for a few portions of the states: one
/// is fetched and one written back while another is updated, on two queues beside the rank's own.
/// Portions take their places in turn, round after round: as soon as one is written back, the next
/// to use its place is fetched. The thread of the rank never waits for a copy within a step.
class OffloadedStates {
 public:
  /// `kinds` states of `elements` fp32 numbers each, all zero. `portion`: elements of each that
  /// pass together. Throws OutOfMemory.
  OffloadedStates(std::int64_t kinds, std::int64_t elements, std::int64_t portion,
                  const RankMemory& memory, StepRecorder& recorder);
  /// Waits for the copies under way.
  ~OffloadedStates();
  OffloadedStates(const OffloadedStates&) = delete;
  OffloadedStates& operator=(const OffloadedStates&) = delete;

  std::int64_t portions() const;
  std::int64_t portion_of(std::int64_t element) const { return element / portion_; }
  /// The elements of a portion.
  ElementRange range_of(std::int64_t portion) const;
  /// Where a portion's state, fp32 [1, count], is while it is updated.
  Matrix on_device(std::int64_t portion, std::int64_t kind) const;

  /// Begins to fetch what is first updated. Call at the beginning of a step: copies then run behind
  /// it.
  void fetch_first();
  /// Calls give_update(), which gives the device work on on_device(portion, ...). Fastest when a
  /// round goes through all portions in their order.
  void update(std::int64_t portion, const std::function<void()>& give_update);

  /// The whole of a state, fp32 [1, elements], for the host to read and write between steps.
  /// Synchronizes.
  Matrix in_host_memory(std::int64_t kind);
  /// Waits for all copies. Throws what the device's watch throws (tensor/gpu.hpp).
  void synchronize();

 private:
  using Point = std::shared_ptr<const DeviceQueue::Point>;
  /// A portion's room on the device.
  struct Slot {
    std::int64_t portion = -1;  ///< that is there, or on its way; -1: none
    Point fetched;
    Point written;
  };

  Slot& slot_of(std::int64_t portion);
  Matrix on_host(std::int64_t portion, std::int64_t kind) const;
  void fetch(std::int64_t portion);
  void write_back(std::int64_t portion);

  std::int64_t kinds_;
  std::int64_t elements_;
  std::int64_t portion_;
  StepRecorder& recorder_;
  Buffer host_;    ///< [kinds, elements]
  Buffer device_;  ///< [slots, kinds, portion]
  std::vector<Slot> slots_;
  std::unique_ptr<DeviceQueue> host_queue_;  ///< of a rank without a GPU
  DeviceQueue& own_;
  std::unique_ptr<DeviceQueue> fetching_;
  std::unique_ptr<DeviceQueue> writing_;
};

}  // namespace kumihimo

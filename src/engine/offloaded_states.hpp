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
/// The thread of the rank never waits for a copy within a step: the first portions are fetched
/// from the beginning of the step on, and the last are written back behind what follows the update.
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

  /// Call at the beginning of a step.
  void begin_step();
  /// Calls update(portion) for each in its order; it gives the device work on on_device(portion,
  /// ...).
  void update_all(const std::function<void(std::int64_t portion)>& update);

  /// The whole of a state, fp32 [1, elements], for the host to read and write between steps. Waits
  /// for what the last update writes back.
  Matrix in_host_memory(std::int64_t kind);

 private:
  using Point = std::shared_ptr<const DeviceQueue::Point>;
  /// A portion's room on the device.
  struct Slot {
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

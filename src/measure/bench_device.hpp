#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "comm/communication_clock.hpp"
#include "measure/thread_clock.hpp"
#include "tensor/gpu.hpp"

namespace kumihimo {

/// What kernels are measured on: a core of this machine, by the processor time of the calling
/// thread, or a GPU, by its own events.
class BenchDevice {
 public:
  /// `gpu` null: a core.
  explicit BenchDevice(Gpu* gpu)
      : gpu_(gpu),
        memory_(memory_of(gpu)),
        workspace_(memory_),
        lead_(memory_, MemoryCategory::workspace, gpu != nullptr ? 2 * lead_bytes : 0) {
    if (gpu_ != nullptr) {
      kernels_ = gpu_->make_kernels(workspace_);
      clock_ = std::make_unique<DeviceClock>(gpu_->queue());
    } else if (auto kernels = make_cpu_kernels(workspace_, 1)) {
      kernels_ = std::move(*kernels);
    }
  }

  /// Whether the program has kernels for it.
  bool possible() const { return kernels_ != nullptr; }
  bool is_gpu() const { return gpu_ != nullptr; }
  Gpu* gpu() { return gpu_; }
  Kernels& kernels() { return *kernels_; }
  Workspace& workspace() { return workspace_; }

  double now_s() { return clock_ ? clock_->now_s() : thread_seconds(); }

  /// Seconds that the work itself takes, once, on what lies in the device's memory.
  double time(const std::function<void()>& work) {
    if (!clock_) {
      const double begin_s = thread_seconds();
      work();
      return thread_seconds() - begin_s;
    }
    // A GPU that has nothing to do reaches the beginning at once, and the time that the host takes
    // to give it the work counts as the work's: longer than many a kernel. So it is kept busy until
    // all is given. What the last run has left in its caches goes, too.
    auto* const lead = static_cast<std::byte*>(lead_.data());
    gpu_->queue().copy(lead, lead + lead_bytes, lead_bytes);
    const Moment begin = clock_->mark();
    work();
    const Moment end = clock_->mark();
    clock_->settle();
    return clock_->seconds_at(end) - clock_->seconds_at(begin);
  }

 private:
  /// Several times a GPU's caches; copied in a tenth of a millisecond or more.
  static constexpr Bytes lead_bytes = Bytes{256} << 20;

  Gpu* gpu_;
  DeviceMemory memory_;
  Workspace workspace_;
  Buffer lead_;
  std::unique_ptr<Kernels> kernels_;
  std::unique_ptr<DeviceClock> clock_;
};

}  // namespace kumihimo

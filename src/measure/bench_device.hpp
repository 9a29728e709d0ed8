#pragma once

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
  explicit BenchDevice(Gpu* gpu) : gpu_(gpu), memory_(memory_of(gpu)), workspace_(memory_) {
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

  /// Seconds that the work itself takes, once.
  double time(const std::function<void()>& work) {
    if (!clock_) {
      const double begin_s = thread_seconds();
      work();
      return thread_seconds() - begin_s;
    }
    const Moment begin = clock_->mark();
    work();
    const Moment end = clock_->mark();
    clock_->settle();
    return clock_->seconds_at(end) - clock_->seconds_at(begin);
  }

 private:
  Gpu* gpu_;
  DeviceMemory memory_;
  Workspace workspace_;
  std::unique_ptr<Kernels> kernels_;
  std::unique_ptr<DeviceClock> clock_;
};

}  // namespace kumihimo

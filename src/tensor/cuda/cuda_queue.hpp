#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "tensor/cuda/stream.hpp"
#include "tensor/device_queue.hpp"

namespace kumihimo::cuda {

/// What the queues of one rank's device share.
struct QueueContext {
  explicit QueueContext(int ordinal_)
      : ordinal(ordinal_),
        events(std::make_shared<EventPool>(ordinal_, false)),
        timed_events(std::make_shared<EventPool>(ordinal_, true)) {}

  int ordinal;
  std::shared_ptr<EventPool> events;
  std::shared_ptr<EventPool> timed_events;
  std::function<void(double)> watch;  ///< set_watch's
};

/// A CUDA stream. Every call may come from another thread than the last.
class CudaQueue final : public DeviceQueue {
 public:
  CudaQueue(std::shared_ptr<QueueContext> context, OwnedStream::Priority priority);

  void copy(const void* from, void* to, Bytes bytes) override;
  void reduce(std::span<const std::byte* const> inputs, std::span<std::byte* const> outputs,
              ElementRange range, DType dtype, Reduction reduction) override;
  std::shared_ptr<const Point> point() override;
  std::shared_ptr<const Point> timed_point() override;
  void wait_for(const std::shared_ptr<const Point>& point) override;
  void synchronize() override;
  /// As a CUDA graph, by stream capture.
  std::unique_ptr<RecordedWork> record(const std::function<void()>& give) override;
  void* native() override { return stream_.get(); }

  cudaStream_t stream() const { return stream_.get(); }
  int ordinal() const { return context_->ordinal; }
  const std::shared_ptr<EventPool>& events() const { return context_->events; }
  /// Throws NotRecordable during a recording.
  void refuse_in_recording(std::string_view what) const { state_.refuse(what); }
  /// Waits for an event with the watch kept.
  void wait_on_host(cudaEvent_t event);

 private:
  std::shared_ptr<QueueContext> context_;
  OwnedStream stream_;
  RecordingState state_;
};

}  // namespace kumihimo::cuda

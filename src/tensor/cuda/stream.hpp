#pragma once

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "tensor/cuda/cuda_call.hpp"

namespace kumihimo::cuda {

/// Owns a CUDA stream.
class OwnedStream {
 public:
  enum class Priority { normal, high };

  explicit OwnedStream(int ordinal, Priority priority = Priority::normal) {
    use_device(ordinal);
    int lowest = 0, highest = 0;
    check(cudaDeviceGetStreamPriorityRange(&lowest, &highest));
    check(cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking,
                                       priority == Priority::high ? highest : lowest));
  }
  ~OwnedStream() {
    if (stream_ != nullptr) cudaStreamDestroy(stream_);  // what it holds is still done
  }
  OwnedStream(const OwnedStream&) = delete;
  OwnedStream& operator=(const OwnedStream&) = delete;

  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

/// Events, with or without their time, kept for the next user. For all threads.
class EventPool : public std::enable_shared_from_this<EventPool> {
 public:
  EventPool(int ordinal, bool timed) : ordinal_(ordinal), timed_(timed) {}
  ~EventPool() {
    for (cudaEvent_t event : free_) cudaEventDestroy(event);
  }
  EventPool(const EventPool&) = delete;
  EventPool& operator=(const EventPool&) = delete;

  cudaEvent_t take() {
    {
      const std::lock_guard lock(mutex_);
      if (!free_.empty()) {
        cudaEvent_t event = free_.back();
        free_.pop_back();
        return event;
      }
    }
    use_device(ordinal_);
    cudaEvent_t event = nullptr;
    check(cudaEventCreateWithFlags(&event, timed_ ? cudaEventDefault : cudaEventDisableTiming));
    return event;
  }
  /// An event may be recorded anew while streams still wait for its last recording.
  void give_back(cudaEvent_t event) {
    const std::lock_guard lock(mutex_);
    free_.push_back(event);
  }

 private:
  int ordinal_;
  bool timed_;
  std::mutex mutex_;
  std::vector<cudaEvent_t> free_;
};

/// An event of a pool, given back when it goes.
class PooledEvent {
 public:
  explicit PooledEvent(const std::shared_ptr<EventPool>& pool)
      : pool_(pool), event_(pool->take()) {}
  ~PooledEvent() {
    if (pool_) pool_->give_back(event_);
  }
  PooledEvent(PooledEvent&& other) noexcept
      : pool_(std::move(other.pool_)), event_(std::exchange(other.event_, nullptr)) {}
  PooledEvent& operator=(PooledEvent&& other) noexcept {
    std::swap(pool_, other.pool_);
    std::swap(event_, other.event_);
    return *this;
  }
  PooledEvent(const PooledEvent&) = delete;
  PooledEvent& operator=(const PooledEvent&) = delete;

  cudaEvent_t get() const { return event_; }

 private:
  std::shared_ptr<EventPool> pool_;
  cudaEvent_t event_;
};

}  // namespace kumihimo::cuda

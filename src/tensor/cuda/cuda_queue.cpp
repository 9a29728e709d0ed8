#include "tensor/cuda/cuda_queue.hpp"

#include <chrono>
#include <thread>
#include <utility>

#include "base/check.hpp"
#include "tensor/cuda/rank_order.hpp"

namespace kumihimo::cuda {
namespace {

class CudaPoint final : public DeviceQueue::Point {
 public:
  CudaPoint(const std::shared_ptr<EventPool>& pool, cudaStream_t stream) : event_(pool) {
    check(cudaEventRecord(event_.get(), stream));
  }

  double seconds_since(const Point& earlier) const override {
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, static_cast<const CudaPoint&>(earlier).event_.get(),
                               event_.get()));
    return 1e-3 * static_cast<double>(milliseconds);
  }
  cudaEvent_t event() const { return event_.get(); }

 private:
  PooledEvent event_;
};

}  // namespace

CudaQueue::CudaQueue(std::shared_ptr<QueueContext> context, OwnedStream::Priority priority)
    : context_(std::move(context)), stream_(context_->ordinal, priority) {}

void CudaQueue::copy(const void* from, void* to, Bytes bytes) {
  if (from == to || bytes == 0) return;
  use_device(ordinal());
  check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDefault, stream()));
}

void CudaQueue::reduce(std::span<const std::byte* const> inputs,
                       std::span<std::byte* const> outputs, ElementRange range, DType dtype,
                       Reduction reduction) {
  use_device(ordinal());
  reduce_on_device(inputs, outputs, range, dtype, reduction, stream());
}

std::shared_ptr<const DeviceQueue::Point> CudaQueue::point() {
  use_device(ordinal());
  return std::make_shared<CudaPoint>(context_->events, stream());
}

std::shared_ptr<const DeviceQueue::Point> CudaQueue::timed_point() {
  use_device(ordinal());
  return std::make_shared<CudaPoint>(context_->timed_events, stream());
}

void CudaQueue::wait_for(const std::shared_ptr<const Point>& point) {
  if (!point) return;
  use_device(ordinal());
  check(cudaStreamWaitEvent(stream(), static_cast<const CudaPoint&>(*point).event(), 0));
}

void CudaQueue::synchronize() {
  use_device(ordinal());
  const PooledEvent end(context_->events);
  check(cudaEventRecord(end.get(), stream()));
  wait_on_host(end.get());
}

/// Asks again and again instead of blocking: a collective whose peer is gone would never end.
void CudaQueue::wait_on_host(cudaEvent_t event) {
  using Clock = std::chrono::steady_clock;
  using namespace std::chrono_literals;
  const auto begin = Clock::now();
  auto last_watch = begin;
  while (true) {
    const cudaError_t result = cudaEventQuery(event);
    if (result == cudaSuccess) return;
    if (result != cudaErrorNotReady) check(result);
    static_cast<void>(cudaGetLastError());  // which a kernel's launch would take for its own
    const auto now = Clock::now();
    if (context_->watch && now - last_watch > 5ms) {
      last_watch = now;
      context_->watch(std::chrono::duration<double>(now - begin).count());
    }
    // Steps of milliseconds end while the thread spins; longer ones leave the core to others.
    if (now - begin < 20ms) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(100us);
    }
  }
}

}  // namespace kumihimo::cuda

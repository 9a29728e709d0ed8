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

/// What a stream is given, caught as a graph from here on. Only this thread is held to what can be
/// captured: other ranks of the process go on.
class Capture {
 public:
  explicit Capture(cudaStream_t stream) : stream_(stream) {
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
  }
  ~Capture() {
    if (!ended_) {  // an exception is on its way: the stream takes work again, nothing is kept
      cudaGraph_t graph = nullptr;
      static_cast<void>(cudaStreamEndCapture(stream_, &graph));
      static_cast<void>(cudaGetLastError());
      if (graph != nullptr) cudaGraphDestroy(graph);
    }
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  /// The caller's. Throws where something was called that cannot be captured.
  cudaGraph_t end() {
    ended_ = true;
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(stream_, &graph));
    return graph;
  }

 private:
  cudaStream_t stream_;
  bool ended_ = false;
};

class CudaGraphWork final : public RecordedWork {
 public:
  /// Takes the graph.
  CudaGraphWork(cudaGraph_t graph, int ordinal, cudaStream_t stream)
      : ordinal_(ordinal), stream_(stream) {
    const cudaError_t made = cudaGraphInstantiate(&executable_, graph, 0);
    cudaGraphDestroy(graph);
    check(made);
  }
  ~CudaGraphWork() override { cudaGraphExecDestroy(executable_); }  // what is under way is done
  CudaGraphWork(const CudaGraphWork&) = delete;
  CudaGraphWork& operator=(const CudaGraphWork&) = delete;

  void run() override {
    use_device(ordinal_);
    check(cudaGraphLaunch(executable_, stream_));
  }

 private:
  int ordinal_;
  cudaStream_t stream_;
  cudaGraphExec_t executable_ = nullptr;
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
  refuse_in_recording("a point of the queue was asked for");
  use_device(ordinal());
  return std::make_shared<CudaPoint>(context_->events, stream());
}

std::shared_ptr<const DeviceQueue::Point> CudaQueue::timed_point() {
  refuse_in_recording("the time was asked for");
  use_device(ordinal());
  return std::make_shared<CudaPoint>(context_->timed_events, stream());
}

void CudaQueue::wait_for(const std::shared_ptr<const Point>& point) {
  if (!point) return;
  refuse_in_recording("another queue was waited for");
  use_device(ordinal());
  check(cudaStreamWaitEvent(stream(), static_cast<const CudaPoint&>(*point).event(), 0));
}

void CudaQueue::synchronize() {
  refuse_in_recording("the GPU was waited for");
  use_device(ordinal());
  const PooledEvent end(context_->events);
  check(cudaEventRecord(end.get(), stream()));
  wait_on_host(end.get());
  // Returns at once. Memory that was given back to the pool goes back to the driver, and so to
  // other users of the GPU, at a call that waits; to ask whether an event is reached is none.
  check(cudaEventSynchronize(end.get()));
}

std::unique_ptr<RecordedWork> CudaQueue::record(const std::function<void()>& give) {
  use_device(ordinal());
  const RecordingState::Scope scope(state_);
  Capture capture(stream());
  give();
  return std::make_unique<CudaGraphWork>(capture.end(), ordinal(), stream());
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

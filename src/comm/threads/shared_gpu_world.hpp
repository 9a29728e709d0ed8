#pragma once

#include <memory>

#include "comm/beside_queues.hpp"
#include "comm/threads/thread_world.hpp"

namespace kumihimo {

/// Ranks that are threads and compute on one GPU, each with queues of its own: collectives are
/// copies and sums in the GPU's memory, in rank order like those of threads. What makes every
/// layout provable on a single card.
class SharedGpuWorld final : public World {
 public:
  SharedGpuWorld(ThreadWorld& host, Gpu& gpu) : host_(host), gpu_(gpu), clock_(gpu.queue()) {}

  int rank() const override { return host_.rank(); }
  int size() const override { return host_.size(); }
  RankClock& clock() override { return clock_; }
  std::string_view backend() const override { return host_.backend(); }
  Gpu* gpu() override { return &gpu_; }
  void check_peers() override { host_.check_peers(); }
  void give_up() override { host_.give_up(); }

  std::unique_ptr<CommunicationStream> make_stream() override {
    return beside_.make_stream(gpu_, clock_, [this] { host_.give_up(); });
  }

  std::unique_ptr<ProcessGroup> make_group(std::span<const int> ranks,
                                           CommunicationStream* stream) override {
    if (stream == nullptr) return host_.make_own_group(ranks, gpu_.queue());
    auto& queued = dynamic_cast<QueuedStream&>(*stream);
    return queued.take(host_.make_own_group(ranks, queued.stream_queue()));
  }

 private:
  ThreadWorld& host_;
  Gpu& gpu_;
  DeviceClock clock_;
  BesideQueues beside_;
};

}  // namespace kumihimo

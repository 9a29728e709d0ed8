#pragma once

#include <atomic>
#include <cstring>
#include <memory>
#include <numeric>
#include <utility>

#include "backends.hpp"
#include "comm/connected_gpus_world.hpp"
#include "comm/threads/thread_group.hpp"
#include "support/lazy_gpu.hpp"

namespace kumihimo {

/// Ranks on GPUs, as callers on the host see them: whatever returns has been done, because this
/// rank's own queue, and no other, was waited for.
class AwaitedWorld final : public World {
 public:
  AwaitedWorld(testing::LazyGpu& gpu, std::unique_ptr<World> on_gpu)
      : gpu_(gpu), shared_(std::move(on_gpu)) {}

  int rank() const override { return shared_->rank(); }
  int size() const override { return shared_->size(); }
  RankClock& clock() override { return shared_->clock(); }
  std::string_view backend() const override { return shared_->backend(); }
  std::unique_ptr<CommunicationStream> make_stream() override {
    return std::make_unique<AwaitedStream>(gpu_.queue(), shared_->make_stream());
  }
  std::unique_ptr<ProcessGroup> make_group(std::span<const int> ranks,
                                           CommunicationStream* stream) override {
    if (stream == nullptr) {
      return std::make_unique<AwaitedGroup>(gpu_.queue(), shared_->make_group(ranks));
    }
    return shared_->make_group(ranks, &static_cast<AwaitedStream&>(*stream).stream());
  }

 private:
  class AwaitedGroup final : public ProcessGroup {
   public:
    AwaitedGroup(DeviceQueue& queue, std::unique_ptr<ProcessGroup> group)
        : queue_(queue), group_(std::move(group)) {}

    int rank() const override { return group_->rank(); }
    int size() const override { return group_->size(); }
    void all_reduce(const Matrix& x, Reduction reduction) override {
      group_->all_reduce(x, reduction);
      queue_.synchronize();
    }
    void all_gather(const Matrix& part, const Matrix& whole) override {
      group_->all_gather(part, whole);
      queue_.synchronize();
    }
    void reduce_scatter(const Matrix& whole, const Matrix& part) override {
      group_->reduce_scatter(whole, part);
      queue_.synchronize();
    }
    void broadcast(const Matrix& x, int root) override {
      group_->broadcast(x, root);
      queue_.synchronize();
    }
    void barrier() override {
      group_->barrier();
      queue_.synchronize();
    }
    std::unique_ptr<Message> start_send(const Matrix& x, int peer) override {
      return group_->start_send(x, peer);
    }
    std::unique_ptr<Message> start_receive(const Matrix& x, int peer) override {
      return group_->start_receive(x, peer);
    }
    void wait(Message& message) override {
      group_->wait(message);
      queue_.synchronize();
    }

   private:
    DeviceQueue& queue_;
    std::unique_ptr<ProcessGroup> group_;
  };

  class AwaitedStream final : public CommunicationStream {
   public:
    AwaitedStream(DeviceQueue& queue, std::unique_ptr<CommunicationStream> stream)
        : queue_(queue), stream_(std::move(stream)) {}

    ~AwaitedStream() override {
      stream_.reset();
      queue_.synchronize();
    }

    Ticket start_all_reduce(ProcessGroup& group, const Matrix& x) override {
      return stream_->start_all_reduce(group, x);
    }
    Ticket start_all_gather(ProcessGroup& group, const Matrix& part, const Matrix& whole) override {
      return stream_->start_all_gather(group, part, whole);
    }
    Ticket start_reduce_scatter(ProcessGroup& group, const Matrix& whole,
                                const Matrix& part) override {
      return stream_->start_reduce_scatter(group, whole, part);
    }
    StreamSpan wait(Ticket ticket) override {
      StreamSpan span = stream_->wait(ticket);
      queue_.synchronize();
      return span;
    }
    CommunicationStream& stream() { return *stream_; }

   private:
    DeviceQueue& queue_;
    std::unique_ptr<CommunicationStream> stream_;
  };

  testing::LazyGpu& gpu_;
  std::unique_ptr<World> shared_;
};

inline RankBackend shared_gpu_backend() {
  return {"SharedGpu", [](int ranks, const RankBody& body) {
            run_threads(ranks, [&](World& world) {
              testing::LazyGpu gpu(world.rank());
              AwaitedWorld awaited(gpu, world.sharing(gpu));
              body(awaited);
            });
          }};
}

/// Connections as NCCL's are: an operation holds its queue until all members have come to it.
class LazyConnector final : public GpuConnector {
 public:
  explicit LazyConnector(ThreadJob& job) : job_(job) {}

  std::string version() const override { return "none"; }
  std::vector<std::byte> new_id() const override {
    const int id = next_id_++;
    const auto bytes = std::as_bytes(std::span(&id, 1));
    return {bytes.begin(), bytes.end()};
  }
  std::size_t id_bytes() const override { return sizeof(int); }
  std::unique_ptr<GpuCommunicator> join(std::span<const std::byte> id, int rank, int size,
                                        Gpu& /*gpu*/, DeviceQueue& queue, Traffic traffic,
                                        std::function<void(double)> /*watch*/) const override {
    int number = 0;
    std::memcpy(&number, id.data(), sizeof number);
    std::vector<int> ranks(static_cast<std::size_t>(size));
    std::iota(ranks.begin(), ranks.end(), 0);
    return std::make_unique<Communicator>(job_, job_.group_of(ranks, number), rank, size,
                                          static_cast<testing::LazyQueue&>(queue), traffic);
  }

 private:
  class Communicator final : public GpuCommunicator {
   public:
    Communicator(ThreadJob& job, std::shared_ptr<SharedGroup> shared, int rank, int size,
                 testing::LazyQueue& queue, Traffic traffic)
        : group_(job, std::move(shared), rank, size, host_), queue_(queue), traffic_(traffic) {}
    /// Closes when both ends do.
    ~Communicator() override {
      queue_.synchronize();
      group_.barrier();
    }

    void all_reduce(const Matrix& x, Reduction reduction) override {
      queue_.give([=, this] { group_.all_reduce(x, reduction); });
    }
    void all_gather(const Matrix& part, const Matrix& whole) override {
      queue_.give([=, this] { group_.all_gather(part, whole); });
    }
    void reduce_scatter(const Matrix& whole, const Matrix& part) override {
      queue_.give([=, this] { group_.reduce_scatter(whole, part); });
    }
    void broadcast(const Matrix& x, int root) override {
      queue_.give([=, this] { group_.broadcast(x, root); });
    }
    void barrier() override {
      queue_.give([this] { group_.barrier(); });
    }
    void send(const Matrix& x, int peer) override {
      KUMIHIMO_CHECK(traffic_ == Traffic::messages);
      queue_.give([=, this] { group_.wait(*group_.start_send(x, peer)); });
    }
    void receive(const Matrix& x, int peer) override {
      KUMIHIMO_CHECK(traffic_ == Traffic::messages);
      queue_.give([=, this] { group_.wait(*group_.start_receive(x, peer)); });
    }
    void check() override {}
    void break_off() noexcept override {}

   private:
    HostQueue host_;
    ThreadGroup group_;
    testing::LazyQueue& queue_;
    Traffic traffic_;
  };

  ThreadJob& job_;
  mutable std::atomic<int> next_id_ = 0;
};

/// Ranks with a GPU each.
inline RankBackend connected_gpus_backend() {
  return {"ConnectedGpus", [](int ranks, const RankBody& body) {
            ThreadJob job;
            const auto connector = std::make_shared<LazyConnector>(job);
            run_threads(ranks, [&](World& world) {
              testing::LazyGpu gpu(world.rank());
              constexpr double timeout_s = 60;
              AwaitedWorld awaited(
                  gpu, std::make_unique<ConnectedGpusWorld>(world, gpu, connector, timeout_s));
              body(awaited);
            });
          }};
}

}  // namespace kumihimo

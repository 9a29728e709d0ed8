#pragma once

#include <memory>
#include <utility>

#include "backends.hpp"
#include "support/lazy_gpu.hpp"

namespace kumihimo {

/// Ranks that share a GPU, as callers on the host see them: whatever returns has been done, because
/// this rank's own queue, and no other, was waited for.
class AwaitedWorld final : public World {
 public:
  explicit AwaitedWorld(World& world) : gpu_(world.rank()), shared_(world.sharing(gpu_)) {}

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

  testing::LazyGpu gpu_;
  std::unique_ptr<World> shared_;
};

inline RankBackend shared_gpu_backend() {
  return {"SharedGpu", [](int ranks, const RankBody& body) {
            run_threads(ranks, [&](World& world) {
              AwaitedWorld awaited(world);
              body(awaited);
            });
          }};
}

}  // namespace kumihimo

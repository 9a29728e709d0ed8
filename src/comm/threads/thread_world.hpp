#pragma once

#include <functional>
#include <map>
#include <vector>

#include "comm/communication_clock.hpp"
#include "comm/host_queue.hpp"
#include "comm/threads/thread_job.hpp"
#include "comm/world.hpp"

namespace kumihimo {

/// A rank that is a thread of this process.
class ThreadWorld final : public World {
 public:
  ThreadWorld(ThreadJob& job, int rank, int size) : job_(job), rank_(rank), size_(size) {}

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  RankClock& clock() override { return clock_; }
  std::string_view backend() const override { return "threads"; }
  std::unique_ptr<CommunicationStream> make_stream() override;
  std::unique_ptr<ProcessGroup> make_group(std::span<const int> ranks,
                                           CommunicationStream* stream) override;

  void check_peers() override {
    if (job_.failed_rank()) job_.throw_peer_failure();
  }
  std::unique_ptr<World> sharing(Gpu& device) override;

  /// make_group without a stream, for matrices in the memory of `queue`.
  std::unique_ptr<ProcessGroup> make_own_group(std::span<const int> ranks, DeviceQueue& queue);
  std::unique_ptr<ProcessGroup> make_own_group(std::span<const int> ranks) {
    return make_own_group(ranks, queue_);
  }

  /// This rank is about to fail: nobody shall wait for it.
  void give_up() override { job_.fail(rank_, ""); }

 private:
  ThreadJob& job_;
  int rank_;
  int size_;
  HostQueue queue_;
  WallClock clock_;
  std::map<std::vector<int>, int> groups_made_;
};

/// run_threads, for a body that knows how its ranks run.
void run_thread_worlds(int ranks, const std::function<void(ThreadWorld& world)>& body);

}  // namespace kumihimo

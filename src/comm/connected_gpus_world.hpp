#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "comm/beside_queues.hpp"
#include "comm/gpu_communicator.hpp"
#include "comm/world.hpp"

namespace kumihimo {

/// Ranks with a GPU each, connected by a library (NCCL). The host's world, of threads, MPI or TCP,
/// brings the ranks together, tells of ranks that fail, and carries small values of the host.
///
/// Groups of the same ranks on the same queue share a connection. Each direction of messages
/// between two ranks has a connection, a queue and a thread of its own, made when it is first used:
/// a send holds its queue until the receiver comes, and must hold up nothing else.
///
/// While a rank waits for its GPU it looks after the job: a peer that has failed, a connection that
/// is broken or `timeout_s` without an end abort every connection, and the wait throws PeerFailure.
class ConnectedGpusWorld final : public World {
 public:
  ConnectedGpusWorld(World& host, Gpu& gpu, std::shared_ptr<GpuConnector> connector,
                     double timeout_s);
  ~ConnectedGpusWorld() override;

  int rank() const override { return host_.rank(); }
  int size() const override { return host_.size(); }
  RankClock& clock() override { return clock_; }
  std::string_view backend() const override { return host_.backend(); }
  Gpu* gpu() override { return &gpu_; }
  void check_peers() override { host_.check_peers(); }
  void give_up() override;

  std::unique_ptr<CommunicationStream> make_stream() override;
  std::unique_ptr<ProcessGroup> make_group(std::span<const int> ranks,
                                           CommunicationStream* stream) override;

 private:
  class Group;
  /// `rank` and `size`: within those who join. `exchange` tells the id of member 0 to all.
  std::shared_ptr<GpuCommunicator> connect(int rank, int size, DeviceQueue& queue, Traffic traffic,
                                           const std::function<void(const Matrix& id)>& exchange);
  void watch(double waited_s);
  void abort_all() noexcept;

  World& host_;
  Gpu& gpu_;
  std::shared_ptr<GpuConnector> connector_;
  double timeout_s_;
  DeviceClock clock_;
  BesideQueues beside_;
  std::atomic<bool> given_up_ = false;

  std::map<std::pair<std::vector<int>, DeviceQueue*>, std::weak_ptr<GpuCommunicator>> shared_;
  std::mutex mutex_;  // of connections_
  std::vector<std::weak_ptr<GpuCommunicator>> connections_;
};

}  // namespace kumihimo

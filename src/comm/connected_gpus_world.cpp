#include "comm/connected_gpus_world.hpp"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>

#include "comm/preconditions.hpp"
#include "comm/solo_group.hpp"

namespace kumihimo {

/// One rank's handle. Collectives run on the queue of its connection; messages beside it.
class ConnectedGpusWorld::Group final : public ProcessGroup {
 public:
  Group(ConnectedGpusWorld& world, std::unique_ptr<ProcessGroup> host,
        std::shared_ptr<GpuCommunicator> connection, DeviceQueue& queue)
      : world_(world), host_(std::move(host)), connection_(std::move(connection)), queue_(queue) {}

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }

  void all_reduce(const Matrix& x, Reduction reduction) override {
    check_reducible(x);
    if (x.elements() > 0) connection_->all_reduce(x, reduction);
  }
  void all_gather(const Matrix& part, const Matrix& whole) override {
    check_part(part, whole, size());
    if (part.elements() > 0) connection_->all_gather(part, whole);
  }
  void reduce_scatter(const Matrix& whole, const Matrix& part) override {
    check_reducible(whole);
    check_part(part, whole, size());
    if (part.elements() > 0) connection_->reduce_scatter(whole, part);
  }
  void broadcast(const Matrix& x, int root) override {
    KUMIHIMO_CHECK(x.contiguous() && root >= 0 && root < size());
    if (x.elements() > 0) connection_->broadcast(x, root);
  }
  void barrier() override { connection_->barrier(); }

  std::unique_ptr<Message> start_send(const Matrix& x, int peer) override {
    check_peer(x, peer, rank(), size());
    Direction& direction = direction_to(peer, End::send);
    return start(direction, x, [&] { direction.connection->send(x, 1); });
  }
  std::unique_ptr<Message> start_receive(const Matrix& x, int peer) override {
    check_peer(x, peer, rank(), size());
    Direction& direction = direction_to(peer, End::receive);
    return start(direction, x, [&] { direction.connection->receive(x, 0); });
  }
  void wait(Message& message) override {
    queue_.wait_for(static_cast<QueuedMessage&>(message).through);
  }

 private:
  enum class End { send, receive };
  struct QueuedMessage final : Message {
    std::shared_ptr<const DeviceQueue::Point> through;
  };
  struct Direction {
    std::unique_ptr<DeviceQueue> queue;
    std::shared_ptr<GpuCommunicator> connection;
  };

  /// Waits for the peer, when it is the first message of its direction.
  Direction& direction_to(int peer, End end) {
    Direction& direction = directions_[{peer, end}];
    if (direction.connection) return direction;
    direction.queue = world_.gpu_.make_queue();
    const auto exchange = [&](const Matrix& id) {
      host_->wait(end == End::send ? *host_->start_send(id, peer)
                                   : *host_->start_receive(id, peer));
    };
    direction.connection = world_.connect(end == End::send ? 0 : 1, 2, *direction.queue, exchange);
    return direction;
  }

  template <class Work>
  std::unique_ptr<Message> start(Direction& direction, const Matrix& x, const Work& work) {
    auto message = std::make_unique<QueuedMessage>();
    direction.queue->wait_for(queue_.point());
    if (x.elements() > 0) work();
    message->through = direction.queue->point();
    return message;
  }

  ConnectedGpusWorld& world_;
  std::unique_ptr<ProcessGroup> host_;
  std::shared_ptr<GpuCommunicator> connection_;
  DeviceQueue& queue_;
  std::map<std::pair<int, End>, Direction> directions_;
};

ConnectedGpusWorld::ConnectedGpusWorld(World& host, Gpu& gpu,
                                       std::shared_ptr<GpuConnector> connector, double timeout_s)
    : host_(host),
      gpu_(gpu),
      connector_(std::move(connector)),
      timeout_s_(timeout_s),
      clock_(gpu.queue()) {
  gpu_.set_watch([this](double waited_s) { watch(waited_s); });
}

ConnectedGpusWorld::~ConnectedGpusWorld() { gpu_.set_watch(nullptr); }

std::unique_ptr<CommunicationStream> ConnectedGpusWorld::make_stream() {
  BesideQueue& beside = beside_.emplace_back(gpu_.make_queue());
  return std::make_unique<QueuedStream>(clock_, beside.clock, gpu_.queue(), *beside.queue, [this] {
    given_up_ = true;
    abort_all();
  });
}

std::unique_ptr<ProcessGroup> ConnectedGpusWorld::make_group(std::span<const int> ranks,
                                                             CommunicationStream* stream) {
  auto* queued = dynamic_cast<QueuedStream*>(stream);
  DeviceQueue& queue = queued == nullptr ? gpu_.queue() : queued->stream_queue();
  std::unique_ptr<ProcessGroup> group;
  if (ranks.size() == 1) {
    place_among(ranks, rank(), size());
    group = std::make_unique<SoloGroup>(queue);
  } else {
    auto host = host_.make_group(ranks);
    auto& shared = shared_[{std::vector<int>(ranks.begin(), ranks.end()), &queue}];
    std::shared_ptr<GpuCommunicator> connection = shared.lock();
    // All members agree on whether there is one: they make and drop groups in one order.
    if (!connection) {
      const auto exchange = [&](const Matrix& id) { host->broadcast(id, 0); };
      connection = connect(host->rank(), host->size(), queue, exchange);
      shared = connection;
    }
    group = std::make_unique<Group>(*this, std::move(host), std::move(connection), queue);
  }
  return queued == nullptr ? std::move(group) : queued->take(std::move(group));
}

std::shared_ptr<GpuCommunicator> ConnectedGpusWorld::connect(
    int rank, int size, DeviceQueue& queue, const std::function<void(const Matrix& id)>& exchange) {
  std::vector<std::byte> id(connector_->id_bytes());
  if (rank == 0) id = connector_->new_id();
  exchange(matrix_at(id.data(), 1, std::ssize(id), DType::fp8_e4m3));  // bytes
  const auto begin = std::chrono::steady_clock::now();
  const auto look_after = [&] {
    watch(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  };
  std::shared_ptr<GpuCommunicator> made = connector_->join(id, rank, size, gpu_, queue, look_after);
  const std::lock_guard lock(mutex_);
  std::erase_if(connections_, [](const auto& each) { return each.expired(); });
  connections_.push_back(made);
  return made;
}

void ConnectedGpusWorld::watch(double waited_s) {
  try {
    if (given_up_) throw PeerFailure("this rank has given up");
    host_.check_peers();
    {
      const std::lock_guard lock(mutex_);
      for (const auto& each : connections_) {
        if (const auto connection = each.lock()) connection->check();
      }
    }
    if (waited_s > timeout_s_) {
      throw PeerFailure(fmt::format(
          "rank {} has waited {:.0f} s for its GPU or for other ranks: one of them may hang",
          rank(), waited_s));
    }
  } catch (...) {
    abort_all();
    throw;
  }
}

void ConnectedGpusWorld::abort_all() noexcept {
  const std::lock_guard lock(mutex_);
  for (const auto& each : connections_) {
    if (const auto connection = each.lock()) connection->abort();
  }
}

}  // namespace kumihimo

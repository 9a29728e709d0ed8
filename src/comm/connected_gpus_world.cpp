#include "comm/connected_gpus_world.hpp"

#include <condition_variable>
#include <deque>
#include <fmt/format.h>
#include <future>
#include <thread>

#include "comm/preconditions.hpp"
#include "comm/solo_group.hpp"

namespace kumihimo {

/// One rank's handle. Collectives run on the queue of its connection; messages beside it.
class ConnectedGpusWorld::Group final : public ProcessGroup {
 public:
  Group(ConnectedGpusWorld& world, std::unique_ptr<ProcessGroup> host,
        std::shared_ptr<GpuCommunicator> connection, DeviceQueue& queue)
      : world_(world), host_(std::move(host)), connection_(std::move(connection)), queue_(queue) {}
  ~Group() override {
    // A peer that this rank fails never comes to the end of what is under way; and connections have
    // to be broken off together.
    if (std::uncaught_exceptions() > exceptions_at_birth_) world_.give_up();
    // In the order of senders, then receivers, which is everybody's: a connection may be closed
    // only when both its ends are.
    while (!directions_.empty()) directions_.erase(directions_.begin());
  }

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
    return start(x, peer, End::send);
  }
  std::unique_ptr<Message> start_receive(const Matrix& x, int peer) override {
    return start(x, peer, End::receive);
  }
  void wait(Message& message) override {
    queue_.wait_for(static_cast<QueuedMessage&>(message).through.get());
  }

 private:
  enum class End { send, receive };
  using PointPtr = std::shared_ptr<const DeviceQueue::Point>;

  struct QueuedMessage final : Message {
    std::future<PointPtr> through;
  };

  /// Messages to, or from, one peer: a thread finds the peer, which nobody else shall wait for, and
  /// then gives them to a queue of their own.
  class Direction {
   public:
    Direction(Group& group, int peer, End end)
        : group_(group), peer_(peer), end_(end), queue_(group.world_.gpu_.make_queue()) {
      thread_ = std::thread([this] { work(); });
    }
    ~Direction() {
      {
        const std::lock_guard lock(mutex_);
        closing_ = true;
      }
      changed_.notify_one();
      thread_.join();
    }
    Direction(const Direction&) = delete;
    Direction& operator=(const Direction&) = delete;

    std::future<PointPtr> give(const Matrix& x, PointPtr ready) {
      std::future<PointPtr> through;
      {
        const std::lock_guard lock(mutex_);
        through = waiting_.emplace_back(x, std::move(ready)).through.get_future();
      }
      changed_.notify_one();
      return through;
    }

   private:
    struct Transfer {
      Transfer(const Matrix& x_, PointPtr ready_) : x(x_), ready(std::move(ready_)) {}
      Matrix x;
      PointPtr ready;
      std::promise<PointPtr> through;
    };

    void work() {
      std::exception_ptr failure;
      while (true) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return closing_ || !waiting_.empty(); });
        if (waiting_.empty()) return;
        Transfer transfer = std::move(waiting_.front());
        waiting_.pop_front();
        lock.unlock();
        try {
          if (failure) std::rethrow_exception(failure);
          if (!connection_) connect();
          queue_->wait_for(transfer.ready);
          if (transfer.x.elements() > 0) move(transfer.x);
          transfer.through.set_value(queue_->point());
        } catch (...) {
          failure = std::current_exception();
          transfer.through.set_exception(failure);
        }
      }
    }

    /// The sender is member 0 of the two.
    void connect() {
      ProcessGroup& host = *group_.host_;
      const auto exchange = [&](const Matrix& id) {
        const auto message =
            end_ == End::send ? host.start_send(id, peer_) : host.start_receive(id, peer_);
        host.wait(*message);
      };
      connection_ =
          group_.world_.connect(end_ == End::send ? 0 : 1, 2, *queue_, Traffic::messages, exchange);
    }

    void move(const Matrix& x) {
      if (end_ == End::send) {
        connection_->send(x, 1);
      } else {
        connection_->receive(x, 0);
      }
    }

    Group& group_;
    int peer_;
    End end_;
    std::unique_ptr<DeviceQueue> queue_;
    std::shared_ptr<GpuCommunicator> connection_;  ///< of the thread

    std::mutex mutex_;  // of all below
    std::condition_variable changed_;
    std::deque<Transfer> waiting_;
    bool closing_ = false;

    std::thread thread_;
  };

  std::unique_ptr<Message> start(const Matrix& x, int peer, End end) {
    check_peer(x, peer, rank(), size());
    auto& direction =
        directions_[end == End::send ? std::pair(rank(), peer) : std::pair(peer, rank())];
    if (!direction) direction = std::make_unique<Direction>(*this, peer, end);
    auto message = std::make_unique<QueuedMessage>();
    message->through = direction->give(x, queue_.point());
    return message;
  }

  ConnectedGpusWorld& world_;
  std::unique_ptr<ProcessGroup> host_;
  std::shared_ptr<GpuCommunicator> connection_;
  DeviceQueue& queue_;
  std::map<std::pair<int, int>, std::unique_ptr<Direction>> directions_;  ///< by its two ends
  int exceptions_at_birth_ = std::uncaught_exceptions();
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

void ConnectedGpusWorld::give_up() {
  given_up_ = true;
  abort_all();
  host_.give_up();
}

std::unique_ptr<CommunicationStream> ConnectedGpusWorld::make_stream() {
  return beside_.make_stream(gpu_, clock_, [this] { give_up(); });
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
      connection = connect(host->rank(), host->size(), queue, Traffic::collectives, exchange);
      shared = connection;
    }
    group = std::make_unique<Group>(*this, std::move(host), std::move(connection), queue);
  }
  return on_stream(stream, std::move(group));
}

std::shared_ptr<GpuCommunicator> ConnectedGpusWorld::connect(
    int rank, int size, DeviceQueue& queue, Traffic traffic,
    const std::function<void(const Matrix& id)>& exchange) {
  std::vector<std::byte> id(connector_->id_bytes());
  if (rank == 0) id = connector_->new_id();
  exchange(matrix_at(id.data(), 1, std::ssize(id), DType::fp8_e4m3));  // bytes
  std::shared_ptr<GpuCommunicator> made = connector_->join(
      id, rank, size, gpu_, queue, traffic, [this](double waited_s) { watch(waited_s); });
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
  std::vector<std::shared_ptr<GpuCommunicator>> connections;
  for (const auto& each : connections_) {
    if (auto connection = each.lock()) connections.push_back(std::move(connection));
  }
  connector_->break_off(connections);
}

}  // namespace kumihimo

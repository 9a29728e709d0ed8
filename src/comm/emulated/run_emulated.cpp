#include <deque>
#include <fmt/format.h>

#include "comm/emulated/emulated_group.hpp"
#include "comm/emulated/virtual_clock.hpp"
#include "comm/queued_stream.hpp"
#include "comm/threads/thread_world.hpp"

namespace kumihimo {
namespace {

/// A rank whose data move as between threads, by a clock of its own.
class EmulatedWorld final : public World {
 public:
  EmulatedWorld(ThreadWorld& data, const Cluster& cluster)
      : data_(data), cluster_(cluster), outgoing_(cluster, data.rank(), data.size()) {}

  int rank() const override { return data_.rank(); }
  int size() const override { return data_.size(); }
  RankClock& clock() override { return clock_; }
  std::string_view backend() const override { return "emulated"; }
  void give_up() override { data_.give_up(); }

  std::unique_ptr<CommunicationStream> make_stream() override {
    const CommunicationCall call(clock_);
    return std::make_unique<QueuedStream>(clock_, stream_clocks_.emplace_back(), queue_, queue_,
                                          [this] { data_.give_up(); });
  }

  std::unique_ptr<ProcessGroup> make_group(std::span<const int> ranks,
                                           CommunicationStream* stream) override {
    const CommunicationCall call(clock_);
    auto* queue = dynamic_cast<QueuedStream*>(stream);
    std::unique_ptr<ProcessGroup> group = data_.make_own_group(ranks);
    if (ranks.size() > 1) {  // a group of one costs nothing
      CommunicationClock& clock = queue == nullptr ? clock_ : queue->stream_clock();
      group = std::make_unique<EmulatedGroup>(std::move(group), ranks, cluster_, outgoing_, clock);
    }
    return on_stream(stream, std::move(group));
  }

 private:
  ThreadWorld& data_;
  HostQueue queue_;
  const Cluster& cluster_;
  OutgoingLinks outgoing_;
  ComputeClock clock_;
  std::deque<VirtualClock> stream_clocks_;  ///< a deque, since streams refer to them
};

}  // namespace

Expected<bool> run_emulated(int ranks, const Cluster& cluster, const RankBody& body) {
  if (ranks > cluster.devices()) {
    return Error{
        "ranks",
        fmt::format("{} do not fit onto the {} devices of {} ({} nodes of {})", ranks,
                    cluster.devices(), cluster.name, cluster.nodes, cluster.devices_per_node),
        "use fewer ranks, or a cluster of more nodes"};
  }
  run_thread_worlds(ranks, [&](ThreadWorld& data) {
    EmulatedWorld world(data, cluster);
    body(world);
  });
  return true;
}

}  // namespace kumihimo

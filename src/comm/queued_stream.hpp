#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "comm/communication_clock.hpp"
#include "comm/stream_group.hpp"
#include "comm/world.hpp"

namespace kumihimo {

/// The communication stream of every back end: a thread that runs the collectives of a queue on
/// groups that nobody else uses meanwhile.
///
/// After a collective has failed, later ones are not run and fail likewise. The destructor waits
/// for what is in the queue; on a device, the rank's queue does. If an exception destroys the
/// stream with collectives under way, the other members may never come to them: it then calls
/// `give_up`, after which they must end with PeerFailure, here as on the other ranks.
class QueuedStream : public CommunicationStream {
 public:
  /// `rank_clock` is the rank's own, `stream_clock` the one that the groups made for this stream
  /// move; both outlive the stream. With wall clocks they may be one.
  /// `rank_queue` is that of the rank's own work, `stream_queue` that of the groups: the rank's
  /// matrices are in their memory. Both outlive the stream, and the host's may be one.
  QueuedStream(CommunicationClock& rank_clock, CommunicationClock& stream_clock,
               DeviceQueue& rank_queue, DeviceQueue& stream_queue, std::function<void()> give_up);
  ~QueuedStream() override;

  Ticket start_all_reduce(ProcessGroup& group, const Matrix& x) override;
  Ticket start_all_gather(ProcessGroup& group, const Matrix& part, const Matrix& whole) override;
  Ticket start_reduce_scatter(ProcessGroup& group, const Matrix& whole,
                              const Matrix& part) override;
  /// Spans of the last thousand tickets before the latest that was waited for can still be had.
  StreamSpan wait(Ticket ticket) override;

  CommunicationClock& stream_clock() { return stream_clock_; }
  DeviceQueue& stream_queue() { return stream_queue_; }
  /// Makes a group that nobody else uses this stream's.
  std::unique_ptr<ProcessGroup> take(std::unique_ptr<ProcessGroup> group) {
    return std::make_unique<StreamGroup>(*this, std::move(group));
  }

 private:
  struct Done {
    StreamSpan span;
    std::shared_ptr<const DeviceQueue::Point> point;
  };
  enum class Kind : std::uint8_t { all_reduce, all_gather, reduce_scatter };
  struct Collective {
    Kind kind = Kind::all_reduce;
    std::shared_ptr<ProcessGroup> group;  ///< null once it has run
    Matrix from, to;
    double enqueued_s = 0;
    std::shared_ptr<const DeviceQueue::Point> ready;  ///< what the matrices wait for
    Done done;
  };

  Ticket enqueue(Kind kind, ProcessGroup& group, const Matrix& from, const Matrix& to);
  void run_queue();
  Done run(Collective collective);

  CommunicationClock& rank_clock_;
  CommunicationClock& stream_clock_;
  DeviceQueue& rank_queue_;
  DeviceQueue& stream_queue_;
  std::function<void()> give_up_;
  int exceptions_at_birth_;

  std::mutex mutex_;  // of all below
  std::condition_variable enqueued_, ended_;
  std::deque<Collective> collectives_;  ///< of tickets first_ .. first_ + size - 1
  Ticket first_ = 0;
  Ticket next_to_run_ = 0;
  bool closing_ = false;
  std::exception_ptr failure_;  ///< of ticket next_to_run_, which is not passed any more

  std::jthread thread_;  ///< last: it uses all the others
};

/// The group as `stream`'s own, or itself where that is null. Requires that nobody else uses the
/// group, and a stream of this kind.
std::unique_ptr<ProcessGroup> on_stream(CommunicationStream* stream,
                                        std::unique_ptr<ProcessGroup> group);

}  // namespace kumihimo

#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <vector>

#include "comm/process_group.hpp"

namespace kumihimo {

class ThreadMessage;

/// Where messages to one member of a group meet the member's receives. The n-th send of a
/// source belongs to the n-th receive from it. Whichever of the two is started second copies the
/// data, on its own queue, and so ends both: no thread need be waiting for a message to go through.
class Inbox {
 public:
  /// False once the inbox is closed.
  bool start(ThreadMessage& message);
  /// Returns true when the message is through, false if it never will be.
  bool wait(ThreadMessage& message);
  /// Its matrix is not touched any more when this returns.
  void withdraw(ThreadMessage& message) noexcept;
  /// Messages that have not met their other half fail, and so do later ones.
  void close();

 private:
  std::mutex mutex_;  // of all below, and of the messages' progress
  std::condition_variable changed_;
  std::vector<ThreadMessage*> unmatched_;  ///< in the order in which they were started
  bool closed_ = false;
};

/// One end of a message, under way in `inbox` until it is through or destroyed.
class ThreadMessage final : public Message {
 public:
  enum class End : std::uint8_t { send, receive };

  ThreadMessage(Inbox& inbox, DeviceQueue& queue, End end, int source, const Matrix& matrix)
      : inbox_(inbox),
        queue_(queue),
        end_(end),
        source_(source),
        matrix_(matrix),
        ready_(queue.point()) {}
  ~ThreadMessage() override { inbox_.withdraw(*this); }
  ThreadMessage(const ThreadMessage&) = delete;
  ThreadMessage& operator=(const ThreadMessage&) = delete;

 private:
  friend class Inbox;
  friend class ThreadGroup;
  enum class Progress : std::uint8_t { started, copying, through };

  bool is_other_half_of(const ThreadMessage& other) const {
    return source_ == other.source_ && end_ != other.end_;
  }

  Inbox& inbox_;
  DeviceQueue& queue_;  ///< of the rank that has started this end
  End end_;
  int source_;
  Matrix matrix_;
  std::shared_ptr<const DeviceQueue::Point> ready_;   ///< until when matrix_ may not be touched
  std::shared_ptr<const DeviceQueue::Point> copied_;  ///< of a message that is through
  Progress progress_ = Progress::started;
};

}  // namespace kumihimo

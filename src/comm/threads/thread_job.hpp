#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "comm/threads/inbox.hpp"
#include "comm/threads/meeting.hpp"

namespace kumihimo {

/// What a member brings to a collective.
struct Contribution {
  enum class Kind : std::uint8_t { all_reduce, all_gather, reduce_scatter, broadcast, barrier };

  Kind kind = Kind::barrier;
  Reduction reduction = Reduction::sum;
  int root = 0;
  Matrix in, out;  ///< one and the same where the collective is in place
  std::shared_ptr<const DeviceQueue::Point> ready;  ///< until when they may not be touched

  /// Whether two members mean the same collective.
  bool matches(const Contribution& other) const;
};

/// What the members of a group share: memory of the host, or of one device, each member with a
/// queue of its own. Between `arrival` and `departure` each may read what all
/// others contributed, and writes only where no other reads or writes. Nobody fails between the
/// two, since that would free memory that others read: only `arrival` can be broken.
struct SharedGroup {
  explicit SharedGroup(int size)
      : arrival(size), departure(size), contributions(size), inboxes(size) {}

  void break_up() {
    arrival.break_up();
    for (Inbox& inbox : inboxes) inbox.close();
  }

  struct alignas(64) Slot {
    Contribution contribution;
    /// Of the member's own part. Written before `departure`, read after it, and not written again
    /// before all have come to the next `arrival`.
    std::shared_ptr<const DeviceQueue::Point> done;
  };

  Meeting arrival, departure;
  std::vector<Slot> contributions;  ///< by rank within the group
  std::vector<Inbox> inboxes;       ///< by receiver
};

/// What the ranks of one run share: their groups, and whether one of them has failed.
class ThreadJob {
 public:
  /// What the members of the `ordinal`-th group of exactly these ranks share: the first to ask
  /// makes it, and nobody waits. Kept until the job ends. Throws PeerFailure.
  std::shared_ptr<SharedGroup> group_of(std::vector<int> ranks, int ordinal);

  /// `rank` takes no further part. Everybody who waits for anything is woken. Later calls only add
  /// the cause, if it is that of the first rank to fail and was not known.
  void fail(int rank, const std::string& cause);

  [[noreturn]] void throw_peer_failure() const;

  /// The first rank to fail.
  std::optional<int> failed_rank() const;

 private:
  mutable std::mutex mutex_;  // of all below
  std::map<std::pair<std::vector<int>, int>, std::shared_ptr<SharedGroup>> groups_;
  std::optional<int> failed_rank_;
  std::string cause_;
};

}  // namespace kumihimo

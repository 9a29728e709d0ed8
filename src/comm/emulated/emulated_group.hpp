#pragma once

#include <memory>
#include <span>
#include <vector>

#include "comm/communication_clock.hpp"
#include "comm/emulated/link_model.hpp"

namespace kumihimo {

/// A group whose data go through another group and whose time goes by the links of a cluster.
///
/// A collective ends, for all members, when the last one has come and the links have done their
/// work. A message ends, for both sides, when it arrives or when they wait for it, whichever is
/// later: a sender does not wait for the receiver to come, whatever the data do meanwhile. What
/// runs at the same time on streams, other groups and messages does not slow each other.
class EmulatedGroup final : public ProcessGroup {
 public:
  /// `ranks`: global, of the members of `data`. `clock`: this rank's, or that of the stream.
  EmulatedGroup(std::unique_ptr<ProcessGroup> data, std::span<const int> ranks,
                const Cluster& cluster, OutgoingLinks& outgoing, CommunicationClock& clock);

  int rank() const override { return data_->rank(); }
  int size() const override { return data_->size(); }

  void all_reduce(const Matrix& x, Reduction reduction) override;
  void all_gather(const Matrix& part, const Matrix& whole) override;
  void reduce_scatter(const Matrix& whole, const Matrix& part) override;
  void broadcast(const Matrix& x, int root) override;
  void barrier() override;

  std::unique_ptr<Message> start_send(const Matrix& x, int peer) override;
  std::unique_ptr<Message> start_receive(const Matrix& x, int peer) override;
  void wait(Message& message) override;

 private:
  /// Moves the clocks of all members to that of the latest, and on by `duration_s`.
  void meet(double duration_s);

  std::unique_ptr<ProcessGroup> data_;
  std::vector<int> ranks_;
  Link link_;  ///< of the ring
  OutgoingLinks& outgoing_;
  CommunicationClock& clock_;
};

}  // namespace kumihimo

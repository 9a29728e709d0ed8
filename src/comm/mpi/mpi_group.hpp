#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <vector>

#include "comm/mpi/communicator.hpp"
#include "comm/process_group.hpp"
#include "comm/rank_order.hpp"

namespace kumihimo {

/// A group whose members are processes of an MPI job.
///
/// MPI may sum in any order, and knows no bf16: so sums are taken here, of pieces that every member
/// has sent to the one that reduces them. Each member sends and receives what a ring would, in one
/// step. Waits poll and yield, so that there may be more ranks than cores and a stream can be
/// given up.
class MpiGroup final : public ProcessGroup {
 public:
  /// `given_up`: this rank is about to fail; whatever still waits ends with PeerFailure.
  MpiGroup(Communicator communicator, int rank, int size, const std::atomic<bool>& given_up);

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void all_reduce(const Matrix& x, Reduction reduction) override;
  void all_gather(const Matrix& part, const Matrix& whole) override;
  void reduce_scatter(const Matrix& whole, const Matrix& part) override;
  void broadcast(const Matrix& x, int root) override;
  void barrier() override;

  /// Requires less than 2 GiB.
  std::unique_ptr<Message> start_send(const Matrix& x, int peer) override;
  std::unique_ptr<Message> start_receive(const Matrix& x, int peer) override;
  void wait(Message& message) override;

 private:
  /// Every member's whole piece to every other, and the sum here: one step, for small ones.
  void all_reduce_at_once(const Matrix& x, Reduction reduction);
  /// Each member reduces its share and sends it to the others.
  void all_reduce_by_shares(std::byte* x, std::int64_t elements, DType dtype, Reduction reduction);

  void start_sending(const std::byte* data, std::int64_t bytes, int member);
  void start_receiving(std::byte* data, std::int64_t bytes, int member);
  /// Waits for all that was started.
  void finish();
  /// The k-th other member to send to: everybody begins with another one.
  int receiver(int k) const { return (rank_ + k) % size_; }
  int sender(int k) const { return (rank_ + size_ - k) % size_; }

  /// Makes room for a piece of every member, and points inputs_ to them.
  void make_room(std::int64_t bytes_each);
  std::byte* room_of(int member, std::int64_t bytes_each) {
    return scratch_.data() + member * bytes_each;
  }

  Communicator communicator_;
  int rank_;
  int size_;
  const std::atomic<bool>& given_up_;
  // Kept from one collective to the next.
  std::vector<MPI_Request> requests_;
  std::vector<std::byte> scratch_;
  std::vector<const std::byte*> inputs_;
};

}  // namespace kumihimo

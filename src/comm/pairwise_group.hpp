#pragma once

#include <cstddef>
#include <vector>

#include "comm/process_group.hpp"

namespace kumihimo {

/// Collectives on host memory made of sends and receives between members.
///
/// Transports may sum in any order, and know no bf16: so sums are taken here, of pieces that every
/// member has sent to the one that reduces them. Each member sends and receives what a ring would,
/// in one step.
class PairwiseGroup : public ProcessGroup {
 public:
  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void all_reduce(const Matrix& x, Reduction reduction) override;
  void all_gather(const Matrix& part, const Matrix& whole) override;
  void reduce_scatter(const Matrix& whole, const Matrix& part) override;

 protected:
  PairwiseGroup(int rank, int size) : rank_(rank), size_(size) {
    inputs_.resize(static_cast<std::size_t>(size));
  }

  // Of collectives, in one order between any two members; any number of bytes.
  virtual void start_sending(const std::byte* data, std::int64_t bytes, int member) = 0;
  virtual void start_receiving(std::byte* data, std::int64_t bytes, int member) = 0;
  /// Waits for all that was started.
  virtual void finish() = 0;

  /// The k-th other member to send to: everybody begins with another one.
  int receiver(int k) const { return (rank_ + k) % size_; }
  int sender(int k) const { return (rank_ + size_ - k) % size_; }

 private:
  /// Every member's whole piece to every other, and the sum here: one step, for small ones.
  void all_reduce_at_once(const Matrix& x, Reduction reduction);
  /// Each member reduces its share and sends it to the others.
  void all_reduce_by_shares(std::byte* x, std::int64_t elements, DType dtype, Reduction reduction);

  /// Makes room for a piece of every member, and points inputs_ to them.
  void make_room(std::int64_t bytes_each);
  std::byte* room_of(int member, std::int64_t bytes_each) {
    return scratch_.data() + member * bytes_each;
  }

  int rank_;
  int size_;
  // Kept from one collective to the next.
  std::vector<std::byte> scratch_;
  std::vector<const std::byte*> inputs_;
};

}  // namespace kumihimo

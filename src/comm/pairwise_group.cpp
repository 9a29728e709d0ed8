#include "comm/pairwise_group.hpp"

#include <algorithm>
#include <cstring>

#include "comm/preconditions.hpp"
#include "comm/rank_order.hpp"

namespace kumihimo {
namespace {

// Below this, what all members send to one, latency outweighs bytes.
constexpr std::int64_t small_bytes = 64 << 10;
// Reductions go piece by piece, so that scratch memory is bounded.
constexpr std::int64_t piece_bytes = 16 << 20;

std::byte* bytes_at(const Matrix& matrix) { return static_cast<std::byte*>(matrix.data); }

}  // namespace

void PairwiseGroup::all_reduce(const Matrix& x, Reduction reduction) {
  check_reducible(x);
  if (x.bytes() * size_ <= small_bytes) return all_reduce_at_once(x, reduction);
  const std::int64_t element = bytes_of(x.dtype);
  const std::int64_t piece = piece_bytes / element;
  for (std::int64_t first = 0; first < x.elements(); first += piece) {
    all_reduce_by_shares(bytes_at(x) + first * element, std::min(piece, x.elements() - first),
                         x.dtype, reduction);
  }
}

void PairwiseGroup::all_reduce_at_once(const Matrix& x, Reduction reduction) {
  make_room(x.bytes());
  for (int k = 1; k < size_; ++k) {
    start_receiving(room_of(sender(k), x.bytes()), x.bytes(), sender(k));
    start_sending(bytes_at(x), x.bytes(), receiver(k));
  }
  finish();
  inputs_[static_cast<std::size_t>(rank_)] = bytes_at(x);
  std::byte* const output = bytes_at(x);
  reduce_in_rank_order(inputs_, {&output, 1}, {0, x.elements()}, x.dtype, reduction);
}

void PairwiseGroup::all_reduce_by_shares(std::byte* x, std::int64_t elements, DType dtype,
                                         Reduction reduction) {
  const std::int64_t element = bytes_of(dtype);
  const auto share = [&](int member) { return share_of(elements, member, size_); };
  const ElementRange own = share(rank_);
  std::byte* const own_share = x + own.first * element;
  make_room(own.count * element);
  for (int k = 1; k < size_; ++k) {
    start_receiving(room_of(sender(k), own.count * element), own.count * element, sender(k));
    const ElementRange theirs = share(receiver(k));
    start_sending(x + theirs.first * element, theirs.count * element, receiver(k));
  }
  finish();
  inputs_[static_cast<std::size_t>(rank_)] = own_share;
  reduce_in_rank_order(inputs_, {&own_share, 1}, {0, own.count}, dtype, reduction);
  for (int k = 1; k < size_; ++k) {
    const ElementRange theirs = share(sender(k));
    start_receiving(x + theirs.first * element, theirs.count * element, sender(k));
    start_sending(own_share, own.count * element, receiver(k));
  }
  finish();
}

void PairwiseGroup::all_gather(const Matrix& part, const Matrix& whole) {
  check_part(part, whole, size_);
  for (int k = 1; k < size_; ++k) {
    start_receiving(bytes_at(whole) + sender(k) * part.bytes(), part.bytes(), sender(k));
    start_sending(bytes_at(part), part.bytes(), receiver(k));
  }
  std::byte* const own = bytes_at(whole) + rank_ * part.bytes();
  if (own != part.data && part.bytes() > 0) {
    std::memcpy(own, part.data, static_cast<std::size_t>(part.bytes()));
  }
  finish();
}

void PairwiseGroup::reduce_scatter(const Matrix& whole, const Matrix& part) {
  check_reducible(whole);
  check_part(part, whole, size_);
  const std::int64_t element = bytes_of(part.dtype);
  const std::int64_t piece = std::max<std::int64_t>(piece_bytes / size_ / element, 1) * element;
  for (std::int64_t first = 0; first < part.bytes(); first += piece) {
    const std::int64_t bytes = std::min(piece, part.bytes() - first);
    const auto rows_for = [&](int member) {
      return bytes_at(whole) + member * part.bytes() + first;
    };
    make_room(bytes);
    for (int k = 1; k < size_; ++k) {
      start_receiving(room_of(sender(k), bytes), bytes, sender(k));
      start_sending(rows_for(receiver(k)), bytes, receiver(k));
    }
    finish();
    inputs_[static_cast<std::size_t>(rank_)] = rows_for(rank_);
    std::byte* const output = bytes_at(part) + first;
    reduce_in_rank_order(inputs_, {&output, 1}, {0, bytes / element}, part.dtype, Reduction::sum);
  }
}

void PairwiseGroup::make_room(std::int64_t bytes_each) {
  const auto needed = static_cast<std::size_t>(bytes_each * size_);
  if (scratch_.size() < needed) scratch_.resize(needed);
  for (int member = 0; member < size_; ++member) {
    inputs_[static_cast<std::size_t>(member)] = room_of(member, bytes_each);
  }
}

}  // namespace kumihimo

#include "comm/mpi/mpi_group.hpp"

#include <algorithm>
#include <climits>
#include <cstring>
#include <thread>

#include "comm/preconditions.hpp"
#include "comm/world.hpp"

namespace kumihimo {
namespace {

constexpr int message_tag = 0;
constexpr int collective_tag = 1;

// MPI counts in int; a multiple of every alignment.
constexpr std::int64_t largest_transfer = std::int64_t{1} << 30;
// Below this, what all members send to one, latency outweighs bytes.
constexpr std::int64_t small_bytes = 64 << 10;
// Reductions go piece by piece, so that scratch memory is bounded.
constexpr std::int64_t piece_bytes = 16 << 20;

std::byte* bytes_at(const Matrix& matrix) { return static_cast<std::byte*>(matrix.data); }

template <class Done>
void poll(const std::atomic<bool>& given_up, const Done& done) {
  while (!done()) {
    if (given_up.load(std::memory_order_relaxed)) throw PeerFailure("this rank has given up");
    std::this_thread::yield();
  }
}

class MpiMessage final : public Message {
 public:
  ~MpiMessage() override {
    if (request == MPI_REQUEST_NULL) return;
    // The rank is failing, and with it the job.
    MPI_Cancel(&request);
    MPI_Request_free(&request);
  }

  MPI_Request request = MPI_REQUEST_NULL;
  int bytes_to_receive = -1;  ///< of a receive
};

int transfer_count(const Matrix& x) {
  KUMIHIMO_CHECK(x.bytes() <= INT_MAX);
  return static_cast<int>(x.bytes());
}

}  // namespace

MpiGroup::MpiGroup(Communicator communicator, int rank, int size, const std::atomic<bool>& given_up)
    : communicator_(std::move(communicator)), rank_(rank), size_(size), given_up_(given_up) {
  inputs_.resize(static_cast<std::size_t>(size));
}

void MpiGroup::all_reduce(const Matrix& x, Reduction reduction) {
  check_reducible(x);
  if (x.bytes() * size_ <= small_bytes) return all_reduce_at_once(x, reduction);
  const std::int64_t element = bytes_of(x.dtype);
  const std::int64_t piece = piece_bytes / element;
  for (std::int64_t first = 0; first < x.elements(); first += piece) {
    all_reduce_by_shares(bytes_at(x) + first * element, std::min(piece, x.elements() - first),
                         x.dtype, reduction);
  }
}

void MpiGroup::all_reduce_at_once(const Matrix& x, Reduction reduction) {
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

void MpiGroup::all_reduce_by_shares(std::byte* x, std::int64_t elements, DType dtype,
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

void MpiGroup::all_gather(const Matrix& part, const Matrix& whole) {
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

void MpiGroup::reduce_scatter(const Matrix& whole, const Matrix& part) {
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

void MpiGroup::broadcast(const Matrix& x, int root) {
  KUMIHIMO_CHECK(x.contiguous() && root >= 0 && root < size_);
  for (std::int64_t first = 0; first < x.bytes(); first += largest_transfer) {
    const auto count = static_cast<int>(std::min(largest_transfer, x.bytes() - first));
    check_mpi(MPI_Ibcast(bytes_at(x) + first, count, MPI_BYTE, root, communicator_.handle(),
                         &requests_.emplace_back()),
              "MPI_Ibcast");
  }
  finish();
}

void MpiGroup::barrier() {
  check_mpi(MPI_Ibarrier(communicator_.handle(), &requests_.emplace_back()), "MPI_Ibarrier");
  finish();
}

void MpiGroup::start_sending(const std::byte* data, std::int64_t bytes, int member) {
  for (std::int64_t first = 0; first < bytes; first += largest_transfer) {
    const auto count = static_cast<int>(std::min(largest_transfer, bytes - first));
    check_mpi(MPI_Isend(data + first, count, MPI_BYTE, member, collective_tag,
                        communicator_.handle(), &requests_.emplace_back()),
              "MPI_Isend");
  }
}

void MpiGroup::start_receiving(std::byte* data, std::int64_t bytes, int member) {
  for (std::int64_t first = 0; first < bytes; first += largest_transfer) {
    const auto count = static_cast<int>(std::min(largest_transfer, bytes - first));
    check_mpi(MPI_Irecv(data + first, count, MPI_BYTE, member, collective_tag,
                        communicator_.handle(), &requests_.emplace_back()),
              "MPI_Irecv");
  }
}

void MpiGroup::finish() {
  poll(given_up_, [this] {
    int done = 0;
    check_mpi(MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &done,
                          MPI_STATUSES_IGNORE),
              "MPI_Testall");
    return done != 0;
  });
  requests_.clear();
}

void MpiGroup::make_room(std::int64_t bytes_each) {
  const auto needed = static_cast<std::size_t>(bytes_each * size_);
  if (scratch_.size() < needed) scratch_.resize(needed);
  for (int member = 0; member < size_; ++member) {
    inputs_[static_cast<std::size_t>(member)] = room_of(member, bytes_each);
  }
}

std::unique_ptr<Message> MpiGroup::start_send(const Matrix& x, int peer) {
  check_peer(x, peer, rank_, size_);
  auto message = std::make_unique<MpiMessage>();
  check_mpi(MPI_Isend(x.data, transfer_count(x), MPI_BYTE, peer, message_tag,
                      communicator_.handle(), &message->request),
            "MPI_Isend");
  return message;
}

std::unique_ptr<Message> MpiGroup::start_receive(const Matrix& x, int peer) {
  check_peer(x, peer, rank_, size_);
  auto message = std::make_unique<MpiMessage>();
  message->bytes_to_receive = transfer_count(x);
  check_mpi(MPI_Irecv(x.data, message->bytes_to_receive, MPI_BYTE, peer, message_tag,
                      communicator_.handle(), &message->request),
            "MPI_Irecv");
  return message;
}

void MpiGroup::wait(Message& message) {
  auto& own = static_cast<MpiMessage&>(message);
  MPI_Status status{};
  poll(given_up_, [&] {
    int done = 0;
    check_mpi(MPI_Test(&own.request, &done, &status), "MPI_Test");
    return done != 0;
  });
  if (own.bytes_to_receive < 0) return;
  int received = 0;
  check_mpi(MPI_Get_count(&status, MPI_BYTE, &received), "MPI_Get_count");
  KUMIHIMO_CHECK(received == own.bytes_to_receive);
}

}  // namespace kumihimo

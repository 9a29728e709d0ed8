#include "comm/mpi/mpi_group.hpp"

#include <algorithm>
#include <climits>
#include <thread>

#include "comm/preconditions.hpp"
#include "comm/world.hpp"

namespace kumihimo {
namespace {

constexpr int message_tag = 0;
constexpr int collective_tag = 1;

// MPI counts in int; a multiple of every alignment.
constexpr std::int64_t largest_transfer = std::int64_t{1} << 30;

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
    : PairwiseGroup(rank, size), communicator_(std::move(communicator)), given_up_(given_up) {}

void MpiGroup::broadcast(const Matrix& x, int root) {
  KUMIHIMO_CHECK(x.contiguous() && root >= 0 && root < size());
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

std::unique_ptr<Message> MpiGroup::start_send(const Matrix& x, int peer) {
  check_peer(x, peer, rank(), size());
  auto message = std::make_unique<MpiMessage>();
  check_mpi(MPI_Isend(x.data, transfer_count(x), MPI_BYTE, peer, message_tag,
                      communicator_.handle(), &message->request),
            "MPI_Isend");
  return message;
}

std::unique_ptr<Message> MpiGroup::start_receive(const Matrix& x, int peer) {
  check_peer(x, peer, rank(), size());
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

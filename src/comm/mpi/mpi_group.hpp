#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <vector>

#include "comm/mpi/communicator.hpp"
#include "comm/pairwise_group.hpp"

namespace kumihimo {

/// A group whose members are processes of an MPI job. Waits poll and yield, so that there may be
/// more ranks than cores and a stream can be given up.
class MpiGroup final : public PairwiseGroup {
 public:
  /// `given_up`: this rank is about to fail; whatever still waits ends with PeerFailure.
  MpiGroup(Communicator communicator, int rank, int size, const std::atomic<bool>& given_up);

  void broadcast(const Matrix& x, int root) override;
  void barrier() override;

  /// Requires less than 2 GiB.
  std::unique_ptr<Message> start_send(const Matrix& x, int peer) override;
  std::unique_ptr<Message> start_receive(const Matrix& x, int peer) override;
  void wait(Message& message) override;

 private:
  void start_sending(const std::byte* data, std::int64_t bytes, int member) override;
  void start_receiving(std::byte* data, std::int64_t bytes, int member) override;
  void finish() override;

  Communicator communicator_;
  const std::atomic<bool>& given_up_;
  std::vector<MPI_Request> requests_;  ///< kept from one collective to the next
};

}  // namespace kumihimo

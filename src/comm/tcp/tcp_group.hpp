#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "comm/pairwise_group.hpp"
#include "comm/tcp/tcp_job.hpp"

namespace kumihimo {

/// A group whose members are processes that found each other over TCP. Meant for small values and
/// for machines without MPI: what is sent is copied on the way.
class TcpGroup final : public PairwiseGroup {
 public:
  /// `ranks`: global, by rank within the group. `channel`: the same for all members, and its
  /// successor, and nobody else's.
  TcpGroup(TcpJob& job, std::vector<int> ranks, int rank, std::uint64_t channel);

  void broadcast(const Matrix& x, int root) override;
  void barrier() override;

  std::unique_ptr<Message> start_send(const Matrix& x, int peer) override;
  std::unique_ptr<Message> start_receive(const Matrix& x, int peer) override;
  void wait(Message& message) override;

 private:
  void start_sending(const std::byte* data, std::int64_t bytes, int member) override;
  void start_receiving(std::byte* data, std::int64_t bytes, int member) override;
  void finish() override;

  struct Receive {
    std::byte* data = nullptr;
    std::int64_t bytes = 0;
    int member = 0;
    std::int64_t number = 0;
  };
  class TcpMessage;
  int global(int member) const { return ranks_[static_cast<std::size_t>(member)]; }

  TcpJob& job_;
  std::vector<int> ranks_;
  std::uint64_t collectives_;
  std::uint64_t messages_;
  std::vector<Receive> receives_;  ///< of a collective under way
};

}  // namespace kumihimo

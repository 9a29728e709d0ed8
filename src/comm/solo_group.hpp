#pragma once

#include "comm/preconditions.hpp"
#include "comm/process_group.hpp"

namespace kumihimo {

/// The group of one rank, for every back end: collectives are the identity.
class SoloGroup final : public ProcessGroup {
 public:
  /// `queue`: of the memory that matrices are in.
  explicit SoloGroup(DeviceQueue& queue) : queue_(queue) {}

  int rank() const override { return 0; }
  int size() const override { return 1; }

  void all_reduce(const Matrix& x, Reduction /*reduction*/) override { check_reducible(x); }
  void all_gather(const Matrix& part, const Matrix& whole) override { copy(part, whole); }
  void reduce_scatter(const Matrix& whole, const Matrix& part) override {
    check_reducible(whole);
    copy(whole, part);
  }
  void broadcast(const Matrix& x, int root) override {
    KUMIHIMO_CHECK(x.contiguous() && root == 0);
  }
  void barrier() override {}

  std::unique_ptr<Message> start_send(const Matrix& x, int peer) override {
    check_peer(x, peer, 0, 1);  // nobody is
    return nullptr;
  }
  std::unique_ptr<Message> start_receive(const Matrix& x, int peer) override {
    return start_send(x, peer);
  }
  void wait(Message& /*message*/) override {
    KUMIHIMO_CHECK(false && "a message of a group of one");
  }

 private:
  void copy(const Matrix& from, const Matrix& to) {
    check_part(from, to, 1);
    queue_.copy(from.data, to.data, from.bytes());
  }

  DeviceQueue& queue_;
};

}  // namespace kumihimo

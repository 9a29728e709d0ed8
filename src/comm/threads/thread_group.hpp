#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "comm/threads/thread_job.hpp"

namespace kumihimo {

/// A group whose members are threads of this process: each reads the others' matrices in place, and
/// the work of a collective is divided among all. On a device the threads meet to say what shall be
/// done; queues wait for one another's points, and no thread for the device.
class ThreadGroup final : public ProcessGroup {
 public:
  ThreadGroup(ThreadJob& job, std::shared_ptr<SharedGroup> shared, int rank, int size,
              DeviceQueue& queue);

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void all_reduce(const Matrix& x, Reduction reduction) override;
  void all_gather(const Matrix& part, const Matrix& whole) override;
  void reduce_scatter(const Matrix& whole, const Matrix& part) override;
  void broadcast(const Matrix& x, int root) override;
  void barrier() override;

  std::unique_ptr<Message> start_send(const Matrix& x, int peer) override;
  std::unique_ptr<Message> start_receive(const Matrix& x, int peer) override;
  void wait(Message& message) override;

 private:
  /// Between the two meetings of a collective: does `work` on what all have contributed.
  template <class Work>
  void meet(Contribution mine, const Work& work);
  const Contribution& contribution(int member) const {
    return shared_->contributions[static_cast<std::size_t>(member)].contribution;
  }
  std::unique_ptr<Message> start(std::unique_ptr<ThreadMessage> message);

  ThreadJob& job_;
  std::shared_ptr<SharedGroup> shared_;
  int rank_;
  int size_;
  DeviceQueue& queue_;
  std::vector<const std::byte*> inputs_;  ///< of all members, in a reduction
  std::vector<std::byte*> outputs_;
};

}  // namespace kumihimo

#pragma once

#include <cstdint>
#include <memory>

#include "tensor/device_queue.hpp"
#include "tensor/matrix.hpp"

namespace kumihimo {

/// A message under way. Its matrix may be touched again only after wait().
class Message {
 public:
  virtual ~Message() = default;
};

/// Ranks that talk to one another: one rank's handle. Every collective is called by all members, in
/// the same order, with matrices of one shape and dtype; it returns when the result is there and
/// the inputs may be touched; of a GPU's memory, by what the rank gives its GPU afterwards. A group
/// of one rank does nothing and costs nothing.
///
/// Matrices are contiguous; fp32, bf16, fp64 and int32. Sums of bf16 are taken in fp32 and rounded
/// once. Elements are summed in the order of the ranks ((r0 + r1) + r2 ...), so that the result has
/// the same bits on every rank, on every run, and for all_reduce as for reduce_scatter followed by
/// all_gather. NCCL's groups do not promise this: GPUs of several cards sum in an order of the
/// library's, bf16 with a rounding at each step, and a maximum may lose a NaN; each run of the same
/// ranks still gives the same bits on all of them.
///
/// For the thread that made it. Throws PeerFailure if another rank of the job has failed.
class ProcessGroup {
 public:
  virtual ~ProcessGroup() = default;

  virtual int rank() const = 0;  ///< within the group
  virtual int size() const = 0;

  /// In place.
  virtual void all_reduce(const Matrix& x, Reduction reduction = Reduction::sum) = 0;
  /// whole: the parts of all ranks one below the other (size() x part.rows rows). part may be this
  /// rank's own rows of whole.
  virtual void all_gather(const Matrix& part, const Matrix& whole) = 0;
  /// part: this rank's rows of the sum of all ranks' whole. part may be this rank's own rows of
  /// whole; the other rows of whole are undefined afterwards.
  virtual void reduce_scatter(const Matrix& whole, const Matrix& part) = 0;
  virtual void broadcast(const Matrix& x, int root) = 0;
  virtual void barrier() = 0;

  /// Start a message to, or from, a member. Messages between two members arrive in the order in
  /// which they were started; a send completes when the receiver has taken it, so that any number
  /// may be under way and none is copied on the way. Neither waits.
  virtual std::unique_ptr<Message> start_send(const Matrix& x, int peer) = 0;
  virtual std::unique_ptr<Message> start_receive(const Matrix& x, int peer) = 0;
  /// Returns when the message is through. May be called once for each.
  virtual void wait(Message& message) = 0;
};

}  // namespace kumihimo

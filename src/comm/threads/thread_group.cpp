#include "comm/threads/thread_group.hpp"

#include <cstring>
#include <utility>

#include "comm/preconditions.hpp"
#include "comm/rank_order.hpp"

namespace kumihimo {
namespace {

std::byte* bytes_at(const Matrix& matrix) { return static_cast<std::byte*>(matrix.data); }

/// Does nothing where both are the same memory.
void copy(const Matrix& from, const Matrix& to) {
  if (from.data == to.data || from.bytes() == 0) return;
  std::memcpy(to.data, from.data, static_cast<std::size_t>(from.bytes()));
}

}  // namespace

ThreadGroup::ThreadGroup(ThreadJob& job, std::shared_ptr<SharedGroup> shared, int rank, int size)
    : job_(job), shared_(std::move(shared)), rank_(rank), size_(size) {
  inputs_.reserve(static_cast<std::size_t>(size));
  outputs_.reserve(static_cast<std::size_t>(size));
}

void ThreadGroup::all_reduce(const Matrix& x, Reduction reduction) {
  check_reducible(x);
  arrive({Contribution::Kind::all_reduce, reduction, 0, x, x});
  inputs_.clear();
  outputs_.clear();
  for (int member = 0; member < size_; ++member) {
    inputs_.push_back(bytes_at(contribution(member).in));
    outputs_.push_back(bytes_at(contribution(member).out));
  }
  // A share belongs to one member in all matrices: it can be written everywhere at once, while it
  // is in the cache.
  reduce_in_rank_order(inputs_, outputs_, share_of(x.elements(), rank_, size_), x.dtype, reduction);
  depart();
}

void ThreadGroup::all_gather(const Matrix& part, const Matrix& whole) {
  check_part(part, whole, size_);
  arrive({Contribution::Kind::all_gather, Reduction::sum, 0, part, whole});
  for (int member = 0; member < size_; ++member) {
    copy(contribution(member).in, rows_of(whole, member * part.rows, part.rows));
  }
  depart();
}

void ThreadGroup::reduce_scatter(const Matrix& whole, const Matrix& part) {
  check_reducible(whole);
  check_part(part, whole, size_);
  arrive({Contribution::Kind::reduce_scatter, Reduction::sum, 0, whole, part});
  inputs_.clear();
  for (int member = 0; member < size_; ++member) {
    inputs_.push_back(bytes_at(rows_of(contribution(member).in, rank_ * part.rows, part.rows)));
  }
  outputs_.assign(1, bytes_at(part));
  reduce_in_rank_order(inputs_, outputs_, {0, part.elements()}, part.dtype, Reduction::sum);
  depart();
}

void ThreadGroup::broadcast(const Matrix& x, int root) {
  KUMIHIMO_CHECK(x.contiguous() && root >= 0 && root < size_);
  arrive({Contribution::Kind::broadcast, Reduction::sum, root, x, x});
  copy(contribution(root).in, x);
  depart();
}

void ThreadGroup::barrier() {
  arrive({});
  depart();
}

std::unique_ptr<Message> ThreadGroup::start_send(const Matrix& x, int peer) {
  check_peer(x, peer, rank_, size_);
  Inbox& inbox = shared_->inboxes[static_cast<std::size_t>(peer)];
  return start(std::make_unique<ThreadMessage>(inbox, ThreadMessage::End::send, rank_, x));
}

std::unique_ptr<Message> ThreadGroup::start_receive(const Matrix& x, int peer) {
  check_peer(x, peer, rank_, size_);
  Inbox& inbox = shared_->inboxes[static_cast<std::size_t>(rank_)];
  return start(std::make_unique<ThreadMessage>(inbox, ThreadMessage::End::receive, peer, x));
}

std::unique_ptr<Message> ThreadGroup::start(std::unique_ptr<ThreadMessage> message) {
  if (!message->inbox_.start(*message)) job_.throw_peer_failure();
  return message;
}

void ThreadGroup::wait(Message& message) {
  auto& own = static_cast<ThreadMessage&>(message);
  if (!own.inbox_.wait(own)) job_.throw_peer_failure();
}

void ThreadGroup::arrive(const Contribution& mine) {
  shared_->contributions[static_cast<std::size_t>(rank_)].contribution = mine;
  if (!shared_->arrival.arrive_and_wait()) job_.throw_peer_failure();
  // If any two members differ, every member differs from one: all fail, and none is left behind.
  for (int member = 0; member < size_; ++member) {
    KUMIHIMO_CHECK(mine.matches(contribution(member)));
  }
}

void ThreadGroup::depart() { shared_->departure.arrive_and_wait(); }

}  // namespace kumihimo

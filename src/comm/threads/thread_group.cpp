#include "comm/threads/thread_group.hpp"

#include <utility>

#include "comm/preconditions.hpp"
#include "comm/rank_order.hpp"

namespace kumihimo {
namespace {

std::byte* bytes_at(const Matrix& matrix) { return static_cast<std::byte*>(matrix.data); }

}  // namespace

ThreadGroup::ThreadGroup(ThreadJob& job, std::shared_ptr<SharedGroup> shared, int rank, int size,
                         DeviceQueue& queue)
    : job_(job), shared_(std::move(shared)), rank_(rank), size_(size), queue_(queue) {
  inputs_.reserve(static_cast<std::size_t>(size));
  outputs_.reserve(static_cast<std::size_t>(size));
}

template <class Work>
void ThreadGroup::meet(Contribution mine, const Work& work) {
  SharedGroup::Slot& slot = shared_->contributions[static_cast<std::size_t>(rank_)];
  mine.ready = queue_.point();
  slot.contribution = std::move(mine);
  if (!shared_->arrival.arrive_and_wait()) job_.throw_peer_failure();
  // If any two members differ, every member differs from one: all fail, and none is left behind.
  for (int member = 0; member < size_; ++member) {
    KUMIHIMO_CHECK(slot.contribution.matches(contribution(member)));
  }
  try {
    for (int member = 0; member < size_; ++member) {
      if (member != rank_) queue_.wait_for(contribution(member).ready);
    }
    work();
    slot.done = queue_.point();
  } catch (...) {  // a device's: the others shall not wait here for ever, and learn of it next time
    slot.done = nullptr;
    shared_->departure.arrive_and_wait();
    throw;
  }
  // When all members are done with what the others contributed:
  shared_->departure.arrive_and_wait();
  for (int member = 0; member < size_; ++member) {
    if (member != rank_) {
      queue_.wait_for(shared_->contributions[static_cast<std::size_t>(member)].done);
    }
  }
}

void ThreadGroup::all_reduce(const Matrix& x, Reduction reduction) {
  check_reducible(x);
  meet({Contribution::Kind::all_reduce, reduction, 0, x, x, nullptr}, [&] {
    inputs_.clear();
    outputs_.clear();
    for (int member = 0; member < size_; ++member) {
      inputs_.push_back(bytes_at(contribution(member).in));
      outputs_.push_back(bytes_at(contribution(member).out));
    }
    // A share belongs to one member in all matrices: it can be written everywhere at once, while
    // it is in the cache.
    queue_.reduce(inputs_, outputs_, share_of(x.elements(), rank_, size_), x.dtype, reduction);
  });
}

void ThreadGroup::all_gather(const Matrix& part, const Matrix& whole) {
  check_part(part, whole, size_);
  meet({Contribution::Kind::all_gather, Reduction::sum, 0, part, whole, nullptr}, [&] {
    for (int member = 0; member < size_; ++member) {
      const Matrix& from = contribution(member).in;
      queue_.copy(from.data, rows_of(whole, member * part.rows, part.rows).data, from.bytes());
    }
  });
}

void ThreadGroup::reduce_scatter(const Matrix& whole, const Matrix& part) {
  check_reducible(whole);
  check_part(part, whole, size_);
  meet({Contribution::Kind::reduce_scatter, Reduction::sum, 0, whole, part, nullptr}, [&] {
    inputs_.clear();
    for (int member = 0; member < size_; ++member) {
      inputs_.push_back(bytes_at(rows_of(contribution(member).in, rank_ * part.rows, part.rows)));
    }
    outputs_.assign(1, bytes_at(part));
    queue_.reduce(inputs_, outputs_, {0, part.elements()}, part.dtype, Reduction::sum);
  });
}

void ThreadGroup::broadcast(const Matrix& x, int root) {
  KUMIHIMO_CHECK(x.contiguous() && root >= 0 && root < size_);
  meet({Contribution::Kind::broadcast, Reduction::sum, root, x, x, nullptr},
       [&] { queue_.copy(contribution(root).in.data, x.data, x.bytes()); });
}

void ThreadGroup::barrier() {
  meet({}, [] {});
}

std::unique_ptr<Message> ThreadGroup::start_send(const Matrix& x, int peer) {
  check_peer(x, peer, rank_, size_);
  Inbox& inbox = shared_->inboxes[static_cast<std::size_t>(peer)];
  return start(std::make_unique<ThreadMessage>(inbox, queue_, ThreadMessage::End::send, rank_, x));
}

std::unique_ptr<Message> ThreadGroup::start_receive(const Matrix& x, int peer) {
  check_peer(x, peer, rank_, size_);
  Inbox& inbox = shared_->inboxes[static_cast<std::size_t>(rank_)];
  return start(
      std::make_unique<ThreadMessage>(inbox, queue_, ThreadMessage::End::receive, peer, x));
}

std::unique_ptr<Message> ThreadGroup::start(std::unique_ptr<ThreadMessage> message) {
  if (!message->inbox_.start(*message)) job_.throw_peer_failure();
  return message;
}

void ThreadGroup::wait(Message& message) {
  auto& own = static_cast<ThreadMessage&>(message);
  if (!own.inbox_.wait(own)) job_.throw_peer_failure();
}

}  // namespace kumihimo

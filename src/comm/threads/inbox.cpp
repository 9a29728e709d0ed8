#include "comm/threads/inbox.hpp"

#include <algorithm>
#include <exception>

namespace kumihimo {

bool Inbox::start(ThreadMessage& message) {
  using Progress = ThreadMessage::Progress;
  std::unique_lock lock(mutex_);
  if (closed_) return false;
  const auto found =
      std::find_if(unmatched_.begin(), unmatched_.end(),
                   [&](const ThreadMessage* other) { return message.is_other_half_of(*other); });
  if (found == unmatched_.end()) {
    unmatched_.push_back(&message);
    return true;
  }
  ThreadMessage& other = **found;
  KUMIHIMO_CHECK(message.matrix_.bytes() == other.matrix_.bytes() &&
                 message.matrix_.dtype == other.matrix_.dtype);
  unmatched_.erase(found);
  message.progress_ = other.progress_ = Progress::copying;
  lock.unlock();  // whoever withdraws one of the two now waits for the copy
  const bool sends = message.end_ == ThreadMessage::End::send;
  const Matrix& from = sends ? message.matrix_ : other.matrix_;
  const Matrix& to = sends ? other.matrix_ : message.matrix_;
  std::exception_ptr failure;  // a device's
  try {
    message.queue_.wait_for(other.ready_);
    message.queue_.copy(from.data, to.data, from.bytes());
    message.copied_ = other.copied_ = message.queue_.point();
  } catch (...) {
    failure = std::current_exception();
  }
  lock.lock();
  message.progress_ = other.progress_ = Progress::through;
  lock.unlock();  // so that who wakes finds the mutex free
  changed_.notify_all();
  if (failure) std::rethrow_exception(failure);
  return true;
}

bool Inbox::wait(ThreadMessage& message) {
  using Progress = ThreadMessage::Progress;
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] {
    return message.progress_ == Progress::through ||
           (closed_ && message.progress_ == Progress::started);
  });
  if (message.progress_ != Progress::through) return false;
  lock.unlock();
  message.queue_.wait_for(message.copied_);
  return true;
}

void Inbox::withdraw(ThreadMessage& message) noexcept {
  using Progress = ThreadMessage::Progress;
  std::unique_lock lock(mutex_);
  std::erase(unmatched_, &message);
  changed_.wait(lock, [&] { return message.progress_ != Progress::copying; });
}

void Inbox::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  unmatched_.clear();
  changed_.notify_all();
}

}  // namespace kumihimo

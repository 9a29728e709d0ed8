#include "comm/queued_stream.hpp"

#include <utility>

namespace kumihimo {
namespace {

constexpr CommunicationStream::Ticket remembered_tickets = 1000;

}  // namespace

QueuedStream::QueuedStream(CommunicationClock& rank_clock, CommunicationClock& stream_clock,
                           DeviceQueue& rank_queue, DeviceQueue& stream_queue,
                           std::function<void()> give_up)
    : rank_clock_(rank_clock),
      stream_clock_(stream_clock),
      rank_queue_(rank_queue),
      stream_queue_(stream_queue),
      give_up_(std::move(give_up)),
      exceptions_at_birth_(std::uncaught_exceptions()),
      thread_([this] { run_queue(); }) {}

QueuedStream::~QueuedStream() {
  bool idle = false;
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    idle = failure_ || next_to_run_ == first_ + std::ssize(collectives_);
  }
  enqueued_.notify_one();
  if (!idle && std::uncaught_exceptions() > exceptions_at_birth_) give_up_();
  thread_.join();
  if (next_to_run_ == first_) return;
  try {  // the rank may give back what the last collective uses
    rank_queue_.wait_for(
        collectives_[static_cast<std::size_t>(next_to_run_ - first_ - 1)].done.point);
  } catch (const std::exception&) {  // a GPU that has failed; its other users say so
  }
}

CommunicationStream::Ticket QueuedStream::start_all_reduce(ProcessGroup& group, const Matrix& x) {
  return enqueue(Kind::all_reduce, group, x, x);
}

CommunicationStream::Ticket QueuedStream::start_all_gather(ProcessGroup& group, const Matrix& part,
                                                           const Matrix& whole) {
  return enqueue(Kind::all_gather, group, part, whole);
}

CommunicationStream::Ticket QueuedStream::start_reduce_scatter(ProcessGroup& group,
                                                               const Matrix& whole,
                                                               const Matrix& part) {
  return enqueue(Kind::reduce_scatter, group, whole, part);
}

CommunicationStream::Ticket QueuedStream::enqueue(Kind kind, ProcessGroup& group,
                                                  const Matrix& from, const Matrix& to) {
  const CommunicationCall call(rank_clock_);
  const double now_s = rank_clock_.mark().seconds;
  const auto& group_of_stream = dynamic_cast<StreamGroup&>(group).on(*this);
  auto ready = rank_queue_.point();
  Ticket ticket = 0;
  {
    const std::lock_guard lock(mutex_);
    ticket = first_ + std::ssize(collectives_);
    collectives_.push_back({kind, group_of_stream, from, to, now_s, std::move(ready), {}});
  }
  enqueued_.notify_one();
  return ticket;
}

StreamSpan QueuedStream::wait(Ticket ticket) {
  const CommunicationCall call(rank_clock_);
  std::unique_lock lock(mutex_);
  KUMIHIMO_CHECK(first_ <= ticket && ticket < first_ + std::ssize(collectives_));
  ended_.wait(lock, [&] { return ticket < next_to_run_ || failure_; });
  if (ticket >= next_to_run_) std::rethrow_exception(failure_);
  const Done done = collectives_[static_cast<std::size_t>(ticket - first_)].done;
  for (; first_ < ticket - remembered_tickets; ++first_) collectives_.pop_front();
  lock.unlock();
  rank_queue_.wait_for(done.point);
  rank_clock_.advance_to(done.span.end.seconds);
  return done.span;
}

void QueuedStream::run_queue() {
  std::unique_lock lock(mutex_);
  while (true) {
    const auto index = [this] { return static_cast<std::size_t>(next_to_run_ - first_); };
    enqueued_.wait(lock, [&] { return index() < collectives_.size() || closing_; });
    if (index() == collectives_.size()) return;
    Collective collective = std::exchange(collectives_[index()], {});
    lock.unlock();
    Done done;
    std::exception_ptr failure;
    try {
      done = run(std::move(collective));
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    if (failure) {
      failure_ = failure;
    } else {
      collectives_[index()].done = std::move(done);
      ++next_to_run_;
    }
    ended_.notify_all();
    if (failure) return;
  }
}

QueuedStream::Done QueuedStream::run(Collective collective) {
  stream_clock_.advance_to(collective.enqueued_s);
  stream_queue_.wait_for(collective.ready);
  Done done;
  done.span.begin = stream_clock_.mark();
  switch (collective.kind) {
    case Kind::all_reduce: collective.group->all_reduce(collective.to); break;
    case Kind::all_gather: collective.group->all_gather(collective.from, collective.to); break;
    case Kind::reduce_scatter:
      collective.group->reduce_scatter(collective.from, collective.to);
      break;
  }
  done.span.end = stream_clock_.mark();
  done.point = stream_queue_.point();
  return done;
}

std::unique_ptr<ProcessGroup> on_stream(CommunicationStream* stream,
                                        std::unique_ptr<ProcessGroup> group) {
  if (stream == nullptr) return group;
  return dynamic_cast<QueuedStream&>(*stream).take(std::move(group));
}

}  // namespace kumihimo

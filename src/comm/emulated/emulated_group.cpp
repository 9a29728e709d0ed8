#include "comm/emulated/emulated_group.hpp"

#include <utility>

#include "comm/preconditions.hpp"

namespace kumihimo {
namespace {

/// The sender tells the receiver when the data arrive, in a message before them.
struct EmulatedMessage final : Message {
  double arrival_s = 0;
  std::unique_ptr<Message> arrival;  // after arrival_s, which it reads or writes
  std::unique_ptr<Message> data;

  Matrix arrival_matrix() { return matrix_at(&arrival_s, 1, 1, DType::fp64); }
};

double bytes_of(const Matrix& x) { return static_cast<double>(x.bytes()); }

}  // namespace

EmulatedGroup::EmulatedGroup(std::unique_ptr<ProcessGroup> data, std::span<const int> ranks,
                             const Cluster& cluster, OutgoingLinks& outgoing,
                             CommunicationClock& clock)
    : data_(std::move(data)),
      ranks_(ranks.begin(), ranks.end()),
      link_(ring_link(cluster, ranks)),
      outgoing_(outgoing),
      clock_(clock) {}

void EmulatedGroup::all_reduce(const Matrix& x, Reduction reduction) {
  const CommunicationCall call(clock_);
  meet(all_reduce_time_s(link_, size(), bytes_of(x)));
  data_->all_reduce(x, reduction);
}

void EmulatedGroup::all_gather(const Matrix& part, const Matrix& whole) {
  const CommunicationCall call(clock_);
  meet(all_gather_time_s(link_, size(), bytes_of(whole)));
  data_->all_gather(part, whole);
}

void EmulatedGroup::reduce_scatter(const Matrix& whole, const Matrix& part) {
  const CommunicationCall call(clock_);
  meet(reduce_scatter_time_s(link_, size(), bytes_of(whole)));
  data_->reduce_scatter(whole, part);
}

void EmulatedGroup::broadcast(const Matrix& x, int root) {
  const CommunicationCall call(clock_);
  meet(broadcast_time_s(link_, size(), bytes_of(x)));
  data_->broadcast(x, root);
}

void EmulatedGroup::barrier() {
  const CommunicationCall call(clock_);
  meet(barrier_time_s(link_, size()));
}

void EmulatedGroup::meet(double duration_s) {
  double latest_s = clock_.now_s();
  data_->all_reduce(matrix_at(&latest_s, 1, 1, DType::fp64), Reduction::max);
  clock_.advance_to(latest_s + duration_s);
}

std::unique_ptr<Message> EmulatedGroup::start_send(const Matrix& x, int peer) {
  const CommunicationCall call(clock_);
  check_peer(x, peer, rank(), size());
  auto message = std::make_unique<EmulatedMessage>();
  message->arrival_s =
      outgoing_.arrival_s(ranks_[static_cast<std::size_t>(peer)], bytes_of(x), clock_.now_s());
  message->arrival = data_->start_send(message->arrival_matrix(), peer);
  message->data = data_->start_send(x, peer);
  return message;
}

std::unique_ptr<Message> EmulatedGroup::start_receive(const Matrix& x, int peer) {
  const CommunicationCall call(clock_);
  auto message = std::make_unique<EmulatedMessage>();
  message->arrival = data_->start_receive(message->arrival_matrix(), peer);
  message->data = data_->start_receive(x, peer);
  return message;
}

void EmulatedGroup::wait(Message& message) {
  const CommunicationCall call(clock_);
  auto& own = static_cast<EmulatedMessage&>(message);
  data_->wait(*own.arrival);
  data_->wait(*own.data);
  clock_.advance_to(own.arrival_s);
}

}  // namespace kumihimo

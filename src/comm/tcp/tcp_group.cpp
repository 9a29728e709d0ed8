#include "comm/tcp/tcp_group.hpp"

#include <utility>

#include "comm/preconditions.hpp"

namespace kumihimo {
namespace {

std::byte* bytes_at(const Matrix& matrix) { return static_cast<std::byte*>(matrix.data); }

}  // namespace

/// A receive, or a send, which was through when it was started.
class TcpGroup::TcpMessage final : public Message {
 public:
  explicit TcpMessage(Receive to_receive = {}) : receive(to_receive) {}
  Receive receive;
  bool receives = false;
};

TcpGroup::TcpGroup(TcpJob& job, std::vector<int> ranks, int rank, std::uint64_t channel)
    : PairwiseGroup(rank, static_cast<int>(ranks.size())),
      job_(job),
      ranks_(std::move(ranks)),
      collectives_(channel),
      messages_(channel + 1) {}

void TcpGroup::broadcast(const Matrix& x, int root) {
  KUMIHIMO_CHECK(x.contiguous() && root >= 0 && root < size());
  if (rank() == root) {
    for (int k = 1; k < size(); ++k) start_sending(bytes_at(x), x.bytes(), receiver(k));
  } else {
    start_receiving(bytes_at(x), x.bytes(), root);
  }
  finish();
}

void TcpGroup::barrier() {
  for (int k = 1; k < size(); ++k) {
    start_sending(nullptr, 0, receiver(k));
    start_receiving(nullptr, 0, sender(k));
  }
  finish();
}

void TcpGroup::start_sending(const std::byte* data, std::int64_t bytes, int member) {
  job_.send(global(member), collectives_, data, bytes);
}

void TcpGroup::start_receiving(std::byte* data, std::int64_t bytes, int member) {
  receives_.push_back({data, bytes, member, job_.reserve(global(member), collectives_)});
}

void TcpGroup::finish() {
  for (const Receive& each : std::exchange(receives_, {})) {
    job_.receive(global(each.member), collectives_, each.number, each.data, each.bytes);
  }
}

std::unique_ptr<Message> TcpGroup::start_send(const Matrix& x, int peer) {
  check_peer(x, peer, rank(), size());
  job_.send(global(peer), messages_, bytes_at(x), x.bytes());
  return std::make_unique<TcpMessage>();
}

std::unique_ptr<Message> TcpGroup::start_receive(const Matrix& x, int peer) {
  check_peer(x, peer, rank(), size());
  auto message = std::make_unique<TcpMessage>(
      Receive{bytes_at(x), x.bytes(), peer, job_.reserve(global(peer), messages_)});
  message->receives = true;
  return message;
}

void TcpGroup::wait(Message& message) {
  const auto& own = static_cast<TcpMessage&>(message);
  if (!own.receives) return;
  job_.receive(global(own.receive.member), messages_, own.receive.number, own.receive.data,
               own.receive.bytes);
}

}  // namespace kumihimo

#include "comm/tcp/tcp_job.hpp"

#include <cstring>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include "comm/world.hpp"

namespace kumihimo {
namespace {

using namespace std::chrono_literals;

/// A peer's thread takes in all that comes: who does not within this has stopped, or its network.
constexpr auto longest_transfer = 120s;
constexpr std::int64_t longest_text = 4096;

Deadline soon() { return std::chrono::steady_clock::now() + longest_transfer; }

}  // namespace

TcpJob::TcpJob(int rank, std::vector<Socket> links)
    : rank_(rank), links_(links.size()), ended_(links.size(), false) {
  for (std::size_t i = 0; i < links.size(); ++i) {
    links_[i].socket = std::move(links[i]);
    if (links_[i].socket.open()) ++open_links_;
  }
  int pair[2] = {-1, -1};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
    throw std::system_error(errno, std::generic_category(), "socketpair");
  }
  wake_reader_ = Socket(pair[0]);
  wake_writer_ = Socket(pair[1]);
  thread_ = std::thread([this] { take_in(); });
}

TcpJob::~TcpJob() {
  wake_writer_ = Socket();
  thread_.join();
}

void TcpJob::send(int to, std::uint64_t channel, const std::byte* data, std::int64_t bytes) {
  check();
  try {
    send_frame(to, Kind::data, channel, data, bytes);
  } catch (const std::system_error& error) {
    // What the peer said before it went is the better reason, and may be on its way.
    {
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, 1s, [this] { return failure_.has_value(); });
    }
    note_failure(fmt::format("rank {} cannot be reached: {}", to, error.what()), to);
    check();
  }
}

void TcpJob::send_frame(int to, Kind kind, std::uint64_t channel, const std::byte* data,
                        std::int64_t bytes) {
  Link& link = links_[static_cast<std::size_t>(to)];
  const Header header{static_cast<std::uint32_t>(kind), 0, channel, bytes};
  const std::lock_guard lock(link.sending);
  link.socket.send(std::as_bytes(std::span(&header, 1)), soon());
  link.socket.send({data, static_cast<std::size_t>(bytes)}, soon());
}

std::int64_t TcpJob::reserve(int from, std::uint64_t channel) {
  const std::lock_guard lock(mutex_);
  return channels_[{from, channel}].next_to_reserve++;
}

void TcpJob::receive(int from, std::uint64_t channel, std::int64_t number, std::byte* data,
                     std::int64_t bytes) {
  std::unique_lock lock(mutex_);
  auto& arrived = channels_[{from, channel}].arrived;
  auto found = arrived.end();
  changed_.wait(lock, [&] {
    found = arrived.find(number);
    return found != arrived.end() || failure_ || ended_[static_cast<std::size_t>(from)];
  });
  if (failure_) throw PeerFailure(*failure_);
  if (found == arrived.end()) {
    throw PeerFailure(fmt::format("rank {} has ended, and rank {} waits for it", from, rank_));
  }
  const Frame frame = std::move(found->second);
  arrived.erase(found);
  lock.unlock();
  KUMIHIMO_CHECK(std::ssize(frame) == bytes);
  if (bytes > 0) std::memcpy(data, frame.data(), frame.size());
}

void TcpJob::tell_all(Kind kind, std::uint64_t channel, const std::string& text,
                      std::chrono::seconds patience) {
  for (std::size_t to = 0; to < links_.size(); ++to) {
    if (!links_[to].socket.open()) continue;
    try {
      send_frame(static_cast<int>(to), kind, channel,
                 reinterpret_cast<const std::byte*>(text.data()), std::ssize(text));
      links_[to].socket.end_sending();
    } catch (const std::system_error&) {  // it has gone itself
    }
  }
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, patience, [this] { return open_links_ == 0; });
}

void TcpJob::end() { tell_all(Kind::ended, 0, "", longest_transfer); }

void TcpJob::fail(std::string text) {
  text.resize(std::min(text.size(), static_cast<std::size_t>(longest_text)));
  const std::optional<int> lost = lost_rank();
  tell_all(lost ? Kind::lost : Kind::failed, static_cast<std::uint64_t>(lost.value_or(0)), text,
           5s);
}

void TcpJob::give_up() { note_failure("this rank has given up"); }

void TcpJob::check() {
  const std::lock_guard lock(mutex_);
  if (failure_) throw PeerFailure(*failure_);
}

std::optional<int> TcpJob::lost_rank() {
  const std::lock_guard lock(mutex_);
  return lost_;
}

void TcpJob::note_failure(std::string text, std::optional<int> lost) {
  {
    const std::lock_guard lock(mutex_);
    if (!failure_) {
      failure_ = std::move(text);
      lost_ = lost;
    }
  }
  changed_.notify_all();
}

void TcpJob::take_in() {
  std::vector<pollfd> waiting{{wake_reader_.descriptor(), POLLIN, 0}};
  std::vector<int> ranks{-1};
  for (std::size_t rank = 0; rank < links_.size(); ++rank) {
    if (!links_[rank].socket.open()) continue;
    waiting.push_back({links_[rank].socket.descriptor(), POLLIN, 0});
    ranks.push_back(static_cast<int>(rank));
  }
  while (true) {
    if (poll(waiting.data(), waiting.size(), -1) < 0) continue;  // EINTR
    if (waiting[0].revents != 0) return;
    for (std::size_t i = 1; i < waiting.size(); ++i) {
      if (waiting[i].revents == 0) continue;
      bool more = false;
      try {
        more = take_in_frame(ranks[i]);
      } catch (const std::exception& error) {
        note_failure(fmt::format("rank {} cannot be reached: {}", ranks[i], error.what()),
                     ranks[i]);
      }
      if (more) continue;
      waiting[i].fd = -1;  // poll leaves it out
      const std::lock_guard lock(mutex_);
      --open_links_;
      changed_.notify_all();
    }
  }
}

bool TcpJob::take_in_frame(int from) {
  const Socket& socket = links_[static_cast<std::size_t>(from)].socket;
  Header header;
  if (!socket.receive(std::as_writable_bytes(std::span(&header, 1)), soon())) {
    note_failure(
        fmt::format("rank {} has ended without a word: its process or its machine died", from),
        from);
    return false;
  }
  KUMIHIMO_CHECK(header.bytes >= 0);
  switch (static_cast<Kind>(header.kind)) {
    case Kind::ended: {
      {
        const std::lock_guard lock(mutex_);
        ended_[static_cast<std::size_t>(from)] = true;
      }
      changed_.notify_all();
      return false;
    }
    case Kind::failed:
    case Kind::lost: {
      std::string text(static_cast<std::size_t>(std::min(header.bytes, longest_text)), ' ');
      socket.receive(std::as_writable_bytes(std::span(text)), soon());
      const bool lost = static_cast<Kind>(header.kind) == Kind::lost;
      note_failure(std::move(text),
                   lost ? std::optional(static_cast<int>(header.channel)) : std::nullopt);
      return false;
    }
    case Kind::data: break;
  }
  Frame frame(static_cast<std::size_t>(header.bytes));
  if (!frame.empty() && !socket.receive(frame, soon())) {
    throw std::runtime_error("it has closed in the middle of a message");
  }
  {
    const std::lock_guard lock(mutex_);
    Channel& channel = channels_[{from, header.channel}];
    channel.arrived.emplace(channel.next_to_arrive++, std::move(frame));
  }
  changed_.notify_all();
  return true;
}

}  // namespace kumihimo

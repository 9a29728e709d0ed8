#include "comm/tcp/rendezvous.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <fmt/format.h>
#include <random>

#include "base/check.hpp"

namespace kumihimo {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr std::array<char, 8> magic{'K', 'U', 'M', 'I', 'H', 'I', 'M', 'O'};
constexpr std::uint32_t protocol = 1;
/// How long who has connected may take for its first words.
constexpr auto patience = 3s;

/// The first words of a rank. All machines of a job store numbers alike.
struct Hello {
  std::array<char, 8> magic{};
  std::uint32_t protocol = 0;
  std::int32_t size = 0;
  std::int32_t rank = 0;
  std::int32_t port = 0;  ///< where it waits for ranks above its own
  std::uint64_t job = 0;  ///< as rank 0 has numbered it, or 0
};

/// Rank 0's answer: `text_bytes` of why not, or the addresses of all ranks.
struct Answer {
  std::uint32_t text_bytes = 0;
  std::uint32_t padding = 0;
  std::uint64_t job = 0;
};
struct Address {
  std::array<char, 60> host{};
  std::int32_t port = 0;
};

template <class T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}
template <class T>
std::span<std::byte> writable_bytes_of(T& value) {
  return std::as_writable_bytes(std::span(&value, 1));
}

Hello hello_of(const TcpPlace& place, int port, std::uint64_t job) {
  return {magic, protocol, place.size, place.rank, port, job};
}

/// What a rank says that has connected; nothing from who is none.
std::optional<Hello> receive_hello(const Socket& socket, Deadline deadline) {
  Hello hello;
  try {
    const Deadline soon = std::min(deadline, Clock::now() + patience);
    if (!socket.receive(writable_bytes_of(hello), soon)) return std::nullopt;
  } catch (const std::system_error&) {
    return std::nullopt;
  }
  const bool ours = hello.magic == magic && hello.protocol == protocol;
  return ours ? std::optional(hello) : std::nullopt;
}

std::string seconds_text(std::chrono::milliseconds timeout) {
  return fmt::format("{:.3g} s", std::chrono::duration<double>(timeout).count());
}

/// Rank 0 of a rendezvous.
class Host {
 public:
  Host(const TcpPlace& place, std::chrono::milliseconds timeout)
      : place_(place), timeout_(timeout), deadline_(Clock::now() + timeout) {
    links_.resize(static_cast<std::size_t>(place.size));
    addresses_.resize(static_cast<std::size_t>(place.size));
  }

  std::vector<Socket> meet() {
    const Socket listener = listen();
    for (int missing = place_.size - 1; missing > 0;) {
      auto socket = listener.accept(deadline_);
      if (!socket) refuse_all(missing_text());
      const auto hello = receive_hello(*socket, deadline_);
      if (!hello) {
        ++strangers_;
        continue;
      }
      take_in(*std::move(socket), *hello);
      --missing;
    }
    std::random_device random;
    const std::uint64_t job = (std::uint64_t{random()} << 32 | random()) | 1;
    for (std::size_t rank = 1; rank < links_.size(); ++rank) {
      const Answer answer{0, 0, job};
      const Deadline soon = Clock::now() + patience;
      links_[rank].send(bytes_of(answer), soon);
      links_[rank].send(std::as_bytes(std::span(addresses_)), soon);
    }
    return std::move(links_);
  }

 private:
  Socket listen() const {
    try {
      return Socket::listening(place_.port);
    } catch (const std::system_error& error) {
      throw RendezvousFailure(fmt::format(
          "rank 0 cannot wait at port {}: {}; set MASTER_PORT to a free one, for all ranks",
          place_.port, error.code().message()));
    }
  }

  void take_in(Socket link, const Hello& hello) {
    if (hello.size != place_.size) {
      refuse(link, size_text(hello));
      refuse_all(size_text(hello));
    }
    if (hello.rank < 1 || hello.rank >= place_.size || links_[index(hello)].open()) {
      const std::string text =
          fmt::format("two processes say that they are rank {} of {}", hello.rank, hello.size);
      refuse(link, text);
      refuse_all(text);
    }
    Address& address = addresses_[index(hello)];
    std::string host = link.peer_address();
    // From this machine itself: others know it by another name.
    if (host.starts_with("127.") || host == "::1") host = place_.host;
    host.copy(address.host.data(), address.host.size() - 1);
    address.port = hello.port;
    links_[index(hello)] = std::move(link);
  }

  static std::size_t index(const Hello& hello) { return static_cast<std::size_t>(hello.rank); }

  std::string size_text(const Hello& hello) const {
    return fmt::format(
        "rank {} was started in a world of {}, rank 0 in one of {}: set WORLD_SIZE alike for all",
        hello.rank, hello.size, place_.size);
  }

  std::string missing_text() const {
    std::vector<int> missing;
    for (int rank = 1; rank < place_.size; ++rank) {
      if (!links_[static_cast<std::size_t>(rank)].open()) missing.push_back(rank);
    }
    constexpr std::size_t most_named = 8;
    const std::size_t all = missing.size();
    missing.resize(std::min(all, most_named));
    return fmt::format(
        "{} {}{} of {} did not come to {} port {} within {}{}", all == 1 ? "rank" : "ranks",
        fmt::join(missing, ", "), all > most_named ? ", ..." : "", place_.size, place_.host,
        place_.port, seconds_text(timeout_),
        strangers_ > 0 ? fmt::format("; {} that came spoke otherwise than a rank", strangers_)
                       : "");
  }

  static void refuse(const Socket& link, const std::string& text) {
    try {
      const Answer answer{static_cast<std::uint32_t>(text.size()), 0, 0};
      const Deadline soon = Clock::now() + patience;
      link.send(bytes_of(answer), soon);
      link.send(std::as_bytes(std::span(text)), soon);
      link.end_sending();
    } catch (const std::system_error&) {  // it has gone itself
    }
  }

  [[noreturn]] void refuse_all(const std::string& text) const {
    for (const Socket& link : links_) {
      if (link.open()) refuse(link, text);
    }
    throw RendezvousFailure(text);
  }

  TcpPlace place_;
  std::chrono::milliseconds timeout_;
  Deadline deadline_;
  std::vector<Socket> links_;
  std::vector<Address> addresses_;
  int strangers_ = 0;
};

/// Any other rank.
class Guest {
 public:
  Guest(const TcpPlace& place, std::chrono::milliseconds timeout)
      : place_(place), timeout_(timeout), deadline_(Clock::now() + timeout) {
    links_.resize(static_cast<std::size_t>(place.size));
  }

  std::vector<Socket> meet() {
    const Socket listener = Socket::listening(0);
    Socket host = call_host();
    host.send(bytes_of(hello_of(place_, listener.port(), 0)), deadline_);
    Answer answer;
    std::vector<Address> addresses(static_cast<std::size_t>(place_.size));
    receive_answer(host, answer, addresses);
    links_[0] = std::move(host);
    try {
      call_lower(answer.job, addresses, listener.port());
      await_higher(answer.job, listener);
    } catch (const std::system_error& error) {
      throw RendezvousFailure(
          fmt::format("rank {} cannot reach the others: {}", place_.rank, error.what()));
    }
    return std::move(links_);
  }

 private:
  Socket call_host() const {
    try {
      return Socket::connected(place_.host, place_.port, deadline_);
    } catch (const std::system_error& error) {
      const bool nobody = error.code() == std::errc::timed_out;
      throw RendezvousFailure(fmt::format(
          "rank {} found no rank 0 at {} port {}{}: check MASTER_ADDR and MASTER_PORT, and that "
          "rank 0 was started",
          place_.rank, place_.host, place_.port,
          nobody ? " within " + seconds_text(timeout_) : fmt::format(" ({})", error.what())));
    }
  }

  void receive_answer(const Socket& host, Answer& answer, std::vector<Address>& addresses) const {
    // Rank 0 may have begun to wait later than this one, and says itself who is missing.
    const Deadline later = deadline_ + timeout_ + patience;
    constexpr std::uint32_t longest_text = 4096;
    try {
      bool complete = host.receive(writable_bytes_of(answer), later);
      if (complete && answer.text_bytes > 0 && answer.text_bytes <= longest_text) {
        std::string text(answer.text_bytes, ' ');
        host.receive(std::as_writable_bytes(std::span(text)), later);
        throw RendezvousFailure(text);
      }
      complete = complete && answer.text_bytes == 0 &&
                 host.receive(std::as_writable_bytes(std::span(addresses)), later);
      if (complete) return;
    } catch (const std::system_error&) {
    }
    throw RendezvousFailure(fmt::format(
        "who answers rank {} at {} port {} is no rank 0 of this program, or has ended: check "
        "MASTER_ADDR and MASTER_PORT",
        place_.rank, place_.host, place_.port));
  }

  void call_lower(std::uint64_t job, const std::vector<Address>& addresses, int port) {
    for (int rank = 1; rank < place_.rank; ++rank) {
      const Address& address = addresses[static_cast<std::size_t>(rank)];
      const std::string host(address.host.data(),
                             strnlen(address.host.data(), address.host.size()));
      Socket link = Socket::connected(host, address.port, Clock::now() + timeout_);
      link.send(bytes_of(hello_of(place_, port, job)), Clock::now() + timeout_);
      links_[static_cast<std::size_t>(rank)] = std::move(link);
    }
  }

  void await_higher(std::uint64_t job, const Socket& listener) {
    const Deadline until = Clock::now() + timeout_;
    for (int missing = place_.size - 1 - place_.rank; missing > 0;) {
      auto socket = listener.accept(until);
      if (!socket) {
        throw std::system_error(std::make_error_code(std::errc::timed_out),
                                fmt::format("{} ranks above it", missing));
      }
      const auto hello = receive_hello(*socket, until);
      if (!hello || hello->job != job || hello->rank <= place_.rank || hello->rank >= place_.size) {
        continue;
      }
      Socket& link = links_[static_cast<std::size_t>(hello->rank)];
      if (link.open()) continue;
      link = *std::move(socket);
      --missing;
    }
  }

  TcpPlace place_;
  std::chrono::milliseconds timeout_;
  Deadline deadline_;
  std::vector<Socket> links_;
};

}  // namespace

std::vector<Socket> meet(const TcpPlace& place, std::chrono::milliseconds timeout) {
  KUMIHIMO_CHECK(place.rank >= 0 && place.rank < place.size);
  if (place.size == 1) return std::vector<Socket>(1);
  return place.rank == 0 ? Host(place, timeout).meet() : Guest(place, timeout).meet();
}

}  // namespace kumihimo

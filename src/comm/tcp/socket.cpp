#include "comm/tcp/socket.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <memory>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

namespace kumihimo {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

[[noreturn]] void fail(const std::string& what, int code = errno) {
  throw std::system_error(code, std::generic_category(), what);
}

int milliseconds_until(Deadline deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000));
}

void set_option(int descriptor, int level, int name, int value) {
  if (setsockopt(descriptor, level, name, &value, sizeof value) != 0) fail("setsockopt");
}

/// Small frames leave at once; a machine that has gone is noticed within two minutes.
void make_ready(int descriptor) {
  set_option(descriptor, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(descriptor, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, 30);
  set_option(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, 15);
  set_option(descriptor, IPPROTO_TCP, TCP_KEEPCNT, 6);
  if (fcntl(descriptor, F_SETFL, O_NONBLOCK) != 0) fail("fcntl");
}

struct FreeAddresses {
  void operator()(addrinfo* addresses) const { freeaddrinfo(addresses); }
};

std::unique_ptr<addrinfo, FreeAddresses> resolve(const std::string& host, int port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int result = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (result != 0) {
    fail(fmt::format("the address of {}: {}", host, gai_strerror(result)), EADDRNOTAVAIL);
  }
  return std::unique_ptr<addrinfo, FreeAddresses>(found);
}

/// One attempt; closed if nobody answers.
Socket try_connect(const addrinfo& address, Deadline deadline) {
  Socket socket(::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket.open()) return {};
  make_ready(socket.descriptor());
  if (::connect(socket.descriptor(), address.ai_addr, address.ai_addrlen) != 0) {
    if (errno != EINPROGRESS) return {};
    pollfd waiting{socket.descriptor(), POLLOUT, 0};
    if (poll(&waiting, 1, milliseconds_until(std::min(deadline, Clock::now() + 5s))) != 1) {
      return {};
    }
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(socket.descriptor(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return {};
  }
  return socket;
}

}  // namespace

Socket::~Socket() {
  if (descriptor_ >= 0) close(descriptor_);
}

Socket Socket::listening(int port) {
  Socket socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket.open()) fail("socket");
  set_option(socket.descriptor_, SOL_SOCKET, SO_REUSEADDR, 1);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_ANY);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  if (bind(socket.descriptor_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    fail(fmt::format("port {}", port));
  }
  if (listen(socket.descriptor_, SOMAXCONN) != 0) fail(fmt::format("port {}", port));
  if (fcntl(socket.descriptor_, F_SETFL, O_NONBLOCK) != 0) fail("fcntl");
  return socket;
}

Socket Socket::connected(const std::string& host, int port, Deadline deadline) {
  const auto addresses = resolve(host, port);
  while (true) {
    for (const addrinfo* each = addresses.get(); each != nullptr; each = each->ai_next) {
      Socket socket = try_connect(*each, deadline);
      if (socket.open()) return socket;
    }
    if (Clock::now() + 50ms > deadline) fail(fmt::format("{} port {}", host, port), ETIMEDOUT);
    std::this_thread::sleep_for(50ms);
  }
}

int Socket::port() const {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  if (getsockname(descriptor_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    fail("getsockname");
  }
  return ntohs(address.sin_port);
}

std::string Socket::peer_address() const {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  char text[NI_MAXHOST] = {};
  if (getpeername(descriptor_, reinterpret_cast<sockaddr*>(&address), &size) != 0 ||
      getnameinfo(reinterpret_cast<const sockaddr*>(&address), size, text, sizeof text, nullptr, 0,
                  NI_NUMERICHOST) != 0) {
    fail("the address of a peer");
  }
  return text;
}

std::optional<Socket> Socket::accept(Deadline deadline) const {
  while (true) {
    Socket socket(::accept4(descriptor_, nullptr, nullptr, SOCK_CLOEXEC));
    if (socket.open()) {
      make_ready(socket.descriptor_);
      return socket;
    }
    // ECONNABORTED: who had come has gone again.
    if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) fail("accept");
    if (Clock::now() >= deadline) return std::nullopt;
    pollfd waiting{descriptor_, POLLIN, 0};
    poll(&waiting, 1, milliseconds_until(deadline));
  }
}

void Socket::wait_for(short events, Deadline deadline) const {
  if (Clock::now() >= deadline) fail("a peer does not answer", ETIMEDOUT);
  pollfd waiting{descriptor_, events, 0};
  poll(&waiting, 1, milliseconds_until(deadline));
}

void Socket::send(std::span<const std::byte> data, Deadline deadline) const {
  while (!data.empty()) {
    const ssize_t sent = ::send(descriptor_, data.data(), data.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      data = data.subspan(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      wait_for(POLLOUT, deadline);
    } else if (errno != EINTR) {
      fail("send");
    }
  }
}

bool Socket::receive(std::span<std::byte> data, Deadline deadline) const {
  const std::size_t all = data.size();
  while (!data.empty()) {
    const ssize_t received = recv(descriptor_, data.data(), data.size(), 0);
    if (received > 0) {
      data = data.subspan(static_cast<std::size_t>(received));
    } else if (received == 0 || errno == ECONNRESET) {
      // Reset: it died before it had read what was sent to it.
      if (data.size() == all) return false;
      fail("a peer has closed in the middle of a message", ECONNRESET);
    } else if (errno == EAGAIN) {
      wait_for(POLLIN, deadline);
    } else if (errno != EINTR) {
      fail("recv");
    }
  }
  return true;
}

void Socket::end_sending() const noexcept { shutdown(descriptor_, SHUT_WR); }

}  // namespace kumihimo

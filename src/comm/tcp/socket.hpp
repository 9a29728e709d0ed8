#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>

namespace kumihimo {

/// Until when something may take.
using Deadline = std::chrono::steady_clock::time_point;

/// Owns a TCP socket. Functions that cannot do their work throw std::system_error, whose code is
/// std::errc::timed_out after the deadline.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int descriptor) : descriptor_(descriptor) {}
  ~Socket();
  Socket(Socket&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  /// On all of this machine's addresses. `port` 0: a free one.
  static Socket listening(int port);
  /// Tries again until somebody listens there.
  static Socket connected(const std::string& host, int port, Deadline deadline);

  bool open() const { return descriptor_ >= 0; }
  int descriptor() const { return descriptor_; }
  int port() const;                  ///< its own
  std::string peer_address() const;  ///< numeric

  /// The next connection, or nothing by the deadline.
  std::optional<Socket> accept(Deadline deadline) const;
  void send(std::span<const std::byte> data, Deadline deadline) const;
  /// Fills `data`; false if the peer has closed, or died, before its first byte.
  bool receive(std::span<std::byte> data, Deadline deadline) const;
  /// Nothing can be sent any more; the peer reads to the end.
  void end_sending() const noexcept;

 private:
  void wait_for(short events, Deadline deadline) const;

  int descriptor_ = -1;
};

}  // namespace kumihimo

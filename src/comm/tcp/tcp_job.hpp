#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "comm/tcp/socket.hpp"

namespace kumihimo {

/// A process's links to all other ranks of its job, and a thread that takes in whatever arrives, so
/// that a send never waits for its receiver. Frames of one channel between two ranks arrive in the
/// order in which they were sent. For all threads.
///
/// When a rank fails or its process dies, every wait, pending or later, throws PeerFailure.
class TcpJob {
 public:
  /// `links`: by rank, none for `rank` itself.
  TcpJob(int rank, std::vector<Socket> links);
  ~TcpJob();
  TcpJob(const TcpJob&) = delete;
  TcpJob& operator=(const TcpJob&) = delete;

  void send(int to, std::uint64_t channel, const std::byte* data, std::int64_t bytes);
  /// The number of the next frame of that channel that nobody has asked for.
  std::int64_t reserve(int from, std::uint64_t channel);
  /// Waits for that frame, which must have so many bytes. Once for each.
  void receive(int from, std::uint64_t channel, std::int64_t number, std::byte* data,
               std::int64_t bytes);

  /// Tells the others that this rank has done all it wants, and waits for them to be through with
  /// what it sent.
  void end();
  /// Tells the others that a rank has failed, and which and why, as PeerFailure shall say it.
  void fail(std::string text);
  /// This rank is about to fail: its own waits end.
  void give_up();
  void check();
  /// The rank that died, or cannot be reached, and so has not said itself why the job fails.
  std::optional<int> lost_rank();

 private:
  /// `lost`: failed, but for a rank that cannot say so, in the place of the channel.
  enum class Kind : std::uint32_t { data, ended, failed, lost };
  struct Header {
    std::uint32_t kind = 0;
    std::uint32_t padding = 0;
    std::uint64_t channel = 0;
    std::int64_t bytes = 0;
  };
  struct Link {
    Socket socket;
    std::mutex sending;
  };
  using Frame = std::vector<std::byte>;
  struct Channel {
    std::int64_t next_to_arrive = 0;
    std::int64_t next_to_reserve = 0;
    std::map<std::int64_t, Frame> arrived;  ///< by number
  };

  void send_frame(int to, Kind kind, std::uint64_t channel, const std::byte* data,
                  std::int64_t bytes);
  /// Then waits, no longer than `patience`, until nobody sends any more: closing a socket with
  /// something left to read would take back what the peer has not yet read.
  void tell_all(Kind kind, std::uint64_t channel, const std::string& text,
                std::chrono::seconds patience);
  void take_in();
  /// False once the rank sends nothing any more.
  bool take_in_frame(int from);
  void note_failure(std::string text, std::optional<int> lost = std::nullopt);

  int rank_;
  std::vector<Link> links_;
  Socket wake_reader_, wake_writer_;  ///< a pair: closing the second ends the thread

  std::mutex mutex_;  // of all below
  std::condition_variable changed_;
  std::map<std::pair<int, std::uint64_t>, Channel> channels_;  ///< by rank
  std::vector<bool> ended_;                                    ///< by rank
  std::size_t open_links_ = 0;  ///< on which something may still arrive
  std::optional<std::string> failure_;
  std::optional<int> lost_;

  std::thread thread_;  ///< last: it uses all the others
};

}  // namespace kumihimo

#include <atomic>
#include <cstdio>
#include <fmt/format.h>
#include <map>
#include <optional>
#include <vector>

#include "comm/communication_clock.hpp"
#include "comm/host_queue.hpp"
#include "comm/preconditions.hpp"
#include "comm/queued_stream.hpp"
#include "comm/solo_group.hpp"
#include "comm/tcp/rendezvous.hpp"
#include "comm/tcp/tcp_group.hpp"
#include "comm/world.hpp"

namespace kumihimo {
namespace {

class TcpWorld final : public World {
 public:
  TcpWorld(TcpJob& job, int rank, int size) : job_(job), rank_(rank), size_(size) {}

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  RankClock& clock() override { return clock_; }
  std::string_view backend() const override { return "tcp"; }
  void check_peers() override { job_.check(); }
  void give_up() override { job_.give_up(); }

  std::unique_ptr<CommunicationStream> make_stream() override {
    return std::make_unique<QueuedStream>(clock_, clock_, queue_, queue_, [this] { give_up(); });
  }

  std::unique_ptr<ProcessGroup> make_group(std::span<const int> ranks,
                                           CommunicationStream* stream) override {
    return on_stream(stream, make_own_group(ranks));
  }

 private:
  std::unique_ptr<ProcessGroup> make_own_group(std::span<const int> ranks) {
    const int place = place_among(ranks, rank_, size_);
    if (ranks.size() == 1) return std::make_unique<SoloGroup>(queue_);
    std::vector<int> members(ranks.begin(), ranks.end());
    const int ordinal = groups_made_[members]++;
    return std::make_unique<TcpGroup>(job_, members, place, channel_of(members, ordinal));
  }

  /// The same for all members, whatever other groups each of them has made. Even: a group has two.
  static std::uint64_t channel_of(const std::vector<int>& ranks, int ordinal) {
    std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a over numbers
    const auto mix = [&hash](int value) {
      hash = (hash ^ static_cast<std::uint64_t>(value)) * 0x100000001b3;
      hash ^= hash >> 29;
    };
    for (const int rank : ranks) mix(rank);
    mix(-1);
    mix(ordinal);
    return hash & ~std::uint64_t{1};
  }

  TcpJob& job_;
  int rank_;
  int size_;
  HostQueue queue_;
  WallClock clock_;
  std::map<std::vector<int>, int> groups_made_;
};

void say(int rank, const char* what) {
  fmt::print(stderr, "kumihimo: rank {}: {}\n", rank, what);
  std::fflush(stderr);
}

int report(TcpJob& job, int rank, const std::exception& error,
           const std::function<int(const std::exception&)>& exit_code_of) {
  if (dynamic_cast<const PeerFailure*>(&error) == nullptr) {
    say(rank, error.what());
    job.fail(fmt::format("rank {} failed: {}", rank, error.what()));
  } else {
    // Who failed has said why; for a rank that is lost the first of the others does.
    const std::optional<int> lost = job.lost_rank();
    if (lost && rank == (*lost == 0 ? 1 : 0)) say(rank, error.what());
    job.fail(error.what());  // which names the first to fail
  }
  return exit_code_of(error);
}

}  // namespace

int run_tcp(const TcpPlace& place, std::chrono::milliseconds timeout, const RankBody& body,
            const std::function<int(const std::exception&)>& exit_code_of) {
  TcpJob job(place.rank, meet(place, timeout));
  try {
    TcpWorld world(job, place.rank, place.size);
    body(world);
  } catch (const std::exception& error) {
    return report(job, place.rank, error, exit_code_of);
  } catch (...) {
    return report(job, place.rank, std::runtime_error("an exception of unknown type"),
                  exit_code_of);
  }
  job.end();
  return 0;
}

}  // namespace kumihimo

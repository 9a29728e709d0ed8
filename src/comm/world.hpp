#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "cluster/cluster.hpp"
#include "comm/process_group.hpp"

namespace kumihimo {

class Gpu;  // tensor/gpu.hpp

/// Another rank of the job has failed; what() says which, and why where it is known.
class PeerFailure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// When a rank had done all that it had been given so far: a time, or a point in the queue of its
/// device whose time is known later.
struct Moment {
  double seconds = 0;
  std::shared_ptr<const DeviceQueue::Point> point;  ///< null: seconds holds
};

/// The time of one rank, in seconds from some moment: the wall clock; where ranks are emulated, a
/// virtual clock that computing and messages advance; where they compute on GPUs, the GPU's own
/// clock, read off points of its queue.
class RankClock {
 public:
  virtual ~RankClock() = default;
  /// Waits for what the rank has given its device.
  virtual double now_s() = 0;
  /// The present moment, without waiting.
  virtual Moment mark() { return {now_s(), nullptr}; }
  /// After it, seconds_at() can tell the time of every mark so far that the rank's own work has
  /// passed or waited for.
  virtual void settle() {}
  virtual double seconds_at(const Moment& moment) { return moment.seconds; }
};

/// When a collective that ran on a communication stream was at work, by the rank's clock.
struct StreamSpan {
  Moment begin;
  Moment end;
};

/// A queue of collectives that run beside the rank's own work, in order, on groups made for it:
/// what overlaps with computing. All members enqueue the same collectives in the same order.
/// Matrices must stay untouched until wait() for that collective, or for a later one of this
/// stream, returns.
class CommunicationStream {
 public:
  using Ticket = std::int64_t;

  virtual ~CommunicationStream() = default;

  /// `group` must have been made by make_group of this stream's world with this stream.
  virtual Ticket start_all_reduce(ProcessGroup& group, const Matrix& x) = 0;
  virtual Ticket start_all_gather(ProcessGroup& group, const Matrix& part, const Matrix& whole) = 0;
  virtual Ticket start_reduce_scatter(ProcessGroup& group, const Matrix& whole,
                                      const Matrix& part) = 0;
  /// Waits until that collective has ended and says when it ran. Throws what it threw.
  virtual StreamSpan wait(Ticket ticket) = 0;
};

/// A job as one of its ranks sees it. For that rank's thread.
class World {
 public:
  virtual ~World() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual RankClock& clock() = 0;
  /// "threads", "mpi", "tcp", "emulated".
  virtual std::string_view backend() const = 0;
  bool emulated() const { return backend() == "emulated"; }

  /// The GPU in whose memory the matrices of this world's groups lie, and whose queue the groups
  /// keep to: a collective that has returned is done for what the rank gives its GPU afterwards.
  /// Null: the host's memory.
  virtual Gpu* gpu() { return nullptr; }
  /// Throws PeerFailure if another rank is known to have failed.
  virtual void check_peers() {}
  /// This rank is about to fail: its own waits end with PeerFailure, now rather than when the
  /// others have learned of it.
  virtual void give_up() {}
  /// The same ranks with groups on GPU memory, where all of them are threads that share this one
  /// GPU; null where they are not threads. Called by all. This world and `gpu` outlive it.
  virtual std::unique_ptr<World> sharing(Gpu& /*gpu*/) { return nullptr; }

  virtual std::unique_ptr<CommunicationStream> make_stream() = 0;

  /// The group of `ranks` (global, ascending, this rank among them). Called by all its members;
  /// where a rank belongs to several groups, they are made in one order by all. `stream`: the
  /// group's collectives run on that stream only; without, on the rank's own thread.
  virtual std::unique_ptr<ProcessGroup> make_group(std::span<const int> ranks,
                                                   CommunicationStream* stream = nullptr) = 0;
};

/// The world on which a rank of `host` computes: on its GPU, or elsewhere. Called by all ranks.
using PlaceRank = std::function<std::shared_ptr<World>(World& host)>;

/// What a rank does. Exceptions end the job on all ranks.
using RankBody = std::function<void(World& world)>;

/// Runs `body` on `ranks` threads of this process. When a rank throws, the others' pending and
/// later calls throw PeerFailure; all threads are joined, and the first rank's own exception is
/// rethrown (what() then begins with "rank 3: " unless it is an OutOfMemory, which is passed on as
/// it is).
void run_threads(int ranks, const RankBody& body);

/// The same, with virtual clocks: a rank's time is the processor time of its own thread while it
/// computes, plus what messages take on the links of `cluster` (ranks fill nodes in order). Any
/// number of ranks thus shows its bubbles and its communication on any machine. Its times are
/// emulated, never measured. Requires ranks <= cluster.devices(), or says so in an Error.
Expected<bool> run_emulated(int ranks, const Cluster& cluster, const RankBody& body);

/// Whether this process was started by an MPI launcher (mpirun, srun), without initialising MPI.
bool started_by_mpi();

/// Runs `body` in this process as its rank of the MPI job. When it throws, what() is printed to
/// stderr as "rank 3: …" and the whole job is aborted with `exit_code_of`'s answer; ranks that
/// learn of a failure only through PeerFailure say nothing. An Error where the program was built
/// without MPI.
Expected<bool> run_mpi(const RankBody& body,
                       const std::function<int(const std::exception&)>& exit_code_of);

/// Rank and size under run_mpi's launcher before `body` runs: lets the caller check flags once.
struct MpiPlace {
  int rank = 0;
  int size = 1;
};

/// Initialises MPI. An Error where the program was built without it.
Expected<MpiPlace> mpi_place();

struct TcpPlace;  // comm/tcp/tcp_place.hpp

/// Runs `body` in this process as its rank of a job whose processes find each other over TCP. When
/// it throws, what() is printed as by run_mpi, the other ranks' calls throw PeerFailure, and
/// `exit_code_of`'s answer is returned; else 0. Throws RendezvousFailure (comm/tcp/rendezvous.hpp)
/// before `body` runs.
int run_tcp(const TcpPlace& place, std::chrono::milliseconds timeout, const RankBody& body,
            const std::function<int(const std::exception&)>& exit_code_of);

}  // namespace kumihimo

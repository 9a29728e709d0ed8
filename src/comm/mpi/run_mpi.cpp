#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fmt/format.h>
#include <map>
#include <vector>

#include "comm/communication_clock.hpp"
#include "comm/host_queue.hpp"
#include "comm/mpi/mpi_group.hpp"
#include "comm/preconditions.hpp"
#include "comm/queued_stream.hpp"
#include "comm/solo_group.hpp"
#include "comm/world.hpp"

namespace kumihimo {
namespace {

/// MPI from its initialisation to its end.
class MpiSession {
 public:
  MpiSession() {
    check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &thread_level_),
              "MPI_Init_thread");
    // Communicators made later inherit this: errors come back as results.
    check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN),
              "MPI_Comm_set_errhandler");
    check_mpi(MPI_Comm_rank(MPI_COMM_WORLD, &place_.rank), "MPI_Comm_rank");
    check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &place_.size), "MPI_Comm_size");
  }
  ~MpiSession() { MPI_Finalize(); }
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  int thread_level() const { return thread_level_; }
  const MpiPlace& place() const { return place_; }

 private:
  int thread_level_ = MPI_THREAD_SINGLE;
  MpiPlace place_;
};

/// A process is in at most one MPI job, once, until it ends: the one static object there is.
const MpiSession& mpi_session() {
  static const MpiSession session;
  return session;
}

class MpiWorld final : public World {
 public:
  explicit MpiWorld(const MpiPlace& place) : place_(place) {}

  int rank() const override { return place_.rank; }
  int size() const override { return place_.size; }
  RankClock& clock() override { return clock_; }
  std::string_view backend() const override { return "mpi"; }
  void give_up() override { given_up_ = true; }

  std::unique_ptr<CommunicationStream> make_stream() override {
    return std::make_unique<QueuedStream>(clock_, clock_, queue_, queue_, [this] { give_up(); });
  }

  std::unique_ptr<ProcessGroup> make_group(std::span<const int> ranks,
                                           CommunicationStream* stream) override {
    return on_stream(stream, make_own_group(ranks));
  }

 private:
  std::unique_ptr<ProcessGroup> make_own_group(std::span<const int> ranks) {
    const int place = place_among(ranks, rank(), size());
    if (ranks.size() == 1) return std::make_unique<SoloGroup>(queue_);
    constexpr int least_largest_tag = 32767;  // what MPI promises
    const int ordinal = groups_made_[{ranks.begin(), ranks.end()}]++;
    return std::make_unique<MpiGroup>(Communicator(ranks, ordinal % least_largest_tag), place,
                                      static_cast<int>(ranks.size()), given_up_);
  }

  MpiPlace place_;
  HostQueue queue_;
  WallClock clock_;
  std::atomic<bool> given_up_ = false;
  std::map<std::vector<int>, int> groups_made_;
};

void end_job(int rank, const std::exception& error,
             const std::function<int(const std::exception&)>& exit_code_of) {
  if (dynamic_cast<const PeerFailure*>(&error) == nullptr) {
    fmt::print(stderr, "kumihimo: rank {}: {}\n", rank, error.what());
    std::fflush(stderr);
  }
  MPI_Abort(MPI_COMM_WORLD, exit_code_of(error));
}

}  // namespace

bool started_by_mpi() {
  // OpenMPI; launchers that speak PMI (MPICH, srun --mpi=pmi2); those that speak PMIx. A Slurm job
  // alone says nothing: a batch script's commands see SLURM_NTASKS too.
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMI_RANK", "PMIX_RANK"}) {
    if (std::getenv(name) != nullptr) return true;
  }
  return false;
}

Expected<MpiPlace> mpi_place() {
  const MpiSession& session = mpi_session();
  if (session.thread_level() < MPI_THREAD_MULTIPLE) {
    return Error{"MPI",
                 "it does not let several threads communicate (MPI_THREAD_MULTIPLE), which "
                 "overlapping communication needs",
                 "use an MPI built with thread support"};
  }
  return session.place();
}

Expected<bool> run_mpi(const RankBody& body,
                       const std::function<int(const std::exception&)>& exit_code_of) {
  const Expected<MpiPlace> place = mpi_place();
  if (!place) return place.errors();
  try {
    MpiWorld world(*place);
    body(world);
  } catch (const std::exception& error) {
    end_job(place->rank, error, exit_code_of);
    throw;  // MPI_Abort does not return, where it can
  } catch (...) {
    end_job(place->rank, std::runtime_error("an exception of unknown type"), exit_code_of);
    throw;
  }
  return true;
}

}  // namespace kumihimo

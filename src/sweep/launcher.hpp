#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/process_identity.hpp"

namespace kumihimo {

/// A command that trains, and how many ranks it has.
struct TrialCommand {
  std::vector<std::string> arguments;  ///< of the training program, its name left out
  int ranks = 1;
  std::filesystem::path output;  ///< takes stdout and stderr
};

/// A trial under way. Its destructor ends it.
class RunningTrial {
 public:
  virtual ~RunningTrial() = default;
  /// What a later process needs to end it.
  virtual ProcessIdentity leader() const = 0;
  /// Nothing while it runs; then its exit code, or minus the signal that ended it.
  virtual std::optional<int> exit_code() = 0;
  /// Ends every process of it and waits until they are gone.
  virtual void end() = 0;
};

/// Starts trials: on this machine, or through a workload manager. Throws std::system_error where
/// the system refuses.
class Launcher {
 public:
  virtual ~Launcher() = default;
  virtual std::unique_ptr<RunningTrial> start(const TrialCommand& command) = 0;
};

/// How the ranks of a local trial are started.
enum class LocalRanks { threads, mpi };

/// Trials as processes of this machine, each the leader of a session of its own; they die with the
/// thread that started them. `program`: the path of kumihimo.
std::unique_ptr<Launcher> make_local_launcher(std::filesystem::path program, LocalRanks ranks);

/// Ends all processes of a session whose leader is, or was, that process; what is left of a sweep
/// that was killed. Does nothing if the number belongs to another process by now.
void end_session(const ProcessIdentity& leader);

}  // namespace kumihimo

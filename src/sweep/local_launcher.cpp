#include <bit>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <system_error>
#include <thread>
#include <unistd.h>

#include "sweep/launcher.hpp"

// A trial's process group would not hold all of it: mpirun gives its ranks groups of their own. The
// session does, and nobody leaves it unasked.

namespace kumihimo {
namespace {

constexpr std::chrono::milliseconds between_looks{5};
/// What mpirun needs to take its ranks with it.
constexpr std::chrono::seconds grace{2};

struct ProcessState {
  pid_t pid = 0;
  pid_t session = 0;
  bool zombie = false;
};

std::optional<ProcessState> read_state(const std::filesystem::path& folder) {
  std::ifstream file(folder / "stat");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const std::size_t end_of_name = text.rfind(')');
  if (end_of_name == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(end_of_name + 1));
  ProcessState state{.pid = std::atoi(text.c_str())};
  std::string letter;
  pid_t parent = 0, group = 0;
  fields >> letter >> parent >> group >> state.session;
  state.zombie = letter == "Z" || letter == "X";
  return state;
}

/// Processes of the session that live.
std::vector<pid_t> members(pid_t session) {
  std::vector<pid_t> found;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const auto state = read_state(entry.path());
    if (state && state->session == session && !state->zombie) found.push_back(state->pid);
  }
  return found;
}

void signal_all(const std::vector<pid_t>& processes, int signal) {
  for (const pid_t process : processes) kill(process, signal);
}

/// Asks politely, then not. Asks again, ever less often: a trainer that is asked once finishes its
/// step. Not so a leader with others to look after: mpirun, asked twice, leaves its files behind.
void end_members(pid_t session) {
  const auto begin = std::chrono::steady_clock::now();
  for (unsigned look = 0;; ++look) {
    std::vector<pid_t> left = members(session);
    if (left.empty()) return;
    if (std::chrono::steady_clock::now() - begin > grace) {
      signal_all(left, SIGKILL);
    } else if (look == 0 || std::has_single_bit(look)) {
      if (look > 0 && left.size() > 1) std::erase(left, session);
      signal_all(left, SIGTERM);
    }
    std::this_thread::sleep_for(between_looks);
  }
}

[[noreturn]] void fail(const char* call) {
  throw std::system_error(errno, std::generic_category(), call);
}

class LocalTrial : public RunningTrial {
 public:
  explicit LocalTrial(pid_t pid) : pid_(pid), leader_(process_of(pid)) {}
  ~LocalTrial() override { end(); }
  LocalTrial(const LocalTrial&) = delete;
  LocalTrial& operator=(const LocalTrial&) = delete;

  ProcessIdentity leader() const override { return leader_; }

  std::optional<int> exit_code() override {
    if (exit_code_) return exit_code_;
    int status = 0;
    const pid_t ended = waitpid(pid_, &status, WNOHANG);
    if (ended == 0) return std::nullopt;
    if (ended < 0) fail("waitpid");
    exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    return exit_code_;
  }

  void end() override {
    if (ended_) return;
    ended_ = true;
    end_members(pid_);
    int status = 0;
    if (!exit_code_ && waitpid(pid_, &status, 0) == pid_) {
      exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    }
  }

 private:
  pid_t pid_;
  ProcessIdentity leader_;
  std::optional<int> exit_code_;
  bool ended_ = false;
};

/// Becomes the program; a process that cannot ends itself, without the exit handlers of the sweep
/// that it is a copy of. Only calls that are safe after fork.
void become(const std::vector<char*>& words, int output, pid_t parent) {
  setsid();
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) raise(SIGKILL);  // it died before the line above
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGXFSZ, SIG_DFL);
  const int nothing = open("/dev/null", O_RDONLY);
  dup2(nothing, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  execvp(words[0], words.data());
  raise(SIGKILL);
}

class LocalLauncher : public Launcher {
 public:
  LocalLauncher(std::filesystem::path program, LocalRanks ranks)
      : program_(std::move(program)), ranks_(ranks) {}

  std::unique_ptr<RunningTrial> start(const TrialCommand& command) override {
    std::vector<std::string> words;
    if (ranks_ == LocalRanks::mpi) {
      words = {
          "mpirun", "--oversubscribe", "--bind-to", "none", "-n", std::to_string(command.ranks)};
      if (geteuid() == 0) words.insert(words.begin() + 1, "--allow-run-as-root");
    }
    words.push_back(program_.string());
    words.insert(words.end(), command.arguments.begin(), command.arguments.end());
    std::vector<char*> pointers;
    for (std::string& word : words) pointers.push_back(word.data());
    pointers.push_back(nullptr);

    if (access(program_.c_str(), X_OK) != 0) fail(("run " + program_.string()).c_str());
    const int output = open(command.output.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (output < 0) fail(("open " + command.output.string()).c_str());
    const pid_t parent = getpid();
    const pid_t child = fork();
    if (child == 0) become(pointers, output, parent);
    const int error = errno;
    close(output);
    errno = error;
    if (child < 0) fail("fork");
    return std::make_unique<LocalTrial>(child);
  }

 private:
  std::filesystem::path program_;
  LocalRanks ranks_;
};

}  // namespace

std::unique_ptr<Launcher> make_local_launcher(std::filesystem::path program, LocalRanks ranks) {
  return std::make_unique<LocalLauncher>(std::move(program), ranks);
}

void end_session(const ProcessIdentity& leader) {
  // The leader may be gone while its ranks are not; a number is not given anew while a session
  // bears it.
  const ProcessIdentity now = process_of(leader.pid);
  if (now.host != leader.host) return;  // before the last start of the system, or elsewhere
  if (now.start_ticks != 0 && now.start_ticks != leader.start_ticks) return;
  if (leader.pid <= 1 || leader.pid == getsid(0)) return;
  end_members(static_cast<pid_t>(leader.pid));
}

}  // namespace kumihimo

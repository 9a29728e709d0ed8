#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/process_identity.hpp"
#include "runs/run_rows.hpp"
#include "store/database.hpp"

// Studies and their trials in one SQLite file; docs/store.md describes the tables. Every function
// throws StoreFailure where the disk or another process is in the way. What a function changes, it
// changes in one transaction.

namespace kumihimo {

enum class TrialState { running, ok, out_of_memory, error, timeout, infeasible, cancelled };

/// Where a trial's times come from: a clock, virtual clocks on a described cluster, or a publisher.
enum class TrialClock { measured, emulated, quoted };

std::string_view to_string(TrialState state);
std::string_view to_string(TrialClock clock);
std::optional<TrialState> parse_trial_state(std::string_view name);
std::optional<TrialClock> parse_trial_clock(std::string_view name);

struct Study {
  std::int64_t id = 0;
  std::string name;
  std::string kind = "sweep";  ///< "sweep" or "import"
  std::string settings;        ///< JSON: what was asked for; a resumed sweep must ask for the same
  std::optional<std::string> conclusion;  ///< JSON: what came of it, once it has ended
  double created_unix_s = 0;
  double spent_s = 0;  ///< wall time of all sessions, by a clock that cannot be set back
  std::optional<ProcessIdentity> owner;  ///< the sweep that works on it
};

/// What a trial was predicted to do when it was chosen.
struct TrialForecast {
  double step_time_s = 0;
  double mfu = 0;
  double memory_gib = 0;
  double fits_probability = 0;
};

struct Trial {
  std::int64_t id = 0;
  std::int64_t study_id = 0;
  std::optional<std::int64_t> machine_id;
  std::optional<std::int64_t> profile_id;  ///< that made the forecast
  std::string layout;                      ///< as to_text writes it
  /// 0 for the first trial of a layout, 1, 2, ... where it is repeated as a control; none if
  /// quoted.
  std::optional<std::int64_t> repetition;
  TrialClock clock = TrialClock::measured;
  TrialState state = TrialState::running;
  std::string reason;  ///< why it did not end well, or what is odd about it
  std::optional<TrialForecast> forecast;
  std::optional<double> started_unix_s;  ///< for people: nothing computes with it
  std::optional<double> duration_s;      ///< start-up and warm-up included
  std::optional<double> device_hours;
  std::optional<std::int64_t> timed_steps;
  std::optional<double> step_time_spread;  ///< half the confidence interval of the median / median
  std::optional<std::int64_t> outlier_steps;
  std::optional<ProcessIdentity> process;  ///< leader of the trial's process group
  /// The run in the schema of run files; its status is derived from `state`.
  RunRow run;

  /// Positive: a step time was measured.
  double step_time_s() const;
  double mfu() const;
};

struct StepSample {
  std::int64_t step = 0;
  double step_time_s = 0;
  std::optional<double> loss;
  bool warmup = false;

  bool operator==(const StepSample&) const = default;
};

struct MachineRecord {
  std::int64_t id = 0;
  std::string fingerprint;  ///< processor, cores, memory: whether a measurement still holds
  std::string host;
  std::string cluster_toml;
};

/// A stack profile that was measured on a machine, with the machine's figures whose shares it
/// holds.
struct MeasuredStackRecord {
  std::string workload;  ///< what was run: a model and the length of its sequences
  std::string cluster_toml;
  std::string stack_toml;
};

struct ProfileRecord {
  std::int64_t id = 0;
  std::int64_t after_trials = 0;
  std::string toml;
};

class Store {
 public:
  /// See open_store_database.
  static Expected<Store> open(const std::filesystem::path& path, Database::Mode mode);

  const std::filesystem::path& path() const { return database_.path(); }

  std::vector<Study> studies();
  std::optional<Study> find_study(std::string_view name);
  /// The id of a new study. The name must be free.
  std::int64_t add_study(const Study& study);
  void set_conclusion(std::int64_t study, const std::optional<std::string>& json);
  void add_spent(std::int64_t study, double seconds);

  /// Makes `self` the one sweep that works on the study. Another owner that lives, or may live on
  /// another machine, is returned, and nothing is changed.
  std::optional<ProcessIdentity> claim(std::int64_t study, const ProcessIdentity& self,
                                       bool take_over_from_elsewhere = false);
  void release(std::int64_t study, const ProcessIdentity& self);

  /// Records a trial as running, before it starts; its id. Throws if the study has an unfinished or
  /// finished trial of that layout and repetition already.
  std::int64_t begin_trial(const Trial& trial);
  void set_process(std::int64_t trial, const ProcessIdentity& process);
  /// The end of a running trial with its samples, and the study's time spent: all or nothing.
  /// False, and nothing changed, if it has ended before.
  bool end_trial(const Trial& trial, std::span<const StepSample> samples, double spent_s);
  /// Adds a study of an imported file's trials, which are over, with their samples: all or nothing.
  /// Its id.
  std::int64_t import_study(std::string_view name, std::span<const Trial> trials,
                            std::span<const std::vector<StepSample>> samples);

  /// Those of a study (or of all), in the order in which they began.
  std::vector<Trial> trials(std::optional<std::int64_t> study = std::nullopt);
  std::vector<StepSample> steps(std::int64_t trial);

  std::int64_t add_profile(std::int64_t study, const ProfileRecord& profile);
  std::optional<ProfileRecord> newest_profile(std::int64_t study);
  /// The id of the machine with that fingerprint, new or renewed.
  std::int64_t put_machine(const MachineRecord& machine);
  std::optional<MachineRecord> find_machine(std::string_view fingerprint);
  std::vector<MachineRecord> machines();
  /// New, or in the place of an older one for the same machine and workload.
  void put_measured_stack(std::int64_t machine, const MeasuredStackRecord& measured);
  std::optional<MeasuredStackRecord> find_measured_stack(std::int64_t machine,
                                                         std::string_view workload);

 private:
  explicit Store(Database database) : database_(std::move(database)) {}
  Database database_;
};

}  // namespace kumihimo

#include "store/store.hpp"

#include <array>
#include <chrono>
#include <fmt/format.h>
#include <utility>

#include "store/schema.hpp"

namespace kumihimo {
namespace {

constexpr std::array<std::pair<TrialState, std::string_view>, 7> state_names{
    {{TrialState::running, "running"},
     {TrialState::ok, "ok"},
     {TrialState::out_of_memory, "oom"},
     {TrialState::error, "error"},
     {TrialState::timeout, "timeout"},
     {TrialState::infeasible, "infeasible"},
     {TrialState::cancelled, "cancelled"}}};

constexpr std::array<std::pair<TrialClock, std::string_view>, 3> clock_names{
    {{TrialClock::measured, "measured"},
     {TrialClock::emulated, "emulated"},
     {TrialClock::quoted, "quoted"}}};

template <class Table, class Enum>
std::string_view name_in(const Table& table, Enum wanted) {
  for (const auto& [value, name] : table) {
    if (value == wanted) return name;
  }
  return "?";
}

template <class Enum, class Table>
std::optional<Enum> value_in(const Table& table, std::string_view wanted) {
  for (const auto& [value, name] : table) {
    if (name == wanted) return value;
  }
  return std::nullopt;
}

double unix_now_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// "source, table_or_row_id, ...": the run's columns, in the schema's order.
std::string run_columns() {
  std::string text;
  for (const std::string_view name : column_names) text += fmt::format(", {}", name);
  return text;
}

std::string placeholders(std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += i == 0 ? "?" : ", ?";
  return text;
}

/// The trial's own columns beside id, in the order in which bind_trial binds them.
constexpr std::string_view trial_columns =
    "study_id, machine_id, profile_id, layout, repetition, clock, state, reason, "
    "predicted_step_time_s, predicted_mfu, predicted_memory_gib, predicted_fits, started_unix_s, "
    "duration_s, device_hours, timed_steps, step_time_spread, outlier_steps, process_group, "
    "process_start, process_host";
constexpr std::size_t number_of_trial_columns = 21;

/// The status of the run schema, which knows three; empty for what says nothing.
std::string_view run_status(TrialState state) {
  switch (state) {
    case TrialState::ok: return "ok";
    case TrialState::out_of_memory: return "oom";
    case TrialState::error:
    case TrialState::timeout: return "error";
    default: return "";
  }
}

void bind_trial(Statement& statement, const Trial& trial) {
  statement.bind(trial.study_id).bind(trial.machine_id).bind(trial.profile_id);
  statement.bind(trial.layout).bind(trial.repetition).bind(to_string(trial.clock));
  statement.bind(to_string(trial.state)).bind(trial.reason);
  if (trial.forecast) {
    statement.bind(trial.forecast->step_time_s).bind(trial.forecast->mfu);
    statement.bind(trial.forecast->memory_gib).bind(trial.forecast->fits_probability);
  } else {
    for (int i = 0; i < 4; ++i) statement.bind_null();
  }
  statement.bind(trial.started_unix_s).bind(trial.duration_s).bind(trial.device_hours);
  statement.bind(trial.timed_steps).bind(trial.step_time_spread).bind(trial.outlier_steps);
  if (trial.process) {
    statement.bind(trial.process->pid).bind(trial.process->start_ticks);
    statement.bind(trial.process->host);
  } else {
    statement.bind_null().bind_null().bind_null();
  }
  for (std::size_t i = 0; i < column_names.size(); ++i) {
    const bool is_status = static_cast<RunColumn>(i) == RunColumn::status;
    const std::string_view cell =
        is_status ? run_status(trial.state) : std::string_view(trial.run.cells[i]);
    if (cell.empty()) {
      statement.bind_null();
    } else {
      statement.bind(cell);
    }
  }
}

std::string insert_trial_sql() {
  return fmt::format("INSERT INTO trials ({}{}) VALUES ({})", trial_columns, run_columns(),
                     placeholders(number_of_trial_columns + column_names.size()));
}

Trial read_trial(Statement& row) {
  Trial trial;
  int column = 0;
  trial.id = row.whole(column++);
  trial.study_id = row.whole(column++);
  trial.machine_id = row.whole_or_none(column++);
  trial.profile_id = row.whole_or_none(column++);
  trial.layout = row.text(column++);
  trial.repetition = row.whole_or_none(column++);
  trial.clock = parse_trial_clock(row.text(column++)).value_or(TrialClock::quoted);
  trial.state = parse_trial_state(row.text(column++)).value_or(TrialState::error);
  trial.reason = row.text(column++);
  if (!row.is_null(column)) {
    trial.forecast = TrialForecast{row.number(column), row.number(column + 1),
                                   row.number(column + 2), row.number(column + 3)};
  }
  column += 4;
  trial.started_unix_s = row.number_or_none(column++);
  trial.duration_s = row.number_or_none(column++);
  trial.device_hours = row.number_or_none(column++);
  trial.timed_steps = row.whole_or_none(column++);
  trial.step_time_spread = row.number_or_none(column++);
  trial.outlier_steps = row.whole_or_none(column++);
  if (!row.is_null(column)) {
    trial.process = ProcessIdentity{row.whole(column), row.whole(column + 1), row.text(column + 2)};
  }
  column += 3;
  for (std::string& cell : trial.run.cells) cell = row.shortest_text(column++);
  return trial;
}

void insert_steps(Database& database, std::int64_t trial, std::span<const StepSample> samples) {
  for (const StepSample& sample : samples) {
    Statement(database,
              "INSERT INTO steps (trial_id, step, step_time_s, loss, warmup) "
              "VALUES (?, ?, ?, ?, ?)")
        .bind(trial)
        .bind(sample.step)
        .bind(sample.step_time_s)
        .bind(sample.loss)
        .bind(std::int64_t{sample.warmup})
        .run();
  }
}

constexpr std::string_view study_columns =
    "id, name, kind, settings, conclusion, created_unix_s, spent_s, owner_pid, owner_start, "
    "owner_host";

Study read_study(Statement& row) {
  Study study;
  study.id = row.whole(0);
  study.name = row.text(1);
  study.kind = row.text(2);
  study.settings = row.text(3);
  if (!row.is_null(4)) study.conclusion = row.text(4);
  study.created_unix_s = row.number(5);
  study.spent_s = row.number(6);
  if (!row.is_null(7)) study.owner = ProcessIdentity{row.whole(7), row.whole(8), row.text(9)};
  return study;
}

}  // namespace

std::string_view to_string(TrialState state) { return name_in(state_names, state); }
std::string_view to_string(TrialClock clock) { return name_in(clock_names, clock); }
std::optional<TrialState> parse_trial_state(std::string_view name) {
  return value_in<TrialState>(state_names, name);
}
std::optional<TrialClock> parse_trial_clock(std::string_view name) {
  return value_in<TrialClock>(clock_names, name);
}

double Trial::step_time_s() const { return number_in_cell(run[RunColumn::step_time_s]); }
double Trial::mfu() const { return number_in_cell(run[RunColumn::mfu]); }

Expected<Store> Store::open(const std::filesystem::path& path, Database::Mode mode) {
  Expected<Database> database = open_store_database(path, mode);
  if (!database) return database.errors();
  return Store(std::move(*database));
}

std::vector<Study> Store::studies() {
  Statement rows(database_, fmt::format("SELECT {} FROM studies ORDER BY id", study_columns));
  std::vector<Study> all;
  while (rows.step()) all.push_back(read_study(rows));
  return all;
}

std::optional<Study> Store::find_study(std::string_view name) {
  Statement rows(database_, fmt::format("SELECT {} FROM studies WHERE name = ?", study_columns));
  rows.bind(name);
  if (!rows.step()) return std::nullopt;
  return read_study(rows);
}

std::int64_t Store::add_study(const Study& study) {
  Statement(database_,
            "INSERT INTO studies (name, kind, settings, conclusion, created_unix_s) "
            "VALUES (?, ?, ?, ?, ?)")
      .bind(study.name)
      .bind(study.kind)
      .bind(study.settings)
      .bind(study.conclusion)
      .bind(study.created_unix_s > 0 ? study.created_unix_s : unix_now_s())
      .run();
  return database_.last_row_id();
}

void Store::set_conclusion(std::int64_t study, const std::optional<std::string>& json) {
  Statement(database_, "UPDATE studies SET conclusion = ? WHERE id = ?")
      .bind(json)
      .bind(study)
      .run();
}

void Store::add_spent(std::int64_t study, double seconds) {
  Statement(database_, "UPDATE studies SET spent_s = spent_s + ? WHERE id = ?")
      .bind(seconds)
      .bind(study)
      .run();
}

std::optional<ProcessIdentity> Store::claim(std::int64_t study, const ProcessIdentity& self,
                                            bool take_over_from_elsewhere) {
  Transaction transaction(database_);
  {
    Statement row(database_, fmt::format("SELECT {} FROM studies WHERE id = ?", study_columns));
    row.bind(study);
    KUMIHIMO_CHECK(row.step());
    const std::optional<ProcessIdentity> owner = read_study(row).owner;
    if (owner && *owner != self) {
      const Liveness state = liveness(*owner);
      if (state == Liveness::alive) return owner;
      if (state == Liveness::elsewhere && !take_over_from_elsewhere) return owner;
    }
  }
  Statement(database_,
            "UPDATE studies SET owner_pid = ?, owner_start = ?, owner_host = ? WHERE id = ?")
      .bind(self.pid)
      .bind(self.start_ticks)
      .bind(self.host)
      .bind(study)
      .run();
  transaction.commit();
  return std::nullopt;
}

void Store::release(std::int64_t study, const ProcessIdentity& self) {
  Statement(database_,
            "UPDATE studies SET owner_pid = NULL, owner_start = NULL, owner_host = NULL "
            "WHERE id = ? AND owner_pid = ? AND owner_start = ?")
      .bind(study)
      .bind(self.pid)
      .bind(self.start_ticks)
      .run();
}

std::int64_t Store::begin_trial(const Trial& trial) {
  Trial begun = trial;
  begun.state = TrialState::running;
  if (!begun.started_unix_s) begun.started_unix_s = unix_now_s();
  Statement statement(database_, insert_trial_sql());
  bind_trial(statement, begun);
  statement.run();
  return database_.last_row_id();
}

void Store::set_process(std::int64_t trial, const ProcessIdentity& process) {
  Statement(database_,
            "UPDATE trials SET process_group = ?, process_start = ?, process_host = ? "
            "WHERE id = ?")
      .bind(process.pid)
      .bind(process.start_ticks)
      .bind(process.host)
      .bind(trial)
      .run();
}

bool Store::end_trial(const Trial& trial, std::span<const StepSample> samples, double spent_s) {
  Transaction transaction(database_);
  std::string assignments;
  for (const std::string_view name : {"machine_id", "state", "reason", "duration_s", "device_hours",
                                      "timed_steps", "step_time_spread", "outlier_steps"}) {
    assignments += fmt::format("{}{} = ?", assignments.empty() ? "" : ", ", name);
  }
  for (const std::string_view name : column_names) assignments += fmt::format(", {} = ?", name);
  Statement update(database_, fmt::format("UPDATE trials SET {} WHERE id = ? AND state = 'running'",
                                          assignments));
  update.bind(trial.machine_id).bind(to_string(trial.state)).bind(trial.reason);
  update.bind(trial.duration_s).bind(trial.device_hours).bind(trial.timed_steps);
  update.bind(trial.step_time_spread).bind(trial.outlier_steps);
  for (std::size_t i = 0; i < column_names.size(); ++i) {
    const bool is_status = static_cast<RunColumn>(i) == RunColumn::status;
    const std::string_view cell =
        is_status ? run_status(trial.state) : std::string_view(trial.run.cells[i]);
    if (cell.empty()) {
      update.bind_null();
    } else {
      update.bind(cell);
    }
  }
  update.bind(trial.id).run();
  if (database_.changed_rows() != 1) return false;
  insert_steps(database_, trial.id, samples);
  add_spent(trial.study_id, spent_s);
  transaction.commit();
  return true;
}

std::int64_t Store::import_study(std::string_view name, std::span<const Trial> trials,
                                 std::span<const std::vector<StepSample>> samples) {
  KUMIHIMO_CHECK(samples.empty() || samples.size() == trials.size());
  Transaction transaction(database_);
  const std::int64_t study =
      add_study({.name = std::string(name), .kind = "import", .settings = "{}"});
  for (std::size_t i = 0; i < trials.size(); ++i) {
    Trial trial = trials[i];
    trial.study_id = study;
    trial.machine_id = trial.profile_id = std::nullopt;
    Statement statement(database_, insert_trial_sql());
    bind_trial(statement, trial);
    statement.run();
    if (!samples.empty()) insert_steps(database_, database_.last_row_id(), samples[i]);
  }
  transaction.commit();
  return study;
}

std::vector<Trial> Store::trials(std::optional<std::int64_t> study) {
  Statement rows(database_,
                 fmt::format("SELECT id, {}{} FROM trials WHERE ?1 IS NULL OR study_id = ?1 "
                             "ORDER BY id",
                             trial_columns, run_columns()));
  rows.bind(study);
  std::vector<Trial> all;
  while (rows.step()) all.push_back(read_trial(rows));
  return all;
}

std::vector<StepSample> Store::steps(std::int64_t trial) {
  Statement rows(database_,
                 "SELECT step, step_time_s, loss, warmup FROM steps WHERE trial_id = ? "
                 "ORDER BY step");
  rows.bind(trial);
  std::vector<StepSample> all;
  while (rows.step()) {
    all.push_back({rows.whole(0), rows.number(1), rows.number_or_none(2), rows.whole(3) != 0});
  }
  return all;
}

std::int64_t Store::add_profile(std::int64_t study, const ProfileRecord& profile) {
  Statement(database_,
            "INSERT INTO profiles (study_id, after_trials, toml, created_unix_s) "
            "VALUES (?, ?, ?, ?)")
      .bind(study)
      .bind(profile.after_trials)
      .bind(profile.toml)
      .bind(unix_now_s())
      .run();
  return database_.last_row_id();
}

std::optional<ProfileRecord> Store::newest_profile(std::int64_t study) {
  Statement row(database_,
                "SELECT id, after_trials, toml FROM profiles WHERE study_id = ? "
                "ORDER BY id DESC LIMIT 1");
  row.bind(study);
  if (!row.step()) return std::nullopt;
  return ProfileRecord{row.whole(0), row.whole(1), row.text(2)};
}

std::int64_t Store::put_machine(const MachineRecord& machine) {
  Statement row(database_,
                "INSERT INTO machines (fingerprint, host, cluster_toml, measured_unix_s) "
                "VALUES (?, ?, ?, ?) ON CONFLICT (fingerprint) DO UPDATE SET "
                "host = excluded.host, cluster_toml = excluded.cluster_toml, "
                "measured_unix_s = excluded.measured_unix_s RETURNING id");
  row.bind(machine.fingerprint).bind(machine.host).bind(machine.cluster_toml).bind(unix_now_s());
  KUMIHIMO_CHECK(row.step());
  const std::int64_t id = row.whole(0);
  row.run();
  return id;
}

std::optional<MachineRecord> Store::find_machine(std::string_view fingerprint) {
  for (MachineRecord& machine : machines()) {
    if (machine.fingerprint == fingerprint) return machine;
  }
  return std::nullopt;
}

std::vector<MachineRecord> Store::machines() {
  Statement rows(database_, "SELECT id, fingerprint, host, cluster_toml FROM machines ORDER BY id");
  std::vector<MachineRecord> all;
  while (rows.step()) all.push_back({rows.whole(0), rows.text(1), rows.text(2), rows.text(3)});
  return all;
}

void Store::put_measured_stack(std::int64_t machine, const MeasuredStackRecord& measured) {
  Statement row(database_,
                "INSERT OR REPLACE INTO measured_stacks "
                "(machine_id, workload, cluster_toml, stack_toml, measured_unix_s) "
                "VALUES (?, ?, ?, ?, ?)");
  row.bind(machine).bind(measured.workload).bind(measured.cluster_toml).bind(measured.stack_toml);
  row.bind(unix_now_s()).run();
}

std::optional<MeasuredStackRecord> Store::find_measured_stack(std::int64_t machine,
                                                              std::string_view workload) {
  Statement row(database_,
                "SELECT workload, cluster_toml, stack_toml FROM measured_stacks "
                "WHERE machine_id = ? AND workload = ?");
  row.bind(machine).bind(workload);
  if (!row.step()) return std::nullopt;
  return MeasuredStackRecord{row.text(0), row.text(1), row.text(2)};
}

}  // namespace kumihimo

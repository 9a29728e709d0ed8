#include "store/schema.hpp"

#include <array>
#include <fmt/format.h>
#include <sqlite3.h>

namespace kumihimo {
namespace {

// docs/store.md says what each column means. The columns of a run have the names of the run schema
// (docs/runs.md); their affinity turns "64" into a number and leaves "1 (shard group 8)" as it is.
constexpr std::string_view version_1 = R"sql(
CREATE TABLE studies (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL CHECK (kind IN ('sweep', 'import')),
  settings TEXT NOT NULL,
  conclusion TEXT,
  created_unix_s REAL NOT NULL,
  spent_s REAL NOT NULL DEFAULT 0,
  owner_pid INTEGER, owner_start INTEGER, owner_host TEXT
);
CREATE TABLE machines (
  id INTEGER PRIMARY KEY,
  fingerprint TEXT NOT NULL UNIQUE,
  host TEXT NOT NULL,
  cluster_toml TEXT NOT NULL,
  measured_unix_s REAL NOT NULL
);
CREATE TABLE profiles (
  id INTEGER PRIMARY KEY,
  study_id INTEGER NOT NULL REFERENCES studies ON DELETE CASCADE,
  after_trials INTEGER NOT NULL,
  toml TEXT NOT NULL,
  created_unix_s REAL NOT NULL
);
CREATE TABLE trials (
  id INTEGER PRIMARY KEY,
  study_id INTEGER NOT NULL REFERENCES studies ON DELETE CASCADE,
  machine_id INTEGER REFERENCES machines,
  profile_id INTEGER REFERENCES profiles,
  layout TEXT NOT NULL,
  repetition INTEGER,
  clock TEXT NOT NULL CHECK (clock IN ('measured', 'emulated', 'quoted')),
  state TEXT NOT NULL CHECK (state IN
    ('running', 'ok', 'oom', 'error', 'timeout', 'infeasible', 'cancelled')),
  reason TEXT NOT NULL DEFAULT '',
  predicted_step_time_s REAL, predicted_mfu REAL, predicted_memory_gib REAL,
  predicted_fits REAL,
  started_unix_s REAL, duration_s REAL, device_hours REAL,
  timed_steps INTEGER, step_time_spread REAL, outlier_steps INTEGER,
  process_group INTEGER, process_start INTEGER, process_host TEXT,
  source TEXT, table_or_row_id TEXT, model_name TEXT, hidden NUMERIC, layers NUMERIC,
  heads NUMERIC, kv_heads NUMERIC, ffn_hidden NUMERIC, vocab NUMERIC, seq_len NUMERIC,
  global_batch NUMERIC, gpus NUMERIC, gpu_type TEXT, gpus_per_node NUMERIC, tp NUMERIC, pp NUMERIC,
  dp NUMERIC, cp NUMERIC, ep NUMERIC, vpp NUMERIC, micro_batch NUMERIC, recompute TEXT,
  seq_parallel NUMERIC, zero_stage NUMERIC, precision TEXT, attention_kernel TEXT,
  step_time_s REAL, tokens_per_s_per_gpu REAL, tflops_per_gpu REAL, mfu REAL, hfu REAL,
  status TEXT, memory_gb REAL, notes TEXT
);
CREATE INDEX trials_of_study ON trials (study_id, state);
-- What was measured counts once, and two sweeps cannot run the same layout.
CREATE UNIQUE INDEX trials_once ON trials (study_id, layout, repetition)
  WHERE state NOT IN ('cancelled', 'error');
CREATE TABLE steps (
  trial_id INTEGER NOT NULL REFERENCES trials ON DELETE CASCADE,
  step INTEGER NOT NULL,
  step_time_s REAL NOT NULL,
  loss REAL,
  warmup INTEGER NOT NULL,
  PRIMARY KEY (trial_id, step)
) WITHOUT ROWID;
)sql";

/// What a machine's kernels and links reach at the shapes of a workload.
constexpr std::string_view version_2 = R"sql(
CREATE TABLE measured_stacks (
  machine_id INTEGER NOT NULL REFERENCES machines ON DELETE CASCADE,
  workload TEXT NOT NULL,
  cluster_toml TEXT NOT NULL,
  stack_toml TEXT NOT NULL,
  measured_unix_s REAL NOT NULL,
  PRIMARY KEY (machine_id, workload)
) WITHOUT ROWID;
)sql";

constexpr std::array migrations{version_1, version_2};

/// Later versions have only added to what readers read.
constexpr std::int64_t oldest_readable = 1;

Error not_a_store(const std::filesystem::path& path, std::string what) {
  return {path.string(), std::move(what), "give a store that `kumihimo sweep --out` made"};
}

void migrate(Database& database, std::int64_t from) {
  Transaction transaction(database);
  // Another process may have done it while this one waited for the lock.
  from = std::max(from, database.whole("PRAGMA user_version"));
  for (std::int64_t version = from; version < store_version(); ++version) {
    database.execute(std::string(migrations.at(static_cast<std::size_t>(version))));
  }
  database.execute(fmt::format("PRAGMA application_id = {}", store_application_id));
  database.execute(fmt::format("PRAGMA user_version = {}", store_version()));
  transaction.commit();
}

}  // namespace

std::span<const std::string_view> store_migrations() { return migrations; }

std::int64_t store_version() { return static_cast<std::int64_t>(migrations.size()); }

Expected<Database> open_store_database(const std::filesystem::path& path, Database::Mode mode) {
  std::error_code failure;
  const bool present = std::filesystem::exists(path, failure);
  if (mode == Database::Mode::read && !present) {
    return not_a_store(path, "does not exist");
  }
  if (present && !std::filesystem::is_regular_file(path, failure)) {
    return not_a_store(path, "is not a file");
  }
  Database database(path, mode);
  std::int64_t application = 0, version = 0, tables = 0;
  try {
    application = database.whole("PRAGMA application_id");
    version = database.whole("PRAGMA user_version");
    tables = database.whole("SELECT count(*) FROM sqlite_schema");
  } catch (const StoreFailure& error) {
    if (error.code() == SQLITE_NOTADB) return not_a_store(path, "is not an SQLite database");
    if (error.code() == SQLITE_CORRUPT) {
      return Error{path.string(), "is damaged or cut short",
                   "`sqlite3 FILE .recover` saves what can be read; else name another file"};
    }
    throw;
  }
  const bool empty = application == 0 && version == 0 && tables == 0;
  if (!empty && application != store_application_id) {
    return not_a_store(path, "is another program's database");
  }
  if (version > store_version()) {
    return Error{path.string(),
                 fmt::format("has schema version {}, newer than this program's {}", version,
                             store_version()),
                 "use the newer kumihimo that made it"};
  }
  if (mode == Database::Mode::read && version < oldest_readable) {
    return Error{path.string(), "is empty", "give a store that `kumihimo sweep` made"};
  }
  if (mode == Database::Mode::read_write && version < store_version()) {
    database.execute("PRAGMA journal_mode = WAL");
    migrate(database, version);
  }
  if (mode == Database::Mode::read_write) {
    database.execute("PRAGMA journal_mode = WAL");
    // Every commit reaches the disk: a trial costs minutes, a sync milliseconds.
    database.execute("PRAGMA synchronous = FULL");
  }
  database.execute("PRAGMA foreign_keys = ON");
  return database;
}

}  // namespace kumihimo

#include "store/database.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <unistd.h>

#include "base/check.hpp"

namespace kumihimo {
namespace {

constexpr int usual_busy_ms = 10'000;

std::string_view remedy(int code) {
  switch (code) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return "; another program holds it: wait for that, or end it";
    case SQLITE_FULL: return "; the disk is full: make room, then start again, nothing is lost";
    case SQLITE_IOERR: return "; the disk failed or is full: nothing that was recorded is lost";
    case SQLITE_NOTADB: return "; give a store that `kumihimo sweep --out` made";
    case SQLITE_CORRUPT:
      return "; the file is damaged: `sqlite3 FILE .recover` saves what can be read";
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN: return "; see whether the folder exists and may be written to";
    default: return "";
  }
}

/// `path` as SQLite's URI of a file that nobody changes while it is read.
std::string unchanging(const std::filesystem::path& path) {
  std::string uri = "file:";
  for (const char c : path.string()) {
    uri += c == '%' || c == '?' || c == '#' ? fmt::format("%{:02x}", static_cast<int>(c))
                                            : std::string(1, c);
  }
  return uri + "?immutable=1";
}

/// How to open a store. A reader too needs to write the shared-memory file of the write-ahead log;
/// in a folder where that cannot be made, a log left by nobody means that nobody writes.
struct HowToOpen {
  std::string name;
  int flags;
};
HowToOpen how_to_open(const std::filesystem::path& path, Database::Mode mode) {
  if (mode == Database::Mode::read_write) {
    return {path.string(), SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE};
  }
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  if (::faccessat(AT_FDCWD, folder.c_str(), W_OK, AT_EACCESS) == 0) {
    return {path.string(), SQLITE_OPEN_READWRITE};
  }
  std::error_code none;
  const auto log_bytes = std::filesystem::file_size(path.string() + "-wal", none);
  if (!none && log_bytes > 0) return {path.string(), SQLITE_OPEN_READONLY};
  return {unchanging(path), SQLITE_OPEN_READONLY | SQLITE_OPEN_URI};
}

}  // namespace

void Database::Close::operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }

Database::Database(const std::filesystem::path& path, Mode mode) : path_(path) {
  const HowToOpen how = how_to_open(path, mode);
  sqlite3* handle = nullptr;
  const int code =
      sqlite3_open_v2(how.name.c_str(), &handle, how.flags | SQLITE_OPEN_NOMUTEX, nullptr);
  handle_.reset(handle);
  if (code != SQLITE_OK) fail("open");
  sqlite3_extended_result_codes(handle, 0);
  set_busy_timeout(usual_busy_ms);
  if (mode == Mode::read) execute("PRAGMA query_only = ON");
}

void Database::fail(std::string_view call) const {
  const int code = handle_ ? sqlite3_errcode(handle_.get()) & 0xff : SQLITE_NOMEM;
  throw StoreFailure(
      fmt::format("{}: {}: {}{}", path_.string(), call,
                  handle_ ? sqlite3_errmsg(handle_.get()) : "out of memory", remedy(code)),
      code);
}

void Database::execute(const std::string& sql) {
  if (sqlite3_exec(handle_.get(), sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) {
    fail(sql.substr(0, sql.find_first_of(" \n")));
  }
}

std::int64_t Database::whole(const std::string& sql) {
  Statement statement(*this, sql);
  return statement.step() ? statement.whole(0) : 0;
}

std::int64_t Database::last_row_id() const { return sqlite3_last_insert_rowid(handle_.get()); }
std::int64_t Database::changed_rows() const { return sqlite3_changes64(handle_.get()); }

void Database::set_busy_timeout(int milliseconds) {
  sqlite3_busy_timeout(handle_.get(), milliseconds);
}

void Statement::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }

Statement::Statement(Database& database, std::string_view sql) : database_(database) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(database.handle(), sql.data(), static_cast<int>(sql.size()), &statement,
                         nullptr) != SQLITE_OK) {
    database.fail(sql.substr(0, sql.find_first_of(" \n")));
  }
  statement_.reset(statement);
}

Statement& Statement::bind(std::int64_t value) {
  KUMIHIMO_CHECK(sqlite3_bind_int64(statement_.get(), ++bound_, value) == SQLITE_OK);
  return *this;
}

Statement& Statement::bind(double value) {
  KUMIHIMO_CHECK(sqlite3_bind_double(statement_.get(), ++bound_, value) == SQLITE_OK);
  return *this;
}

Statement& Statement::bind(std::string_view value) {
  KUMIHIMO_CHECK(sqlite3_bind_text(statement_.get(), ++bound_, value.data(),
                                   static_cast<int>(value.size()), SQLITE_TRANSIENT) == SQLITE_OK);
  return *this;
}

Statement& Statement::bind_null() {
  KUMIHIMO_CHECK(sqlite3_bind_null(statement_.get(), ++bound_) == SQLITE_OK);
  return *this;
}

bool Statement::step() {
  switch (sqlite3_step(statement_.get())) {
    case SQLITE_ROW: return true;
    case SQLITE_DONE: return false;
    default: {
      const std::string_view sql = sqlite3_sql(statement_.get());
      database_.fail(sql.substr(0, sql.find_first_of(" \n")));
    }
  }
}

bool Statement::is_null(int column) const {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}

std::int64_t Statement::whole(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}

double Statement::number(int column) const {
  return sqlite3_column_double(statement_.get(), column);
}

std::string Statement::text(int column) const {
  const unsigned char* text = sqlite3_column_text(statement_.get(), column);
  if (text == nullptr) return {};
  return {reinterpret_cast<const char*>(text),
          static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

std::string Statement::shortest_text(int column) const {
  if (sqlite3_column_type(statement_.get(), column) == SQLITE_FLOAT) {
    return fmt::format("{}", number(column));
  }
  return text(column);
}

std::optional<std::int64_t> Statement::whole_or_none(int column) const {
  return is_null(column) ? std::nullopt : std::optional(whole(column));
}

std::optional<double> Statement::number_or_none(int column) const {
  return is_null(column) ? std::nullopt : std::optional(number(column));
}

Transaction::Transaction(Database& database) : database_(database) {
  database_.execute("BEGIN IMMEDIATE");
}

Transaction::~Transaction() {
  if (!open_) return;
  // SQLite itself rolls back after some failures; then there is nothing left to do.
  sqlite3_exec(database_.handle(), "ROLLBACK", nullptr, nullptr, nullptr);
}

void Transaction::commit() {
  database_.execute("COMMIT");
  open_ = false;
}

}  // namespace kumihimo

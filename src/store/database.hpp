#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

// SQLite with owners. A failure of the environment (disk full, locked, broken file) is a
// StoreFailure that names the file, the call and, where there is one, the remedy.

namespace kumihimo {

class StoreFailure : public std::runtime_error {
 public:
  StoreFailure(std::string message, int code)
      : std::runtime_error(std::move(message)), code_(code) {}
  int code() const { return code_; }  ///< SQLite's primary result code

 private:
  int code_;
};

class Database {
 public:
  enum class Mode {
    read,        ///< the file must exist; nothing can be changed
    read_write,  ///< made where absent
  };
  /// Throws StoreFailure. Does not look at what the file holds.
  Database(const std::filesystem::path& path, Mode mode);

  /// Runs statements without parameters or results.
  void execute(const std::string& sql);
  std::int64_t whole(const std::string& sql);  ///< first column of the first row
  std::int64_t last_row_id() const;
  std::int64_t changed_rows() const;  ///< by the last statement
  /// How long a statement waits for another process's lock; 10 s unless set.
  void set_busy_timeout(int milliseconds);
  const std::filesystem::path& path() const { return path_; }
  sqlite3* handle() const { return handle_.get(); }
  [[noreturn]] void fail(std::string_view call) const;

 private:
  struct Close {
    void operator()(sqlite3* handle) const;
  };
  std::filesystem::path path_;
  std::unique_ptr<sqlite3, Close> handle_;
};

/// One prepared statement. Parameters are bound in order from 1, columns read in order from 0.
class Statement {
 public:
  Statement(Database& database, std::string_view sql);

  Statement& bind(std::int64_t value);
  Statement& bind(int value) { return bind(std::int64_t{value}); }
  Statement& bind(double value);
  Statement& bind(std::string_view value);
  Statement& bind(const char* value) { return bind(std::string_view(value)); }
  Statement& bind(const std::string& value) { return bind(std::string_view(value)); }
  Statement& bind_null();
  template <class T>
  Statement& bind(const std::optional<T>& value) {
    return value ? bind(*value) : bind_null();
  }

  /// The next row, or false at the end.
  bool step();
  /// Runs a statement that gives no rows.
  void run() {
    while (step()) {
    }
  }

  bool is_null(int column) const;
  std::int64_t whole(int column) const;
  double number(int column) const;
  std::string text(int column) const;
  /// A cell as the shortest text that reads back to it: 0.1, not 0.10000000000000001.
  std::string shortest_text(int column) const;
  std::optional<std::int64_t> whole_or_none(int column) const;
  std::optional<double> number_or_none(int column) const;

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  Database& database_;
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  int bound_ = 0;
};

/// Takes the write lock at once, and rolls back unless committed.
class Transaction {
 public:
  explicit Transaction(Database& database);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void commit();

 private:
  Database& database_;
  bool open_ = true;
};

}  // namespace kumihimo

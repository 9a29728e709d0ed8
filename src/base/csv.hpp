#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kumihimo {

/// Reads comma-separated records (RFC 4180) one at a time from text that outlives the reader:
/// quoted fields may hold commas, line breaks and doubled quotes; LF and CRLF end records; the last
/// line break may be missing; blank lines and a byte-order mark are passed over.
/// Bounded: at most 1,000 fields in a record and 1 MiB in a field.
class CsvReader {
 public:
  explicit CsvReader(std::string_view text);

  /// Reads the next record into `fields`. False at the end of the text, and at the first fault,
  /// after which nothing more is read: past a stray quote no field can be trusted.
  bool next(std::vector<std::string>& fields);

  /// The line (from 1) on which the last record began; after a fault, the line of the fault.
  std::int64_t line() const { return line_; }

  /// What is wrong with the text, or empty.
  const std::string& fault() const { return fault_; }

 private:
  bool read_field(std::string& field);
  bool read_quoted_field(std::string& field);
  bool fail(std::int64_t line, std::string what);
  bool at_record_end() const;

  std::string_view text_;
  std::size_t position_ = 0;
  std::int64_t current_line_ = 1;
  std::int64_t line_ = 0;
  std::string fault_;
};

/// `field` as a record may hold it: in quotes, with its quotes doubled, where it needs them.
std::string csv_escape(std::string_view field);

}  // namespace kumihimo

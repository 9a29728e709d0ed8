#include "base/csv.hpp"

#include <utility>

namespace kumihimo {
namespace {

constexpr std::size_t max_fields = 1000;
constexpr std::size_t max_field_bytes = std::size_t{1} << 20;

}  // namespace

CsvReader::CsvReader(std::string_view text) : text_(text) {
  constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
  if (text_.starts_with(byte_order_mark)) text_.remove_prefix(byte_order_mark.size());
}

bool CsvReader::fail(std::int64_t line, std::string what) {
  line_ = line;
  fault_ = std::move(what);
  position_ = text_.size();
  return false;
}

bool CsvReader::at_record_end() const {
  return position_ == text_.size() || text_[position_] == '\n' ||
         text_.substr(position_, 2) == "\r\n";
}

bool CsvReader::next(std::vector<std::string>& fields) {
  fields.clear();
  while (position_ < text_.size() && at_record_end()) {
    position_ += text_[position_] == '\r' ? 2 : 1;
    ++current_line_;
  }
  if (position_ == text_.size()) return false;

  line_ = current_line_;
  while (true) {
    if (fields.size() == max_fields) return fail(current_line_, "holds more than 1,000 fields");
    if (!read_field(fields.emplace_back())) return false;
    if (position_ == text_.size()) return true;
    if (at_record_end()) {
      position_ += text_[position_] == '\r' ? 2 : 1;
      ++current_line_;
      return true;
    }
    ++position_;  // the comma
  }
}

bool CsvReader::read_field(std::string& field) {
  if (position_ < text_.size() && text_[position_] == '"') return read_quoted_field(field);
  const std::size_t start = position_;
  while (!at_record_end() && text_[position_] != ',') {
    switch (text_[position_]) {
      case '"':
        return fail(current_line_, "has a quote inside a field that does not begin with one");
      case '\r': return fail(current_line_, "has a carriage return that ends no line");
      case '\0': return fail(current_line_, "holds a NUL byte");
      default: ++position_;
    }
  }
  if (position_ - start > max_field_bytes) return fail(current_line_, "has a field over 1 MiB");
  field.assign(text_.substr(start, position_ - start));
  return true;
}

bool CsvReader::read_quoted_field(std::string& field) {
  const std::int64_t opening_line = current_line_;
  ++position_;
  while (true) {
    if (position_ == text_.size()) return fail(opening_line, "opens a quote that never closes");
    if (field.size() > max_field_bytes) return fail(opening_line, "has a field over 1 MiB");
    const char c = text_[position_++];
    if (c == '\0') return fail(current_line_, "holds a NUL byte");
    if (c == '\n') ++current_line_;
    if (c != '"') {
      field.push_back(c);
    } else if (position_ < text_.size() && text_[position_] == '"') {
      field.push_back('"');
      ++position_;
    } else {
      break;
    }
  }
  if (at_record_end() || text_[position_] == ',') return true;
  return fail(current_line_, "has text after a closing quote");
}

std::string csv_escape(std::string_view field) {
  const bool padded = !field.empty() && (field.front() == ' ' || field.back() == ' ');
  if (!padded && field.find_first_of(",\"\r\n") == std::string_view::npos)
    return std::string(field);
  std::string quoted = "\"";
  for (const char c : field) {
    if (c == '"') quoted.push_back('"');
    quoted.push_back(c);
  }
  quoted.push_back('"');
  return quoted;
}

}  // namespace kumihimo

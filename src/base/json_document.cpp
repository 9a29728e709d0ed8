#include "base/json_document.hpp"

#include <algorithm>
#include <cctype>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/shown_text.hpp"

namespace kumihimo {
namespace {

using Json = nlohmann::json;

/// The first ones tell as much as all.
constexpr std::size_t most_twins = 10;

/// Sees keys while the library reads, and notes those that an object states twice.
class TwinKeys {
 public:
  TwinKeys(std::string_view where, Errors& faults) : where_(where), faults_(faults) {}

  void see(int depth, Json::parse_event_t event, const Json& parsed) {
    const auto enclosing = static_cast<std::size_t>(depth);
    if (event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start) {
      open_.resize(enclosing);
      open_.emplace_back();
    } else if (event == Json::parse_event_t::key) {
      open_.resize(enclosing);
      open_.back().newest = parsed.get_ref<const std::string&>();
      const bool first = open_.back().keys.insert(open_.back().newest).second;
      if (!first && faults_.size() < most_twins) {
        faults_.push_back({place(), "stands there twice", "keep one of the two"});
      }
    }
  }

  /// The file, and the newest key with those that enclose it.
  std::string place() const {
    const std::string keys = shown(path());
    return keys.empty() ? std::string(where_) : fmt::format("{}: {}", where_, keys);
  }

 private:
  struct Container {
    std::set<std::string> keys;
    std::string newest;  ///< empty in an array
  };

  std::string path() const {
    std::string text;
    for (const Container& container : open_) {
      if (!text.empty() && !container.newest.empty()) text += '.';
      text += container.newest;
    }
    return text;
  }

  std::string_view where_;
  Errors& faults_;
  std::vector<Container> open_;  ///< what encloses the place that is read, outermost first
};

/// What stands for a key's value around that byte, counted from 1, in one word: Python's NaN or
/// None, say. Empty where no value belongs.
std::string_view value_word(std::string_view text, std::size_t byte) {
  const auto in_word = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '+' || c == '.';
  };
  std::size_t begin = std::clamp<std::size_t>(byte, 1, text.size() + 1) - 1, end = begin;
  while (begin > 0 && in_word(text[begin - 1])) --begin;
  while (end < text.size() && in_word(text[end])) ++end;
  const std::size_t before = text.substr(0, begin).find_last_not_of(" \t\r\n");
  const bool is_value = before != std::string_view::npos && text[before] == ':';
  return is_value ? text.substr(begin, end - begin) : std::string_view();
}

/// "line 2, column 17" of that byte, counted from 1; the column alone where there is one line.
std::string position_text(std::string_view text, std::size_t byte) {
  const std::string_view before = text.substr(0, byte > 0 ? byte - 1 : 0);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const std::size_t last_break = before.rfind('\n');
  const std::size_t column =
      before.size() - (last_break == std::string_view::npos ? 0 : last_break + 1) + 1;
  const bool one_line =
      text.substr(0, text.find_last_not_of(" \t\r\n") + 1).find('\n') == std::string_view::npos;
  return one_line ? fmt::format("column {}", column)
                  : fmt::format("line {}, column {}", line, column);
}

Error syntax_error(std::string_view text, std::size_t byte, std::string_view where,
                   std::string_view remedy) {
  return {std::string(where), "is not valid JSON: see " + position_text(text, byte),
          std::string(remedy)};
}

/// `what`: the library's, which quotes the number: "... number overflow parsing '1e400'".
Error overflow_error(std::string_view what, std::string_view where, std::string_view remedy) {
  const std::size_t begin = what.find('\'') + 1, end = what.rfind('\'');
  const bool quotes = begin > 0 && end > begin && end != std::string_view::npos;
  const std::string number = quotes ? shown(what.substr(begin, end - begin)) : "a number";
  return {std::string(where), fmt::format("holds {}, beyond what a double can hold", number),
          fmt::format("correct it, or {}", remedy)};
}

}  // namespace

Expected<Json> parse_json(std::string_view text, std::string_view where, std::string_view remedy) {
  Errors faults;
  TwinKeys twins(where, faults);
  try {
    Json value = Json::parse(text, [&](int depth, Json::parse_event_t event, const Json& parsed) {
      twins.see(depth, event, parsed);
      return true;
    });
    // The library takes a NUL byte for the end of the text.
    const std::size_t nul = text.find('\0');
    if (nul != std::string_view::npos) return syntax_error(text, nul + 1, where, remedy);
    if (!faults.empty()) return faults;
    return value;
  } catch (const Json::parse_error& error) {
    const std::string_view word = value_word(text, error.byte);
    if (word.empty()) return syntax_error(text, error.byte, where, remedy);
    return Error{twins.place(),
                 fmt::format("is {}, which is not JSON: see {}", shown(word),
                             position_text(text, error.byte)),
                 "write a number, true, false, null or a text in quotes"};
  } catch (const Json::exception& error) {
    return overflow_error(error.what(), twins.place(), remedy);
  }
}

}  // namespace kumihimo

#include "base/json_document.hpp"

#include <algorithm>
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
        faults_.push_back({fmt::format("{}: {}", where_, shown(path())), "stands there twice",
                           "keep one of the two"});
      }
    }
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

/// `byte`: of the fault, counted from 1.
Error syntax_error(std::string_view text, std::size_t byte, std::string_view where,
                   std::string_view remedy) {
  const std::string_view before = text.substr(0, byte > 0 ? byte - 1 : 0);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const std::size_t last_break = before.rfind('\n');
  const std::size_t column =
      before.size() - (last_break == std::string_view::npos ? 0 : last_break + 1) + 1;
  const bool one_line =
      text.substr(0, text.find_last_not_of(" \t\r\n") + 1).find('\n') == std::string_view::npos;
  const std::string line_text = one_line ? "" : fmt::format("line {}, ", line);
  return {std::string(where), fmt::format("is not valid JSON: see {}column {}", line_text, column),
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
    return syntax_error(text, error.byte, where, remedy);
  } catch (const Json::exception& error) {
    return overflow_error(error.what(), where, remedy);
  }
}

}  // namespace kumihimo

#include "report/messages.hpp"

#include <algorithm>
#include <array>
#include <map>

#include "base/suggest.hpp"
#include "report/message_tables.hpp"

namespace kumihimo {
namespace {

std::string_view in(Language language, const Wording& message) {
  return language == Language::japanese ? message.japanese : message.english;
}

using Index = std::map<std::string_view, const Wording*>;

const Index& by_key() {
  static const Index index = [] {
    Index result;
    for (const Wording& message : messages()) result.emplace(message.key, &message);
    return result;
  }();
  return index;
}

const Index& by_english() {
  static const Index index = [] {
    Index result;
    for (const auto& table : {catalog_messages(), fault_messages()}) {
      for (const Wording& message : table) result.emplace(message.english, &message);
    }
    return result;
  }();
  return index;
}

}  // namespace

Expected<Language> parse_language(std::string_view text, std::string_view where) {
  const std::array<std::string, 2> known{"en", "ja"};
  if (text == known[0]) return Language::english;
  if (text == known[1]) return Language::japanese;
  return Error{std::string(where), "is \"" + std::string(text.substr(0, 60)) + "\"",
               suggest(text, known)};
}

std::string_view to_string(Language language) {
  return language == Language::japanese ? "ja" : "en";
}

const std::vector<Wording>& messages() {
  static const std::vector<Wording> all = [] {
    std::vector<Wording> result;
    for (const auto& table :
         {advise_messages(), page_messages(), catalog_messages(), fault_messages()}) {
      result.insert(result.end(), table.begin(), table.end());
    }
    return result;
  }();
  return all;
}

std::string_view message(Language language, std::string_view key) {
  const auto found = by_key().find(key);
  KUMIHIMO_CHECK(found != by_key().end());
  return in(language, *found->second);
}

std::string_view translated(Language language, std::string_view english) {
  const auto found = by_english().find(english);
  return found == by_english().end() ? english : in(language, *found->second);
}

}  // namespace kumihimo

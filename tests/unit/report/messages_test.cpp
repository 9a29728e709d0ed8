#include "report/messages.hpp"

#include <gtest/gtest.h>
#include <regex>
#include <set>

namespace kumihimo {
namespace {

/// "{0:.1f}" and its kin, without their formats, which may differ.
std::multiset<std::string> placeholders(std::string_view text) {
  std::multiset<std::string> found;
  const std::string copy(text);
  const std::regex pattern(R"(\{(\d+))");
  for (std::sregex_iterator i(copy.begin(), copy.end(), pattern), end; i != end; ++i) {
    found.insert((*i)[1]);
  }
  return found;
}

TEST(Messages, EveryTextIsThereInEveryLanguage) {
  std::set<std::string_view> keys;
  for (const Wording& message : messages()) {
    SCOPED_TRACE(std::string(message.key));
    EXPECT_TRUE(keys.insert(message.key).second) << "twice";
    EXPECT_FALSE(message.english.empty());
    EXPECT_FALSE(message.japanese.empty());
    EXPECT_EQ(placeholders(message.english), placeholders(message.japanese));
  }
  EXPECT_GT(keys.size(), 100u);
}

TEST(Messages, AreFilledInTheOrderOfTheLanguage) {
  EXPECT_EQ(text_of(Language::english, "advise.machine_text", "128", "A100"), "128 × A100");
  EXPECT_EQ(text_of(Language::japanese, "advise.machine_text", "128", "A100"), "A100 × 128 台");
}

TEST(Messages, LanguagesHaveNames) {
  EXPECT_EQ(*parse_language("ja", "--lang"), Language::japanese);
  EXPECT_EQ(to_string(Language::english), "en");
  EXPECT_FALSE(parse_language("fr", "--lang"));
}

TEST(Messages, OnlyTextsOfTheCatalogAreTranslated) {
  EXPECT_EQ(translated(Language::japanese, "another micro-batch size"),
            "マイクロバッチの大きさを変える");
  EXPECT_EQ(translated(Language::japanese, "my own words"), "my own words");
}

}  // namespace
}  // namespace kumihimo

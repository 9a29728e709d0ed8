#include <gtest/gtest.h>
#include <limits>
#include <nlohmann/json.hpp>

#include "cli/json_text.hpp"
#include "cli/progress.hpp"
#include "cli/table.hpp"

namespace kumihimo {
namespace {

TEST(JsonText, KeepsOrderAndEveryDigit) {
  const nlohmann::ordered_json document{{"schema", "kumihimo.test/1"},
                                        {"b", 0.1 + 0.2},
                                        {"a", std::numeric_limits<double>::quiet_NaN()}};
  EXPECT_EQ(
      to_json_text(document),
      "{\n  \"schema\": \"kumihimo.test/1\",\n  \"b\": 0.30000000000000004,\n  \"a\": null\n}\n");
}

TEST(JsonText, RepairsTextThatIsNotUtf8) {
  const nlohmann::ordered_json document{{"name", "a\xFF"}};
  EXPECT_EQ(to_json_text(document), "{\n  \"name\": \"a\xEF\xBF\xBD\"\n}\n");
}

TEST(JsonText, FaultsAreToldWithoutTheLibrarysName) {
  const auto fault_of = [](const char* text) -> std::string {
    try {
      nlohmann::json::parse(text).at("schema");
    } catch (const nlohmann::json::exception& error) {
      return fault_text(error);
    }
    return "none";
  };
  EXPECT_EQ(fault_of("{}"), "key 'schema' not found");
  EXPECT_EQ(fault_of("{").find("parse error at line 1"), 0u) << fault_of("{");
}

TEST(ProgressLine, ShowsShareAndTimeLeft) {
  // A quarter done in 2 s: three quarters take 6 s more.
  const std::string line = progress_line("searching", 0.25, 2, 80);
  EXPECT_NE(line.find("25 %, 6.00 s left"), std::string::npos) << line;
  EXPECT_LE(display_width(line), 80);
  EXPECT_EQ(progress_line("searching", 0, 2, 80).find("left"), std::string::npos);
}

TEST(ProgressLine, FitsANarrowTerminal) {
  EXPECT_LE(display_width(progress_line("searching", 0.5, 100000, 40)), 40);
}

}  // namespace
}  // namespace kumihimo

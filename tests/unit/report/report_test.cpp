#include <algorithm>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "base/number_text.hpp"
#include "example.hpp"
#include "report/embedded_page.hpp"
#include "report/html_text.hpp"
#include "report/report_content.hpp"
#include "report/report_tables.hpp"

namespace kumihimo {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

/// The page without its script and style, which hold markup of their own.
std::string markup(const ReportContent& content) {
  std::string html = report_html(content);
  for (const std::string_view part : {page_script(), page_style()}) {
    const std::size_t at = part.empty() ? std::string::npos : html.find(part);
    if (at != std::string::npos) html.erase(at, part.size());
  }
  return html;
}

TEST(Html, EscapesMarkupAndRepairsText) {
  EXPECT_EQ(html_text("<b a=\"1\">&'"), "&lt;b a=&quot;1&quot;&gt;&amp;&#39;");
  EXPECT_EQ(html_text("a\nb\x01\x7f"
                      "c"),
            "a bc");
  EXPECT_EQ(html_text("\xff\xc3"), "\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_EQ(html_text("\xed\xa0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");  // a surrogate
  EXPECT_EQ(html_text("a\xE2\x80\xAE"
                      "b"),
            "ab");  // would turn the text around
  EXPECT_EQ(html_text("組紐", 1), "組…");
  EXPECT_EQ(html_text(std::string(10'000, 'x'), 400).size(), 400 + std::string("…").size());
}

TEST(Markdown, EscapesWhatMarkdownReads) {
  EXPECT_EQ(markdown_text("a|b*c_d`e<f>\n[g]"), "a\\|b\\*c\\_d\\`e\\<f\\> \\[g\\]");
}

TEST(Report, HostileTextsAppearAsText) {
  for (const std::string& hostile :
       {std::string("<script>alert(1)</script>"),
        std::string("</script><img src=x onerror=alert(1)>"),
        std::string("\"><svg onload=alert(1)>"), std::string("--><!--"),
        std::string("'quoted\n\rnew"), std::string(10'000, '<'),
        std::string("\xff\xfe\x00\x01", 4)}) {
    const std::string html = markup(testing::report_full_of(hostile));
    EXPECT_THAT(html, Not(HasSubstr("<script>alert")));
    EXPECT_THAT(html, Not(HasSubstr("<img")));
    EXPECT_THAT(html, Not(HasSubstr("<svg onload")));
    EXPECT_THAT(html, Not(HasSubstr("--><!--")));
    EXPECT_LT(html.size(), 2u << 20);
    // The data, the page's own script, and the planner with its data: no element more.
    std::size_t scripts = 0;
    for (std::size_t at = html.find("<script"); at != std::string::npos;
         at = html.find("<script", at + 1)) {
      ++scripts;
    }
    EXPECT_EQ(scripts, page_script().empty() ? 0u : page_planner().empty() ? 2u : 4u);
    EXPECT_FALSE(report_markdown(testing::report_full_of(hostile)).empty());
  }
}

TEST(Report, ScriptCannotEndItself) {
  EXPECT_EQ(page_script().find("</script"), std::string_view::npos);
  EXPECT_EQ(page_script().find("<!--"), std::string_view::npos);
  EXPECT_FALSE(page_style().empty());
}

TEST(Report, HasEverySectionInBothLanguagesAndIsSmall) {
  for (const Language language : {Language::english, Language::japanese}) {
    const std::string html = report_html(testing::report_full_of("name", language));
    for (const char* id : {"answer", "steps", "layouts", "what_if", "agreement", "tp_pp", "memory",
                           "time", "timeline", "options", "interactions", "sensitivity", "map",
                           "frontier", "precision", "provenance"}) {
      EXPECT_THAT(html, HasSubstr(std::string("<section id=\"") + id + "\"")) << id;
      EXPECT_THAT(html, HasSubstr(std::string("href=\"#") + id + "\"")) << id;
    }
    EXPECT_THAT(html, HasSubstr(std::string("<html lang=\"") + std::string(to_string(language))));
    EXPECT_LT(html.size(), 2u << 20);
  }
}

TEST(Report, AsksTheNetworkForNothing) {
  const std::string html = markup(testing::report_full_of("name"));
  EXPECT_THAT(html, HasSubstr("default-src 'none'"));
  EXPECT_EQ(html.find("src=\"http"), std::string::npos);
  EXPECT_EQ(html.find("href=\"http"), std::string::npos);
}

TEST(Report, KindsAreToldApartByShapeAndColour) {
  const std::string html = markup(testing::report_full_of("name"));
  for (const char* kind : {"measured", "emulated", "predicted", "quoted"}) {
    EXPECT_THAT(html, HasSubstr(std::string("class=\"k-") + kind + "\""));
  }
  for (const char* mark : {"● measured", "◆ emulated", "○ predicted", "▲ quoted"}) {
    EXPECT_THAT(html, HasSubstr(mark));
  }
}

TEST(Report, RowsAreCsv) {
  const std::string csv = report_csv(testing::report_full_of("a,\"b\"\nc"));
  EXPECT_THAT(csv, HasSubstr("kind,study,model,gpus,state,tp,"));
  EXPECT_THAT(csv, HasSubstr("measured,\"a,\"\"b\"\"\nc\","));
  const std::string plain = report_csv(testing::report_full_of("name"));
  const auto commas = [&](std::size_t from) {
    return std::count(plain.begin() + from, plain.begin() + plain.find('\n', from), ',');
  };
  EXPECT_EQ(commas(0), commas(plain.find('\n') + 1)) << "a heading for each cell";
}

TEST(Report, WhatRoundsToZeroHasNoSign) {
  EXPECT_EQ(signed_points(0.015), "+1.5");
  EXPECT_EQ(signed_points(-0.015), "-1.5");
  ReportContent content = testing::report_full_of("name");
  content.options[0].share = content.options[0].kept = content.interactions[0].together = -1e-9;
  for (const HtmlTable& table : {options_table(content), interactions_table(content)}) {
    for (const std::string& cell : table.rows[0]) EXPECT_THAT(cell, Not(HasSubstr("-0.0")));
  }
}

TEST(Report, TablesHaveATitleForEachColumn) {
  const ReportContent content = testing::report_full_of("name");
  for (const HtmlTable& table :
       {rows_table(content, 9), agreement_table(content), heat_table(content.heat_maps[0], content),
        heat_grid(content.heat_maps[0], content), stacked_table(*content.memory, content),
        timeline_table(content), steps_table(content), options_table(content),
        interactions_table(content), sensitivity_table(content), winner_table(content),
        winner_grid(*content.map), frontier_table(content), precision_table(content)}) {
    ASSERT_FALSE(table.rows.empty());
    for (const auto& row : table.rows) EXPECT_EQ(row.size(), table.titles.size()) << row.front();
  }
}

TEST(Report, PageHoldsTheRowsByColumn) {
  const auto page = nlohmann::json::parse(page_data_json(testing::report_full_of("name")));
  const auto whole = nlohmann::json::parse(report_json(testing::report_full_of("name")));
  for (std::size_t i = 0; i < whole["rows"].size(); ++i) {
    for (const auto& [key, value] : whole["rows"][i].items()) {
      const auto& column = page["rows"][key];
      EXPECT_EQ(column.is_array() ? column[i] : column["of"][column["at"][i].get<std::size_t>()],
                value)
          << key;
    }
  }
}

}  // namespace
}  // namespace kumihimo

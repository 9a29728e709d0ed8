#include "base/csv.hpp"

#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace kumihimo {
namespace {

using Record = std::vector<std::string>;

std::vector<Record> records(std::string_view text) {
  CsvReader reader(text);
  std::vector<Record> all;
  Record fields;
  while (reader.next(fields)) all.push_back(fields);
  EXPECT_EQ(reader.fault(), "");
  return all;
}

std::string fault_of(std::string_view text) {
  CsvReader reader(text);
  Record fields;
  while (reader.next(fields)) {
  }
  return std::to_string(reader.line()) + " " + reader.fault();
}

TEST(CsvReader, SplitsAtCommasAndLineBreaks) {
  EXPECT_EQ(records("a,b\n1,2\n"), (std::vector<Record>{{"a", "b"}, {"1", "2"}}));
}

TEST(CsvReader, TakesCrlfAndAMissingFinalLineBreak) {
  EXPECT_EQ(records("a,b\r\n1,2"), (std::vector<Record>{{"a", "b"}, {"1", "2"}}));
}

TEST(CsvReader, KeepsBlankFieldsAndPassesOverBlankLines) {
  EXPECT_EQ(records(",\n\n\r\n,,\n"), (std::vector<Record>{{"", ""}, {"", "", ""}}));
  EXPECT_EQ(records("a,"), (std::vector<Record>{{"a", ""}}));
}

TEST(CsvReader, UnquotesCommasQuotesAndLineBreaks) {
  EXPECT_EQ(records("\"a,b\",\"say \"\"x\"\"\",\"two\r\nlines\",\"\"\n"),
            (std::vector<Record>{{"a,b", "say \"x\"", "two\r\nlines", ""}}));
}

TEST(CsvReader, DropsTheByteOrderMark) {
  EXPECT_EQ(records("\xEF\xBB\xBFname\n"), (std::vector<Record>{{"name"}}));
}

TEST(CsvReader, CountsLinesThroughQuotedLineBreaks) {
  CsvReader reader("h\n\"a\nb\nc\"\nlast\n");
  Record fields;
  ASSERT_TRUE(reader.next(fields));
  EXPECT_EQ(reader.line(), 1);
  ASSERT_TRUE(reader.next(fields));
  EXPECT_EQ(reader.line(), 2);
  ASSERT_TRUE(reader.next(fields));
  EXPECT_EQ(reader.line(), 5);  // 2 + two breaks inside + the one that ends the record
  EXPECT_FALSE(reader.next(fields));
}

TEST(CsvReader, NamesTheLineOfEachFault) {
  EXPECT_EQ(fault_of("a\n\"open\nnever\n"), "2 opens a quote that never closes");
  EXPECT_EQ(fault_of("a\nb\"c\n"), "2 has a quote inside a field that does not begin with one");
  EXPECT_EQ(fault_of("a\n\"b\"c\n"), "2 has text after a closing quote");
  EXPECT_EQ(fault_of("a\rb\n"), "1 has a carriage return that ends no line");
  EXPECT_EQ(fault_of(std::string_view("a\nb\0c\n", 6)), "2 holds a NUL byte");
  EXPECT_EQ(fault_of(std::string_view("\"\0\"", 3)), "1 holds a NUL byte");
}

TEST(CsvReader, StopsAtTheFirstFault) {
  CsvReader reader("a\"\nb\n");
  Record fields;
  EXPECT_FALSE(reader.next(fields));
  EXPECT_FALSE(reader.next(fields));
}

TEST(CsvReader, BoundsFieldsAndTheirLength) {
  EXPECT_EQ(records(std::string(999, ','))[0].size(), 1000u);
  EXPECT_EQ(fault_of(std::string(1000, ',')), "1 holds more than 1,000 fields");
  const std::string long_field((1 << 20) + 1, 'x');
  EXPECT_EQ(fault_of(long_field), "1 has a field over 1 MiB");
  EXPECT_EQ(fault_of("\"" + long_field + "\""), "1 has a field over 1 MiB");
}

TEST(CsvEscape, QuotesOnlyWhatNeedsIt) {
  EXPECT_EQ(csv_escape("plain text"), "plain text");
  EXPECT_EQ(csv_escape("a,b"), "\"a,b\"");
  EXPECT_EQ(csv_escape("say \"x\""), "\"say \"\"x\"\"\"");
  EXPECT_EQ(csv_escape(" padded"), "\" padded\"");
  EXPECT_EQ(csv_escape(""), "");
}

TEST(CsvEscape, IsReadBackUnchanged) {
  for (const std::string text : {"a,b", "\"", "two\nlines", "cr\rlf\r\n", " ", "plain"})
    EXPECT_EQ(records(csv_escape(text) + ",end"), (std::vector<Record>{{text, "end"}})) << text;
}

}  // namespace
}  // namespace kumihimo

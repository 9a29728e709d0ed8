#include "base/units.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits>

namespace kumihimo {
namespace {

using ::testing::HasSubstr;

double parsed(std::string_view text, Dimension dimension) {
  const Expected<double> value = parse_quantity(text, dimension, "test");
  EXPECT_TRUE(value.has_value()) << to_string(value ? Errors{} : value.errors());
  return value ? *value : -1;
}

std::string fault(std::string_view text, Dimension dimension) {
  const Expected<double> value = parse_quantity(text, dimension, "mine.toml: device.memory");
  EXPECT_FALSE(value.has_value()) << "\"" << text << "\" read as " << (value ? *value : 0);
  return value ? "" : to_string(value.errors());
}

TEST(ParseQuantity, ReadsBytesInDecimalAndBinaryUnits) {
  EXPECT_EQ(parsed("80GiB", Dimension::bytes), 80.0 * 1024 * 1024 * 1024);
  EXPECT_EQ(parsed("80GB", Dimension::bytes), 80.0 * 1000 * 1000 * 1000);
  EXPECT_EQ(parsed("0.5TiB", Dimension::bytes), 512.0 * 1024 * 1024 * 1024);
  EXPECT_EQ(parsed("0B", Dimension::bytes), 0);
}

TEST(ParseQuantity, EightBitsAreOneByte) {
  EXPECT_EQ(parsed("400Gbps", Dimension::bytes_per_second), 400e9 / 8);
  EXPECT_EQ(parsed("50GB/s", Dimension::bytes_per_second), 50e9);
}

TEST(ParseQuantity, ReadsWorkTimePowerMoneyAndRatio) {
  EXPECT_EQ(parsed("312TFLOP/s", Dimension::flop_per_second), 312e12);
  EXPECT_DOUBLE_EQ(parsed("2.5us", Dimension::seconds), 2.5e-6);
  // To the last bit what the number in seconds is: a file that is read and written stays the same.
  EXPECT_EQ(parsed("5us", Dimension::seconds), 5e-6);
  EXPECT_EQ(parsed("30us", Dimension::seconds), 30e-6);
  EXPECT_EQ(parsed("7%", Dimension::ratio), 0.07);
  EXPECT_EQ(parsed("2d", Dimension::seconds), 2 * 24 * 3600);
  EXPECT_EQ(parsed("0.7kW", Dimension::watts), 700);
  EXPECT_EQ(parsed("2.10USD", Dimension::money), 2.10);
  EXPECT_EQ(*parse_money("2.10USD", "price"), (Money{2.10, Currency::usd}));
  EXPECT_EQ(*parse_money("9 EUR", "price"), (Money{9, Currency::eur}));
  EXPECT_EQ(*parse_money("310JPY", "price"), (Money{310, Currency::jpy}));
  EXPECT_FALSE(parse_money("310", "price"));
  EXPECT_FALSE(parse_money("310GBP", "price"));
  EXPECT_EQ(parsed("0.35", Dimension::ratio), 0.35);
  EXPECT_DOUBLE_EQ(parsed("35%", Dimension::ratio), 0.35);
}

TEST(ParseQuantity, SpaceAroundAndBeforeTheUnitIsFree) {
  EXPECT_EQ(parsed("  400 Gbps\n", Dimension::bytes_per_second), 50e9);
  EXPECT_EQ(parsed("1e3 GB", Dimension::bytes), 1e12);
}

TEST(ParseQuantity, RefusesABareNumberNamingPlaceValueAndUnits) {
  EXPECT_EQ(
      fault("80", Dimension::bytes),
      "mine.toml: device.memory: is \"80\", a bare number: the unit is missing; write it like "
      "\"80GiB\"; units: B, kB, MB, GB, TB, KiB, MiB, GiB, TiB\n");
}

TEST(ParseQuantity, PrefixesAreCaseSensitive) {
  EXPECT_THAT(fault("80Gib", Dimension::bytes), HasSubstr("whose unit \"Gib\" is not one"));
  EXPECT_THAT(fault("400gbps", Dimension::bytes_per_second), HasSubstr("Gbps"));
  EXPECT_THAT(fault("3MS", Dimension::seconds), HasSubstr("ms"));
}

TEST(ParseQuantity, AUnitOfAnotherDimensionIsRefused) {
  EXPECT_THAT(fault("80GiB", Dimension::seconds), HasSubstr("not one for a duration"));
  EXPECT_THAT(fault("80GiB", Dimension::bytes_per_second), HasSubstr("not one for a data rate"));
  EXPECT_THAT(fault("35%", Dimension::bytes), HasSubstr("not one for an amount of memory"));
}

TEST(ParseQuantity, RefusesWhatIsNoAmount) {
  for (const std::string_view text : {"", "   ", "GiB", "x80GiB", "+80GiB", ".GiB", "--1GiB"}) {
    EXPECT_THAT(fault(text, Dimension::bytes), HasSubstr("not an amount of memory")) << text;
  }
  EXPECT_THAT(fault("nanGiB", Dimension::bytes), HasSubstr("not a finite number"));
  EXPECT_THAT(fault("inf s", Dimension::seconds), HasSubstr("not a finite number"));
  EXPECT_THAT(fault("-1GiB", Dimension::bytes), HasSubstr("negative"));
  EXPECT_THAT(fault("-0GiB", Dimension::bytes), HasSubstr("negative"));
  EXPECT_THAT(fault("1e999GiB", Dimension::bytes), HasSubstr("out of range"));
  EXPECT_THAT(fault("1e300GiB", Dimension::bytes), HasSubstr("beyond any machine"));
  EXPECT_THAT(fault("-1", Dimension::ratio), HasSubstr("negative"));
  EXPECT_THAT(fault("1GiBGiB", Dimension::bytes), HasSubstr("\"GiBGiB\""));
}

TEST(ParseQuantity, EveryAcceptedAmountOfBytesFitsA64BitInteger) {
  EXPECT_LT(parsed("1e18B", Dimension::bytes),
            static_cast<double>(std::numeric_limits<Bytes>::max()));
  fault("1.1e18B", Dimension::bytes);
}

TEST(ParseQuantity, MessagesStayShortAndPrintable) {
  const std::string message = fault("80\x1b[31m" + std::string(100'000, 'x'), Dimension::bytes);
  EXPECT_LT(message.size(), 500u);
  EXPECT_EQ(message.find('\x1b'), std::string::npos);
}

TEST(Format, BytesChooseTheUnitThatReadsWell) {
  EXPECT_EQ(format_bytes(512 * MiB), "512 MiB");
  EXPECT_EQ(format_bytes(79.3 * GiB), "79.3 GiB");
  EXPECT_EQ(format_bytes(1.5 * 1024 * GiB), "1.50 TiB");
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(-2 * GiB), "-2.00 GiB");
  EXPECT_EQ(format_bytes(1023.9 * MiB), "1.00 GiB");
  EXPECT_EQ(format_bytes(1e300), "8.88e+284 PiB");
}

TEST(Format, SecondsGoFromNanosecondsToDays) {
  EXPECT_EQ(format_seconds(0), "0 s");
  EXPECT_EQ(format_seconds(4.1e-6), "4.10 us");
  EXPECT_EQ(format_seconds(3.2e-3), "3.20 ms");
  EXPECT_EQ(format_seconds(26.54), "26.5 s");
  EXPECT_EQ(format_seconds(59.96), "1 min");
  EXPECT_EQ(format_seconds(125), "2 min 5 s");
  EXPECT_EQ(format_seconds(2 * 3600 + 59 * 60 + 40), "3 h");
  EXPECT_EQ(format_seconds((2 * 24 + 3) * 3600), "2 d 3 h");
  EXPECT_EQ(format_seconds(0.99996), "1.00 s");
  EXPECT_EQ(format_seconds(-0.5), "-500 ms");
  EXPECT_EQ(format_seconds(std::numeric_limits<double>::infinity()), "inf s");
}

TEST(Format, Rates) {
  EXPECT_EQ(format_flop_per_second(312e12), "312 TFLOP/s");
  EXPECT_EQ(format_flop_per_second(989.4e12), "989 TFLOP/s");
  EXPECT_EQ(format_flop_per_second(999.9e12), "1.00 PFLOP/s");
  EXPECT_EQ(format_bytes_per_second(300e9), "300 GB/s");
  EXPECT_EQ(format_bytes_per_second(3.35e12), "3.35 TB/s");
}

}  // namespace
}  // namespace kumihimo

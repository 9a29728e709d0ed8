#include "advise/upgrades_file.hpp"

#include <gmock/gmock.h>

#include "layout/layout_text.hpp"

namespace kumihimo {
namespace {

using ::testing::HasSubstr;

const UpgradeOption* find(const Upgrades& upgrades, std::string_view name) {
  const auto found = std::ranges::find(upgrades.options, name, &UpgradeOption::name);
  return found == upgrades.options.end() ? nullptr : &*found;
}

std::string faults(std::string_view text) {
  const Expected<Upgrades> upgrades = parse_upgrades(text, "mine.toml");
  return upgrades ? "" : to_string(upgrades.errors());
}

TEST(Upgrades, TheCatalogsOptionsHaveEffortAndReason) {
  const Expected<Upgrades> upgrades = default_upgrades();
  ASSERT_TRUE(upgrades) << to_string(upgrades.errors());
  EXPECT_FALSE(upgrades->states_costs());
  for (const UpgradeOption& option : upgrades->options) {
    SCOPED_TRACE(option.name);
    EXPECT_FALSE(option.description.empty());
    EXPECT_FALSE(option.reason.empty());
  }
  EXPECT_EQ(find(*upgrades, "split")->kind(), OptionKind::knob);
  EXPECT_EQ(find(*upgrades, "flash2")->kind(), OptionKind::software);
  EXPECT_EQ(find(*upgrades, "h100")->kind(), OptionKind::hardware);
  for (const char* hard : {"schedule", "zero", "fp8"}) {
    EXPECT_GT(find(*upgrades, hard)->effort, find(*upgrades, "flash2")->effort) << hard;
  }
}

TEST(Upgrades, CostIsPurchaseWorkAndEffort) {
  const Expected<Upgrades> upgrades = parse_upgrades(R"(
price_per_engineer_day = "800USD"
price_per_effort_point = "1000USD"
[[option]]
name = "switches"
nic_bandwidth = "400Gbps"
purchase = "250000USD"
engineer_days = 10
effort = 1.5
)",
                                                     "mine.toml");
  ASSERT_TRUE(upgrades) << to_string(upgrades.errors());
  EXPECT_TRUE(upgrades->states_costs());
  EXPECT_DOUBLE_EQ(cost_of(upgrades->options[0], upgrades->prices),
                   250000 + 10 * 800.0 + 1.5 * 1000.0);
  EXPECT_DOUBLE_EQ(*upgrades->options[0].hardware.nic_bandwidth, 400e9 / 8);
  EXPECT_DOUBLE_EQ(cost_of(upgrades->options[0], Prices{}), 250000);
}

TEST(Upgrades, AUsersOptionReplacesWhatItStates) {
  const Expected<Upgrades> base = default_upgrades();
  ASSERT_TRUE(base);
  const Expected<Upgrades> upgrades = parse_upgrades(R"(
leave_out = ["h100", "gpus-x2"]
[[option]]
name = "flash2"
engineer_days = 7
)",
                                                     "mine.toml", *base);
  ASSERT_TRUE(upgrades) << to_string(upgrades.errors());
  const UpgradeOption* flash = find(*upgrades, "flash2");
  EXPECT_EQ(flash->engineer_days, 7);
  EXPECT_EQ(flash->effort, find(*base, "flash2")->effort);
  ASSERT_EQ(flash->opens.size(), 1u);
  EXPECT_EQ(flash->opens[0].value->attention, AttentionKernel::flash2);
  EXPECT_EQ(find(*upgrades, "h100"), nullptr);
  EXPECT_EQ(upgrades->options.size(), base->options.size() - 2);
}

TEST(Upgrades, AllFaultsAreToldAtOnce) {
  const std::string told = faults(R"(
price_per_device_hour = 2.1
leave_out = ["flash9"]
colour = "red"
[[option]]
name = "a"
opens = ["atention=flash2", "attention=flash9", "split=tp", "recompute"]
[[option]]
name = "b"
effort = 11
[[option]]
name = "b"
cluster = "h10"
[[option]]
name = "c"
opens = ["norm=fused"]
requires = ["nothing"]
[[option]]
name = "d"
opens = ["norm=fused"]
)");
  for (const char* part :
       {"price_per_device_hour", "\"flash9\", which is no option", "colour",
        "\"atention\", which is no knob", "did you mean \"attention\"", "attention=flash9",
        "split=any", "recompute=VALUE", "effort", "which another option has", "changes nothing",
        "\"h10\"", "open the same value of norm", "requires \"nothing\""}) {
    EXPECT_THAT(told, HasSubstr(part));
  }
}

TEST(Upgrades, AmountsKeepTheirCurrency) {
  const Expected<Upgrades> upgrades = parse_upgrades(R"(
price_per_device_hour = "300 JPY"
[[option]]
name = "links"
nic_bandwidth = "400Gbps"
purchase = "250000EUR"
)",
                                                     "mine.toml");
  ASSERT_TRUE(upgrades) << to_string(upgrades.errors());
  EXPECT_EQ(upgrades->prices.device_hour, (Money{300, Currency::jpy}));
  EXPECT_EQ(upgrades->options[0].purchase, (Money{250000, Currency::eur}));
  EXPECT_FALSE(upgrades->prices.engineer_day);
}

TEST(Upgrades, HostileTextIsRefusedNotPrinted) {
  const std::string told = faults("[[option]]\nname = \"\\u001b[31mred\"\n");
  EXPECT_THAT(told, HasSubstr("changes nothing"));
  EXPECT_EQ(told.find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace kumihimo

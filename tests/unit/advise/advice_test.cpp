#include "advise/advice.hpp"

#include <gmock/gmock.h>
#include <numeric>

#include "advise/currency.hpp"
#include "example.hpp"

namespace kumihimo {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> names(const Advice& advice, const AdviceRequest& request) {
  std::vector<std::string> result;
  for (const AdviceStep& step : advice.steps) {
    for (const std::size_t option : step.options) result.push_back(request.options[option].name);
  }
  return result;
}

const OptionGain& gain_of(const Advice& advice, const AdviceRequest& request,
                          std::string_view name) {
  return *std::ranges::find_if(advice.options, [&](const OptionGain& gain) {
    return request.options[gain.option].name == name;
  });
}

TEST(Advise, StepsAddUpAndEachIsWorthIt) {
  const AdviceRequest request = testing::founding_study(testing::founding_start);
  const Advice advice = advise(request);
  ASSERT_FALSE(advice.steps.empty());
  double product = 1;
  for (const AdviceStep& step : advice.steps) {
    EXPECT_GE(step.gain, worth_a_step);
    product *= 1 + step.gain;
    EXPECT_NEAR(step.total_gain, product - 1, 1e-9);
  }
  EXPECT_NEAR(advice.total_gain, product - 1, worth_a_step);
  EXPECT_NEAR(
      std::accumulate(advice.attribution.shares.begin(), advice.attribution.shares.end(), 0.0),
      advice.total_gain, 1e-9);
  EXPECT_TRUE(advice.checked);
  for (const OrderCheck& check : advice.checks) EXPECT_GE(check.best_gain, check.gain);
}

TEST(Advise, AnOptionDoesNothingWithoutWhatItRequires) {
  const AdviceRequest request = testing::founding_study(testing::founding_start);
  const OptionValues values(request, false);
  const OptionSet norm = 0b0010, flash = 0b0100;
  EXPECT_EQ(values.gain(norm), 0);
  EXPECT_GT(values.gain(norm | flash), values.gain(flash));
}

TEST(Advise, MoreOptionsAreNeverWorse) {
  const AdviceRequest request = testing::founding_study(testing::founding_start);
  const OptionValues values(request, false);
  for (OptionSet set = 0; set < 16; ++set) {
    for (int option = 0; option < 4; ++option) {
      EXPECT_LE(values.score(set | 1U << option), values.score(set)) << set << " + " << option;
    }
    EXPECT_LE(values.score(set, true), values.score(set));
  }
}

TEST(Advise, GainsWithTheLayoutKeptKeepTheLayout) {
  const AdviceRequest request = testing::founding_study(testing::founding_start);
  const Advice advice = advise(request);
  const OptionGain& flash = gain_of(advice, request, "flash2");
  EXPECT_EQ(flash.kept.ranked.layout.tensor_parallel, 8);
  EXPECT_EQ(flash.kept.ranked.layout.attention, AttentionKernel::flash2);
  EXPECT_GT(flash.reoptimised_gain, flash.kept_gain);
  EXPECT_NE(flash.reoptimised.ranked.layout.tensor_parallel, 8);
}

TEST(Advise, WithoutPricesHardwareIsShownNotOrdered) {
  AdviceRequest request = testing::llama_65b_on_128_a100(testing::founding_start);
  request.options = default_upgrades()->options;
  const Advice advice = advise(request);
  EXPECT_FALSE(advice.by_cost);
  for (const std::string& name : names(advice, request)) EXPECT_NE(name, "gpus-x2");
  EXPECT_GT(gain_of(advice, request, "gpus-x2").kept_gain, 0.5);
  EXPECT_EQ(gain_of(advice, request, "fp8").no_change, NoChange::impossible);
}

TEST(Advise, HardwareWithoutAPriceOfItsOwnIsShownNotOrdered) {
  AdviceRequest request = testing::llama_65b_on_128_a100(testing::founding_start);
  request.prices = {.device_hour = Money{2}, .engineer_day = Money{1000}, .effort_point = {}};
  request.options = default_upgrades()->options;
  std::erase_if(request.options, [](const UpgradeOption& option) {
    return option.name != "gpus-x2" && option.name != "h100" && option.name != "micro-batch";
  });
  const auto ranked = [&](std::string_view name) {
    return std::ranges::count(names(advise(request), request), name) == 1;
  };
  const std::string x2 = "gpus-x2", h100 = "h100";
  EXPECT_FALSE(ranked(x2)) << "five days of work do not buy 128 devices";
  EXPECT_FALSE(ranked(h100));
  for (UpgradeOption& option : request.options) {
    if (option.name == x2) option.purchase = Money{0};
    if (option.name == h100) option.hardware.price_per_device_hour = Money{3};
  }
  EXPECT_TRUE(ranked(x2));
  EXPECT_TRUE(ranked(h100));
}

TEST(Advise, BreakEvenIsCostOverSavings) {
  AdviceRequest request = testing::founding_study(testing::founding_start);
  request.prices = {.device_hour = Money{2}, .engineer_day = Money{1000}, .effort_point = {}};
  request.tokens = 1e12;
  for (UpgradeOption& option : request.options) option.engineer_days = 3;
  const Advice advice = advise(request);
  EXPECT_TRUE(advice.by_cost);
  const AdviceStep& step = advice.steps.front();
  const double cost = 3 * 1000.0 * static_cast<double>(step.options.size());
  EXPECT_NEAR(step.cost, cost, 1e-9);
  const double before = step.before.ranked.prediction.step_s;
  const double after = step.after.ranked.prediction.step_s;
  const double saved = 128 * 2.0 / 3600 * (before - after);  // money a step
  ASSERT_TRUE(step.payback.has_value());
  EXPECT_NEAR(step.payback->saved_per_step, saved, 1e-9 * saved);
  EXPECT_NEAR(step.payback->break_even_s.value(), cost / saved * after, 1e-6);
  const double steps = 1e12 / (2048.0 * 2048.0);
  EXPECT_NEAR(step.days_saved.value(), steps * (before - after) / 86400, 1e-9 * steps);
  EXPECT_NEAR(step.payback->money_saved.value(), steps * saved, 1e-9 * steps * saved);
}

TEST(Advise, DearOptionsComeLater) {
  AdviceRequest request = testing::founding_study(testing::founding_start);
  request.prices.engineer_day = Money{1000};
  for (UpgradeOption& option : request.options) {
    option.engineer_days = option.name == "layout" ? 1e6 : 1;
  }
  EXPECT_EQ(names(advise(request), request).back(), "layout");
}

TEST(Advise, BlockedOptionsAreNotTaken) {
  const AdviceRequest request = testing::founding_study(testing::founding_start);
  const std::vector<std::string> taken = names(advise(request, 0b0100), request);  // flash2
  EXPECT_EQ(std::ranges::count(taken, "flash2"), 0);
  EXPECT_EQ(std::ranges::count(taken, "fused-norm"), 0);
}

TEST(Advise, BoughtLinksAndMachinesCombine) {
  AdviceRequest request = testing::llama_65b_on_128_a100(testing::founding_start);
  const Expected<Upgrades> upgrades = parse_upgrades(R"(
[[option]]
name = "h100"
cluster = "h100-80gb-sxm"
purchase = "1USD"
[[option]]
name = "h200"
cluster = "h200-sxm"
purchase = "1USD"
[[option]]
name = "links"
inter_node_times = 2
purchase = "1USD"
)",
                                                     "mine.toml");
  ASSERT_TRUE(upgrades) << to_string(upgrades.errors());
  request.options = upgrades->options;
  const OptionValues values(request, true);
  // None, h100, h200, links, h100 + links, h200 + links: one machine takes the place of another.
  EXPECT_EQ(values.machines().size(), 6u);
  const Outcome both = values.at(0b101);
  const Machine& machine = values.machines()[both.machine];
  EXPECT_EQ(machine.options, OptionSet{0b101});
  EXPECT_DOUBLE_EQ(machine.cluster.inter_node.bandwidth,
                   2 * read_cluster("h100-80gb-sxm")->inter_node.bandwidth);
  EXPECT_LE(values.score(0b111), values.score(0b101));
}

TEST(Advise, CheapestNeedsAPrice) {
  AdviceRequest request = testing::founding_study(testing::founding_start);
  request.goal = AdviceGoal::cost;
  request.cluster.price_per_device_hour.reset();
  ASSERT_EQ(request_faults(request).size(), 1u);
  EXPECT_EQ(request_faults(request)[0].where, "price_per_device_hour");
  request.prices.device_hour = Money{1.8};
  EXPECT_THAT(request_faults(request), IsEmpty());
}

TEST(Advise, AnotherDeviceDoesNotCostWhatTodaysDoes) {
  AdviceRequest request = testing::llama_65b_on_128_a100(testing::founding_start);
  request.prices.device_hour = Money{2};
  request.options = parse_upgrades(R"(
[[option]]
name = "h100"
cluster = "h100-80gb-sxm"
purchase = "1USD"
)",
                                   "mine.toml")
                        ->options;
  const AdviceStep step = advise(request).steps.at(0);
  EXPECT_FALSE(step.payback) << "nobody said what an hour of the new device costs";

  request.goal = AdviceGoal::cost;
  EXPECT_THAT(request_faults(request), IsEmpty());
  const Advice unpriced = advise(request);
  EXPECT_THAT(unpriced.steps, IsEmpty());
  EXPECT_EQ(unpriced.options.at(0).no_change, NoChange::no_price);
  EXPECT_EQ(unpriced.options.at(0).kept_gain, 0);

  request.options[0].hardware.price_per_device_hour = Money{3};
  const double speed = step.before.ranked.prediction.step_s / step.after.ranked.prediction.step_s;
  EXPECT_NEAR(advise(request).steps.at(0).gain, speed * 2 / 3 - 1, 1e-9);
}

TEST(Advise, AmountsInSeveralCurrenciesAreRefused) {
  AdviceRequest request = testing::founding_study(testing::founding_start);
  request.cluster.price_per_device_hour.reset();
  EXPECT_FALSE(currency_of(request));
  request.cluster.price_per_device_hour = Money{1.8, Currency::usd};
  EXPECT_EQ(currency_of(request), Currency::usd);
  request.options[1].purchase = Money{2e6, Currency::jpy};
  const Errors faults = request_faults(request);
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_EQ(faults[0].what, "mix USD (the price of " + request.cluster.name +
                                ") and JPY (purchase of \"" + request.options[1].name + "\")");

  // A price of the user's own stands in for the cluster's.
  request.prices.device_hour = Money{270, Currency::jpy};
  EXPECT_THAT(request_faults(request), IsEmpty());
  EXPECT_EQ(currency_of(request), Currency::jpy);

  // So does an option's for that of the cluster which it brings.
  HardwareChange& hardware = request.options[2].hardware;
  hardware.cluster = request.cluster;
  EXPECT_EQ(request_faults(request).size(), 1u);
  hardware.price_per_device_hour = Money{400, Currency::jpy};
  EXPECT_THAT(request_faults(request), IsEmpty());
}

TEST(Trial, StepsFollowFromTheNoise) {
  EXPECT_EQ(trial_steps(0.02), 32);  // 32 x 0.02^2 / 0.02^2
  EXPECT_EQ(trial_steps(0.04), 10);  // 8, but never fewer than 10
  EXPECT_EQ(trial_steps(0.001), 200);
}

TEST(Trial, SmallerOnesPredictTheGainOfTheWhole) {
  const AdviceRequest request = testing::founding_study(testing::founding_start);
  const Advice advice = advise(request);
  for (const AdviceStep& step : advice.steps) {
    const ConfirmingTrial& trial = step.trial;
    ASSERT_GE(trial.measurements.size(), 2u);
    ASSERT_LE(trial.measurements.size(), 3u);
    EXPECT_EQ(trial.measurements[0].part, TrialPart::before);
    EXPECT_EQ(trial.measurements[1].part, TrialPart::after);
    EXPECT_NEAR(trial.expected_gain, trial.full_gain, 0.25 * trial.full_gain + 1e-12);
    double hours = 0;
    for (const TrialRun& run : trial.measurements) {
      EXPECT_EQ(run.devices, run.layout.devices());
      hours += static_cast<double>(run.devices) * run.step_s * run.steps / 3600;
    }
    EXPECT_NEAR(trial.device_hours, hours, 1e-9 * hours);
  }
}

}  // namespace
}  // namespace kumihimo

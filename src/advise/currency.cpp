#include "advise/currency.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <string>
#include <vector>

#include "base/shown_text.hpp"

namespace kumihimo {
namespace {

struct StatedAmount {
  std::string what;
  Currency currency;
};

std::vector<StatedAmount> stated_amounts(const AdviceRequest& request) {
  std::vector<StatedAmount> amounts;
  const auto add = [&](const std::optional<Money>& money, std::string what) {
    if (money) amounts.push_back({std::move(what), money->currency});
  };
  const Prices& prices = request.prices;
  add(prices.device_hour, "price_per_device_hour");
  if (!prices.device_hour) {
    add(request.cluster.price_per_device_hour, "the price of " + request.cluster.name);
  }
  add(prices.engineer_day, "price_per_engineer_day");
  add(prices.effort_point, "price_per_effort_point");
  for (const UpgradeOption& option : request.options) {
    const HardwareChange& hardware = option.hardware;
    const std::string whose = fmt::format("\"{}\"", shown(option.name));
    add(option.purchase, "purchase of " + whose);
    add(hardware.price_per_device_hour, "price_per_device_hour of " + whose);
    if (hardware.cluster && !hardware.price_per_device_hour) {
      add(hardware.cluster->price_per_device_hour, "the price of " + hardware.cluster->name);
    }
  }
  return amounts;
}

}  // namespace

std::optional<Currency> currency_of(const AdviceRequest& request) {
  const std::vector<StatedAmount> amounts = stated_amounts(request);
  if (amounts.empty()) return std::nullopt;
  return amounts.front().currency;
}

Errors currency_faults(const AdviceRequest& request) {
  const std::vector<StatedAmount> amounts = stated_amounts(request);
  const auto other = std::ranges::find_if(amounts, [&](const StatedAmount& amount) {
    return amount.currency != amounts.front().currency;
  });
  if (other == amounts.end()) return {};
  return {{"prices",
           fmt::format("mix {} ({}) and {} ({})", to_string(amounts.front().currency),
                       amounts.front().what, to_string(other->currency), other->what),
           "give all amounts in one currency"}};
}

}  // namespace kumihimo

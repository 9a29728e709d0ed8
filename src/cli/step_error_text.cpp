#include "cli/step_error_text.hpp"

#include <cmath>
#include <fmt/ranges.h>
#include <optional>
#include <vector>

#include "cost/extrapolation.hpp"
#include "cost/stack_choice.hpp"

namespace kumihimo {
namespace {

/// Less is beyond the range too, but nothing to speak of.
constexpr double worth_naming = 0.14;  // doublings: a tenth more

std::vector<std::string> reasons(const Extrapolation& beyond,
                                 const std::optional<std::string>& elsewhere, Language language) {
  std::vector<std::string> texts;
  const auto name = [&](double doublings, std::string_view above, std::string_view below) {
    if (std::abs(doublings) < worth_naming) return;
    texts.push_back(
        text_of(language, doublings > 0 ? above : below, std::exp2(std::abs(doublings))));
  };
  name(beyond.layer_parameters, "band.larger_model", "band.smaller_model");
  name(beyond.devices, "band.more_devices", "band.fewer_devices");
  name(beyond.seq_length, "band.longer", "band.shorter");
  if (beyond.other_device) texts.push_back(text_of(language, "band.device", *elsewhere));
  return texts;
}

}  // namespace

std::string step_error_text(const PlannedJob& planned, Language language) {
  const StackProfile& profile = planned.profile;
  const double within = 100 * profile.time_residual;
  const Extrapolation beyond = extrapolation(profile, {.job = &planned.job,
                                                       .devices = planned.devices,
                                                       .device_name = planned.cluster.device.name,
                                                       .precision = {}});
  const auto elsewhere = measured_elsewhere(profile, planned.cluster);
  const auto named = reasons(beyond, elsewhere, language);
  if (!named.empty()) {
    return text_of(language, "band.beyond", 100 * step_time_error(profile, beyond), within,
                   fmt::format("{}", fmt::join(named, ", ")));
  }
  return elsewhere ? text_of(language, "band.elsewhere", within, *elsewhere)
                   : text_of(language, "band.within", within);
}

}  // namespace kumihimo

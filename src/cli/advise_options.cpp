#include "cli/advise_options.hpp"

#include <fmt/format.h>

#include "advise/upgrades_file.hpp"
#include "cli/constraint_options.hpp"
#include "cli/stated_layout.hpp"
#include "layout/validate.hpp"

namespace kumihimo {
namespace {

std::optional<Upgrades> read_upgrades_flag(const Flags& flags, Errors& faults) {
  const auto path = flags.text("--options", faults);
  const Expected<Upgrades> upgrades = path ? read_upgrades(*path) : default_upgrades();
  collect(faults, upgrades);
  return upgrades ? std::optional(*upgrades) : std::nullopt;
}

AdviceGoal read_goal(const Flags& flags, Errors& faults) {
  const auto goal = flags.text("--goal", faults);
  if (!goal || *goal == "speed") return AdviceGoal::speed;
  if (*goal == "cost") return AdviceGoal::cost;
  faults.push_back({"--goal", "is \"" + *goal + "\"", "give speed or cost"});
  return AdviceGoal::speed;
}

/// Two prices of today's device-hour are one too many, unless they say the same.
void judge_price(const Flags& flags, const PlannedJob& planned, const Prices& prices,
                 Errors& faults) {
  const std::optional<Money>& given = planned.cluster.price_per_device_hour;
  const std::optional<Money>& stated = prices.device_hour;
  if (!flags.given("--price") || !stated || stated == given) return;
  const auto text = [](const Money& money) {
    return fmt::format("{}{}", money.amount, to_string(money.currency));
  };
  faults.push_back({"--price",
                    fmt::format("is {}, but the file of --options states price_per_device_hour {}",
                                text(*given), text(*stated)),
                    "keep one of the two"});
}

}  // namespace

void add_language_flag(Flags& flags) {
  flags.add_value("--lang", "en|ja", "language of the text (default: en)");
}

Language read_language(const Flags& flags, Errors& faults) {
  const auto text = flags.text("--lang", faults);
  if (!text) return Language::english;
  const Expected<Language> language = parse_language(*text, "--lang");
  collect(faults, language);
  return language ? *language : Language::english;
}

void add_advise_flags(Flags& flags) {
  flags.group("Where you are, and what is open to you");
  flags.add_value("--current", "LAYOUT",
                  "the layout that you run, such as \"tp=8 pp=8 dp=2 recompute=full\"; what it "
                  "leaves open is as the stack does it");
  flags.add_value("--options", "FILE",
                  "prices and further options, in TOML (docs/advise.md; default: the catalog's, "
                  "without prices)");
  flags.add_value("--precision-comparison", "FILE",
                  "what `train --compare-precision bf16,fp8 --json` printed: proves fp8 or not");
  flags.add_value("--goal", "speed|cost", "what shall get better (default: speed)");
  flags.add_value("--tokens", "N", "tokens to train in all, such as 1.4T: shows days and money");
  flags.group("Splits to consider (lists between commas; default: all that make sense)");
  flags.add_value("--tp", "1,2,4", "tensor parallelism");
  flags.add_value("--pp", "1,2,4", "pipeline parallelism");
  flags.add_value("--cp", "1,2", "context parallelism");
  flags.add_value("--dp", "8,16", "data parallelism, on as many devices as now");
  flags.add_value("--micro-batch-size", "1,2", "sequences of a micro-batch");
}

std::optional<AdviseQuestion> read_advise_question(const Flags& flags, Errors& faults) {
  const auto current = flags.required_text(
      "--current", "state the layout that you run, such as \"tp=8 pp=8 dp=2 recompute=full\"",
      faults);
  std::optional<std::int64_t> devices;
  if (current) devices = devices_stated(*current, faults);
  const auto upgrades = read_upgrades_flag(flags, faults);
  const AdviceGoal goal = read_goal(flags, faults);
  std::optional<PrecisionEvidence> fp8;
  if (const auto path = flags.text("--precision-comparison", faults)) {
    const Expected<PrecisionEvidence> evidence = read_precision_evidence(*path);
    collect(faults, evidence);
    if (evidence) fp8 = *evidence;
  }
  const auto degrees = [&](std::string_view flag) {
    return flags.whole_list(flag, 1, max_degree, faults);
  };
  AdviseQuestion question;
  AdviceRequest& request = question.request;
  request.tensor_parallel = degrees("--tp");
  request.pipeline_parallel = degrees("--pp");
  request.context_parallel = degrees("--cp");
  request.data_parallel = degrees("--dp");
  request.micro_batch_size = degrees("--micro-batch-size");
  request.tokens = read_tokens(flags, faults);
  const auto planned = read_job(flags, faults, devices);
  if (planned) judge_tokens(request.tokens, planned->job, faults);
  if (planned && upgrades) judge_price(flags, *planned, upgrades->prices, faults);
  if (!planned || !upgrades || !faults.empty()) return std::nullopt;

  question.planned = *planned;
  question.fp8 = fp8;
  const auto layout = whole_layout("--current", *current, question.planned, faults);
  if (!layout) return std::nullopt;
  request.job = planned->job;
  request.cluster = planned->cluster;
  request.profile = planned->profile;
  request.devices = planned->devices;
  request.current = *layout;
  request.options = upgrades->options;
  request.prices = upgrades->prices;
  request.goal = goal;
  for (std::size_t i = 0; i < request.options.size(); ++i) {
    if (fp8 && !fp8->within_tolerance && opens_fp8(request.options[i])) {
      question.blocked |= OptionSet{1} << i;
    }
  }
  faults = request_faults(request);
  if (!faults.empty()) return std::nullopt;
  return question;
}

}  // namespace kumihimo

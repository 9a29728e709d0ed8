// Accepted lines are written and read back to the same lines.
#include "fuzz.hpp"
#include "store/exchange.hpp"

using namespace kumihimo;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto trials = parse_trial_lines(fuzz::as_text(data, size), "trials.jsonl");
  if (!trials) {
    fuzz::check_refusal(trials);
    return 0;
  }
  std::string written;
  for (const ExchangedTrial& trial : *trials) written += trial_json_line(trial);
  const auto again = parse_trial_lines(written, "again.jsonl");
  KUMIHIMO_CHECK(again.has_value() && again->size() == trials->size());
  std::string rewritten;
  for (const ExchangedTrial& trial : *again) rewritten += trial_json_line(trial);
  KUMIHIMO_CHECK(rewritten == written);
  return 0;
}

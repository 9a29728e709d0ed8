// Every row of an accepted file either can be predicted, and then has a valid model, or says why
// not.
#include "fuzz.hpp"
#include "model/validate_transformer.hpp"
#include "runs/measured_run.hpp"

using namespace kumihimo;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Expected<std::vector<MeasuredRun>> runs = parse_runs(fuzz::as_text(data, size), "runs.csv");
  if (!runs) {
    fuzz::check_refusal(runs);
    return 0;
  }
  for (const MeasuredRun& run : *runs) {
    const MeasuredRun complete = complete_run(run, FrameworkDefaults{});
    if (!complete.usable()) continue;
    KUMIHIMO_CHECK(complete.gpus > 0 && complete.job.seq_length > 0);
    KUMIHIMO_CHECK(validate(complete.job.model, "runs.csv").empty());
  }
  return 0;
}

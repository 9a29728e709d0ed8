#include <fmt/format.h>
#include <string_view>

#include "layout/names.hpp"
#include "runs/measured_run.hpp"

namespace kumihimo {

MeasuredRun complete_run(MeasuredRun run, const FrameworkDefaults& defaults) {
  ParallelLayout& layout = run.layout;
  const auto& stated = run.stated;
  const auto assume = [&run](std::string_view what, auto value) {
    run.assumptions.push_back(fmt::format("{} {}: not stated, so as the stack does", what, value));
  };
  if (!stated.recompute) {
    layout.recompute = defaults.recompute;
    assume("recompute", to_string(defaults.recompute));
  }
  if (!stated.attention) {
    layout.attention = defaults.attention;
    assume("attention_kernel", to_string(defaults.attention));
  }
  if (!stated.norm) {
    layout.norm = defaults.norm;
    assume("norm kernel", to_string(defaults.norm));
  }
  if (!stated.precision) {
    layout.precision = defaults.precision;
    assume("precision", to_string(defaults.precision));
  }
  if (!stated.zero_stage) {
    layout.zero_stage = defaults.zero_stage;
    assume("zero_stage", defaults.zero_stage);
  }
  if (!stated.sequence_parallel) {
    layout.sequence_parallel = defaults.sequence_parallel && layout.tensor_parallel > 1;
    assume("seq_parallel", layout.sequence_parallel ? 1 : 0);
  }
  if (!stated.gradient_dtype) layout.gradient_dtype = defaults.gradient_dtype;
  if (!stated.overlap_data_parallel) layout.overlap_data_parallel = defaults.overlap_data_parallel;
  if (!stated.overlap_tensor_parallel) {
    layout.overlap_tensor_parallel = defaults.overlap_tensor_parallel && layout.tensor_parallel > 1;
  }
  run.job.vocab_multiple = defaults.vocab_multiple;
  return run;
}

}  // namespace kumihimo

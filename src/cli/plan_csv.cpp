#include <fmt/format.h>

#include "base/csv.hpp"
#include "cli/plan_text.hpp"
#include "layout/layout_text.hpp"
#include "layout/names.hpp"

namespace kumihimo {
namespace {

std::string line_of(const RankedLayout& ranked, std::size_t rank) {
  const ParallelLayout& l = ranked.layout;
  const Prediction& p = ranked.prediction;
  return fmt::format(
      "{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}\n", rank,
      l.tensor_parallel, l.pipeline_parallel, l.data_parallel, l.context_parallel,
      l.virtual_stages_per_rank, l.micro_batch_size, to_string(l.schedule), to_string(l.recompute),
      l.sequence_parallel ? "true" : "false", l.zero_stage, to_string(l.precision),
      to_string(l.attention), to_string(l.norm), p.step_s, p.error_band, p.mfu, p.mfu_causal, p.hfu,
      p.tokens_per_s_per_device, p.peak_memory_bytes, p.fits_probability, p.bubble_fraction,
      p.communication_fraction, csv_escape(to_text(l)));
}

}  // namespace

std::string plan_csv(const Plan& plan) {
  std::string text =
      "rank,tp,pp,dp,cp,vpp,micro_batch,schedule,recompute,seq_parallel,zero_stage,precision,"
      "attention_kernel,norm_kernel,predicted_step_time_s,error_band,predicted_mfu,"
      "predicted_mfu_causal,predicted_hfu,predicted_tokens_per_s_per_gpu,predicted_memory_bytes,"
      "fits_probability,bubble_fraction,communication_fraction,layout\n";
  for (std::size_t i = 0; i < plan.result.best.size(); ++i) {
    text += line_of(plan.result.best[i], i + 1);
  }
  return text;
}

}  // namespace kumihimo

#pragma once

#include "advise/option_values.hpp"
#include "advise/upgrades_file.hpp"
#include "cluster/cluster_file.hpp"
#include "cost/stack_profile_file.hpp"
#include "layout/layout_text.hpp"
#include "model/model_catalog.hpp"
#include "search/pipeline_shape.hpp"

namespace kumihimo::testing {

/// LLaMA 65B with 128,000 words on 128 A100, the case of arXiv:2311.05610, in `layout`.
inline AdviceRequest llama_65b_on_128_a100(std::string_view layout) {
  AdviceRequest request;
  request.job.model = *read_model("llama-65b");
  request.job.model.vocab = 128000;
  request.job.seq_length = 2048;
  request.job.global_batch_size = 2048;
  request.cluster = *read_cluster("a100-80gb-sxm");
  request.profile = *read_stack_profile("megatron-2023-a100");
  request.devices = 128;
  request.current = *parse_layout(layout);
  request.current.layer_split =
      layer_split_of_space(request.current, request.job, request.profile.defaults.layer_balance);
  return request;
}

/// What the authors of that study could change, and the splits that they tried. Their norm kernel
/// is that of the FlashAttention 2 package.
inline AdviceRequest founding_study(std::string_view layout) {
  AdviceRequest request = llama_65b_on_128_a100(layout);
  const Expected<Upgrades> upgrades = parse_upgrades(R"(
[[option]]
name = "layout"
opens = ["split=any", "micro-batch=any"]
[[option]]
name = "fused-norm"
opens = ["norm=fused"]
requires = ["flash2"]
[[option]]
name = "flash2"
opens = ["attention=flash2"]
[[option]]
name = "recompute"
opens = ["recompute=any"]
)",
                                                     "study.toml");
  request.options = upgrades->options;
  request.tensor_parallel = {2, 4, 8};
  request.pipeline_parallel = {2, 4, 8};
  request.micro_batch_size = {1, 2, 4};
  return request;
}

inline constexpr std::string_view founding_start =
    "tp=8 pp=8 dp=2 micro-batch=1 recompute=full attention=flash1 norm=unfused zero=1 "
    "gradient-dtype=bf16";

}  // namespace kumihimo::testing

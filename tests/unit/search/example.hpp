#pragma once

#include "cluster/cluster_file.hpp"
#include "model/model_catalog.hpp"
#include "search/search.hpp"

namespace kumihimo::testing {

/// LLaMA 13B at 2,048 tokens on 64 A100, the case of arXiv:2311.05610, over the default space.
inline SearchRequest llama_13b_on_64_a100() {
  SearchRequest request;
  request.job.model = *read_model("llama-13b");
  request.job.seq_length = 2048;
  request.job.global_batch_size = 2048;
  request.cluster = *read_cluster("a100-80gb-sxm");
  request.devices = 64;
  request.space = default_space(request.job, request.cluster, 64, request.profile);
  request.threads = 1;
  return request;
}

}  // namespace kumihimo::testing

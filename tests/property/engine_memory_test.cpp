// The planner's memory against what the trainer allocates: design idea 4, memory is planned.

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <mutex>

#include "cluster/cluster_file.hpp"
#include "cost/peak_memory.hpp"
#include "cost/stack_profile_file.hpp"
#include "layout/layout_text.hpp"
#include "layout/validate.hpp"
#include "support/small_models.hpp"
#include "support/training_runs.hpp"

namespace kumihimo {
namespace {

TransformerShape llama() {
  TransformerShape model;
  model.name = "llama";
  model.layers = 8;
  model.hidden = 64;
  model.heads = 8;
  model.kv_heads = 4;
  model.head_dim = 8;
  model.ffn_hidden = 176;
  model.vocab = 250;
  return model;
}

TransformerShape tied_gpt() {
  TransformerShape model = testing::as_gpt(llama());
  model.name = "tied gpt";
  model.max_positions = 64;
  return model;
}

TrainingOptions options_for(const TransformerShape& model, const ParallelLayout& layout) {
  TrainingOptions options;
  options.job = {.model = model, .seq_length = 64, .global_batch_size = 16};
  options.layout = layout;
  options.backend = Backend::reference;
  return options;
}

std::vector<ParallelLayout> layouts(const TransformerShape& model, const Cluster& cluster) {
  std::vector<ParallelLayout> valid;
  for (const char* axes : {"tp=1 pp=1 dp=1", "tp=2 pp=1 dp=1", "tp=2 pp=2 dp=1", "tp=1 pp=4 dp=1",
                           "tp=1 pp=1 dp=3", "tp=2 pp=2 dp=2", "tp=1 pp=2 dp=4"}) {
    for (const char* schedule :
         {"1f1b", "gpipe", "interleaved vpp=2", "interleaved vpp=2 layers=5/1/1/1", "zb-h1"}) {
      for (const char* rest :
           {"precision=fp32 zero=0", "precision=bf16 zero=1 recompute=full",
            "precision=bf16 zero=2 recompute=selective", "precision=fp32 zero=3 norm=unfused",
            "precision=bf16 zero=1 sp=true", "precision=fp32 zero=0 sp=true recompute=full",
            "precision=bf16 zero=1 micro-batch=2",
            "precision=fp32 zero=0 attention=unfused norm=unfused",
            "precision=bf16 zero=1 attention=fused-softmax recompute=selective",
            "precision=bf16 zero=1 offload=optimizer", "precision=fp32 zero=3 offload=optimizer"}) {
        ParallelLayout layout =
            *parse_layout(fmt::format("{} schedule={} {}", axes, schedule, rest));
        TrainingOptions options = options_for(model, layout);
        if (layout.data_parallel == 3) options.job.global_batch_size = 12;
        if (is_valid(layout, options.job, cluster, layout.devices()) &&
            engine_faults(options).empty()) {
          valid.push_back(layout);
        }
      }
    }
  }
  return valid;
}

class EngineMemory : public ::testing::TestWithParam<TransformerShape> {};

TEST_P(EngineMemory, IsWhatThePlannerSays) {
  Cluster cluster = *read_cluster("cpu");
  cluster.devices_per_node = 16;
  cluster.device.peak_flop_per_s.fill(1e11);
  const StackProfile profile = *read_stack_profile("kumihimo-cpu");
  const std::vector<ParallelLayout> all = layouts(GetParam(), cluster);
  EXPECT_GE(all.size(), 60u);
  for (const ParallelLayout& layout : all) {
    SCOPED_TRACE(to_text(layout));
    TrainingOptions options = options_for(GetParam(), layout);
    if (layout.data_parallel == 3) options.job.global_batch_size = 12;
    const StepCost step = step_cost(piece_costs(options.job, layout, cluster, profile), options.job,
                                    layout, cluster, profile);
    const std::vector<MemoryUse> predicted =
        peak_memory(step, held_bytes(step, layout), layout, profile);

    std::mutex mutex;
    run_threads(static_cast<int>(layout.devices()), [&](World& world) {
      Trainer trainer(
          world, options,
          testing::learnable_tokens(1, options.job.seq_length, options.job.model.vocab));
      const MemoryByCategory& held = trainer.memory().held();
      const MemoryUse& use = predicted[static_cast<std::size_t>(trainer.groups().place.pipeline)];
      const std::lock_guard lock(mutex);
      EXPECT_EQ(held[MemoryCategory::weights], use.weights);
      EXPECT_EQ(held[MemoryCategory::gradients], use.gradients);
      EXPECT_EQ(held[MemoryCategory::optimizer], use.optimizer);
      EXPECT_EQ(trainer.host_memory().held().total(), use.host);
      const double communication = static_cast<double>(held[MemoryCategory::communication]);
      // Whole units of sharded states; the engine holds messages and other buffers beside them.
      if (layout.zero_stage >= 2 && layout.data_parallel > 1) {
        EXPECT_GT(use.communication, 0);
        EXPECT_GE(communication, use.communication);
      }
      const double activations = static_cast<double>(held[MemoryCategory::activations]);
      EXPECT_NEAR(activations, use.activations, 0.03 * use.activations);
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Models, EngineMemory, ::testing::Values(llama(), tied_gpt()),
                         [](const auto& test) {
                           return test.param.tied_embeddings ? "TiedGpt" : "Llama";
                         });

}  // namespace
}  // namespace kumihimo

#include <array>
#include <cmath>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <map>
#include <set>

#include "engine/block_pool.hpp"
#include "engine/layer_activations.hpp"
#include "engine/message_buffers.hpp"
#include "engine/stage_plan.hpp"
#include "model/operations.hpp"
#include "support/small_models.hpp"
#include "support/training_runs.hpp"

namespace kumihimo {
namespace {

using testing::small_gpt;
using testing::small_llama;
using testing::small_options;

TEST(LearningRate, WarmsUpThenFollowsItsShape) {
  LearningRate rate{.shape = LearningRateShape::cosine,
                    .peak = 1,
                    .minimum_share = 0.1,
                    .warmup_steps = 4,
                    .total_steps = 14};
  EXPECT_DOUBLE_EQ(learning_rate_at(rate, 0), 1.0 / 4);
  EXPECT_DOUBLE_EQ(learning_rate_at(rate, 3), 1);
  EXPECT_DOUBLE_EQ(learning_rate_at(rate, 4), 1);
  EXPECT_DOUBLE_EQ(learning_rate_at(rate, 9), 0.1 + 0.9 / 2);  // half way: cos = 0
  EXPECT_DOUBLE_EQ(learning_rate_at(rate, 14), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate_at(rate, 1000), 0.1);
  rate.shape = LearningRateShape::constant;
  EXPECT_DOUBLE_EQ(learning_rate_at(rate, 1000), 1);
  rate = {.shape = LearningRateShape::wsd,
          .peak = 1,
          .minimum_share = 0,
          .total_steps = 10,
          .decay_share = 0.4};
  EXPECT_DOUBLE_EQ(learning_rate_at(rate, 6), 1);
  EXPECT_DOUBLE_EQ(learning_rate_at(rate, 8), 0.5);  // 2 of the last 4 steps left
  EXPECT_DOUBLE_EQ(learning_rate_at(rate, 10), 0);
}

TEST(BlockPool, HandsOutDistinctBlocksOfOneAllocation) {
  DeviceMemory memory(make_host_memory());
  BlockPool pool(memory, MemoryCategory::activations, 128, 3);
  EXPECT_EQ(memory.held()[MemoryCategory::activations], 3 * 128);
  std::array<void*, 3> blocks{pool.acquire(), pool.acquire(), pool.acquire()};
  EXPECT_EQ(std::set<void*>(blocks.begin(), blocks.end()).size(), 3u);
  pool.release(blocks[1]);
  EXPECT_EQ(pool.acquire(), blocks[1]);
  EXPECT_EQ(memory.allocations(), 1);
}

/// Two buffers, five messages: a buffer is written again only when its message has arrived.
TEST(MessageBuffers, AreUsedInTurn) {
  run_threads(2, [](World& world) {
    DeviceMemory memory(make_host_memory());
    const std::array<int, 2> both{0, 1};
    const std::unique_ptr<ProcessGroup> group = world.make_group(both);
    MessageBuffers buffers(memory, 1, 4, DType::fp32, 2, *group);
    if (world.rank() == 0) {
      for (int i = 0; i < 5; ++i) {
        const Matrix& buffer = buffers.acquire();
        std::fill_n(static_cast<float*>(buffer.data), 4, static_cast<float>(i));
        buffers.send(1);
      }
      buffers.finish_all();
      return;
    }
    std::array<float, 4> received{};
    for (int i = 0; i < 5; ++i) {
      buffers.receive(matrix_at(received.data(), 1, 4, DType::fp32), 0);
      EXPECT_EQ(received, (std::array<float, 4>{static_cast<float>(i), static_cast<float>(i),
                                                static_cast<float>(i), static_cast<float>(i)}));
    }
  });
}

// --- Stage plans

StagePlan plan_of(const TrainingOptions& options, int pipeline_rank) {
  const ParallelLayout& layout = options.layout;
  const Schedule schedule =
      *make_schedule(layout.schedule, layout.pipeline_parallel, layout.virtual_stages_per_rank,
                     static_cast<int>(micro_batches_per_step(options)));
  RankCoordinates place;
  place.pipeline = pipeline_rank;
  return plan_stages(schedule, pipeline_rank, parameter_units(options, place));
}

/// 8 micro-batches of 2 layers on each of 2 ranks: GPipe holds all, 1F1B as many as there are
/// stages from here to the end.
TEST(StagePlan, SchedulesHoldWhatTheirPapersSay) {
  const TrainingOptions gpipe = small_options(small_llama(), "pp=2 schedule=gpipe");
  EXPECT_EQ(plan_of(gpipe, 0).layers_in_flight, 8 * 2);
  EXPECT_EQ(plan_of(gpipe, 1).layers_in_flight, 8 * 2);
  const TrainingOptions one_f_one_b = small_options(small_llama(), "pp=2 schedule=1f1b");
  EXPECT_EQ(plan_of(one_f_one_b, 0).layers_in_flight, 2 * 2);
  EXPECT_EQ(plan_of(one_f_one_b, 1).layers_in_flight, 1 * 2);
  EXPECT_EQ(plan_of(one_f_one_b, 1).losses_in_flight, 1);
  EXPECT_FALSE(plan_of(one_f_one_b, 0).split_backward);
  EXPECT_TRUE(plan_of(small_options(small_llama(), "pp=2 schedule=zb-h1"), 0).split_backward);
}

TEST(StagePlan, EndsOfTheModelAreOnItsFirstAndLastVirtualStage) {
  const TrainingOptions options = small_options(small_gpt(), "pp=2 schedule=interleaved vpp=2");
  const StagePlan first = plan_of(options, 0), last = plan_of(options, 1);
  ASSERT_EQ(first.chunks.size(), 2u);
  EXPECT_TRUE(first.chunks[0].first);
  EXPECT_GE(first.chunks[0].table, 0);
  EXPECT_GE(first.chunks[0].positions, 0);
  EXPECT_EQ(first.chunks[1].table, -1);
  EXPECT_TRUE(last.chunks[1].last);
  EXPECT_GE(last.chunks[1].head, 0) << "the tied copy";
  EXPECT_GE(last.chunks[1].final_norm, 0);
  for (const StagePlan* plan : {&first, &last}) {
    for (const Chunk& chunk : plan->chunks) EXPECT_EQ(chunk.layers.size(), 1u);
  }
}

// --- Parameters

std::vector<RankCoordinates> places(const ParallelLayout& layout) {
  std::vector<RankCoordinates> result;
  for (int pipeline = 0; pipeline < layout.pipeline_parallel; ++pipeline) {
    for (int tensor = 0; tensor < layout.tensor_parallel; ++tensor) {
      RankCoordinates place;
      place.pipeline = pipeline;
      place.tensor = tensor;
      result.push_back(place);
    }
  }
  return result;
}

using Elements = std::map<std::pair<std::string, std::int64_t>, int>;

/// How often ranks count each element of the whole model, without what pads the vocabulary.
Elements counted_elements(const TrainingOptions& options) {
  Elements elements;
  for (const RankCoordinates& place : places(options.layout)) {
    for (const ParameterUnit& unit : parameter_units(options, place)) {
      std::int64_t end = 0;
      for (const Parameter& p : unit.parameters) {
        EXPECT_GE(p.offset, end) << p.name << " overlaps what is before it";
        end = p.offset + p.elements();
        if (!p.counted) continue;
        for (std::int64_t i = 0; i < p.valid_rows * p.cols; ++i) {
          const std::int64_t row = p.first_row + i / p.cols, col = p.first_col + i % p.cols;
          ++elements[{p.name, row * p.whole_cols + col}];
        }
      }
      EXPECT_LE(end, unit.elements);
    }
  }
  return elements;
}

TEST(ParameterUnits, AllRanksTogetherCountEveryElementOnce) {
  for (const TransformerShape& model : {small_llama(), small_gpt()}) {
    const Elements whole = counted_elements(small_options(model, ""));
    std::set<std::string> names;
    for (const auto& [element, count] : whole) names.insert(element.first);
    EXPECT_EQ(names.count("model.layers.3.self_attn.k_proj.weight"), 1u);
    for (const char* layout : {"tp=2", "tp=4 sp=true", "pp=2", "pp=4",
                               "tp=4 pp=2 schedule=interleaved vpp=2", "tp=2 pp=4"}) {
      const Elements split = counted_elements(small_options(model, layout));
      EXPECT_EQ(split, whole) << model.name << " " << layout;
    }
    for (const auto& [element, count] : whole) ASSERT_EQ(count, 1) << element.first;
  }
}

TEST(InitialValues, DependOnTheElementNotTheLayout) {
  std::map<std::pair<std::string, std::int64_t>, float> whole;
  for (const char* layout : {"", "tp=4", "tp=2 pp=2"}) {
    const TrainingOptions options = small_options(small_gpt(), layout);
    for (const RankCoordinates& place : places(options.layout)) {
      for (const ParameterUnit& unit : parameter_units(options, place)) {
        for (const Parameter& p : unit.parameters) {
          std::vector<float> values(static_cast<std::size_t>(p.elements()));
          initial_values(p, 7, values.data());
          for (std::int64_t i = 0; i < p.valid_rows * p.cols; ++i) {
            const std::int64_t row = p.first_row + i / p.cols, col = p.first_col + i % p.cols;
            const float value = values[static_cast<std::size_t>(i)];
            const auto [at, added] = whole.try_emplace({p.name, row * p.whole_cols + col}, value);
            ASSERT_EQ(at->second, value) << p.name << " " << layout;
            ASSERT_TRUE(!added || *layout == 0) << p.name << " " << layout;
          }
        }
      }
    }
  }
}

TEST(InitialValues, HaveTheirDeviationAndDependOnTheSeed) {
  Parameter p{.name = "w", .rows = 100, .cols = 100, .whole_cols = 100, .valid_rows = 100};
  std::vector<float> one(10000), two(10000);
  initial_values(p, 1, one.data());
  initial_values(p, 2, two.data());
  EXPECT_NE(one, two);
  double squares = 0;
  for (const float value : one) squares += static_cast<double>(value) * value;
  EXPECT_NEAR(std::sqrt(squares / 10000), 0.02, 0.02 * 0.02);  // 2 %: 4 sigma of 10,000 numbers
  p.is_norm_weight = true;
  initial_values(p, 1, one.data());
  EXPECT_EQ(one, std::vector<float>(10000, 1.0f));
}

/// What the workspace has held once, it keeps for the rest of the run.
TEST(InitialValues, PassThroughTheWorkspaceInSmallPieces) {
  TransformerShape model = small_llama();
  model.vocab = 100'000;  // a table of 12.2 MiB in fp32
  for (const char* precision : {"fp32", "bf16"}) {
    const TrainingOptions options = small_options(model, "dp=1", precision);
    run_threads(1, [&](World& world) {
      Trainer trainer(world, options, testing::learnable_tokens(1, 16, 50));
      const MemoryCategory workspace = MemoryCategory::workspace;
      EXPECT_LE(trainer.memory().peak()[workspace] - trainer.memory().held()[workspace],
                Bytes{4} << 20);
    });
  }
}

// --- What is kept for the backward pass

double counted_bytes(const TrainingOptions& options) {
  const ParallelLayout& layout = options.layout;
  LayerShard shard;
  shard.micro_batch_size = layout.micro_batch_size;
  shard.seq_length = options.job.seq_length;
  shard.vocab = options.job.model.vocab;
  shard.tensor_parallel = layout.tensor_parallel;
  shard.sequence_parallel = layout.sequence_parallel;
  shard.attention = layout.attention;
  shard.norm = layout.norm;
  shard.precision = layout.precision;
  shard.attention_dropout_buffers = false;
  double bytes = 0;
  for (const Operation& operation : layer_operations(options.job.model, shard)) {
    bytes += operation.saved_bytes;
  }
  return bytes;
}

double declared_bytes(const TrainingOptions& options) {
  const ShardShape shape = shard_shape(options, 0);
  double bytes = 0;
  for (int i = 0; i < saved_count; ++i) {
    const auto tensor = static_cast<Saved>(i);
    if (lifetime_of(shape, tensor, false) == Lifetime::kept) {
      bytes += static_cast<double>(size_of(shape, tensor).bytes());
    }
  }
  return bytes;
}

TEST(LayerActivations, TheDeclaredListIsWhatThePlannerCounts) {
  for (const TransformerShape& model : {small_llama(), small_gpt()}) {
    for (const char* layout : {"", "tp=2", "tp=2 sp=true", "micro-batch=4", "tp=4 sp=true"}) {
      if (model.kv_heads < 4 && std::string(layout).starts_with("tp=4")) continue;
      for (const char* precision : {"fp32", "bf16", "fp8"}) {
        for (const char* kernels :
             {"attention=flash2 norm=fused", "attention=unfused norm=fused",
              "attention=fused-softmax norm=unfused", "attention=flash2 norm=unfused"}) {
          const TrainingOptions options =
              small_options(model, fmt::format("{} {}", kernels, layout), precision);
          EXPECT_DOUBLE_EQ(declared_bytes(options), counted_bytes(options))
              << model.name << " " << layout << " " << precision << " " << kernels;
        }
      }
    }
  }
}

}  // namespace
}  // namespace kumihimo

#include <cmath>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <set>

#include "support/small_models.hpp"
#include "support/training_runs.hpp"

namespace kumihimo {
namespace {

using testing::small_gpt;
using testing::small_llama;
using testing::small_options;
using testing::train;

/// What a rank holds of some parameters at the end of a run.
struct Copy {
  int rank = 0;
  std::string parameter;
  std::int64_t first_row = 0;
  std::vector<float> weights;
  bool counted = false;
};

/// Copies of the parameters that `wanted` names, on every rank that holds them, after three steps
/// without ZeRO: each rank owns all that it holds.
std::vector<Copy> copies_after_training(const TrainingOptions& options,
                                        const std::function<bool(const Parameter&)>& wanted) {
  std::vector<Copy> copies;
  std::mutex mutex;
  run_threads(static_cast<int>(options.layout.devices()), [&](World& world) {
    Trainer trainer(
        world, options,
        testing::learnable_tokens(options.seed, options.job.seq_length, options.job.model.vocab));
    for (int step = 0; step < 3; ++step) trainer.run_step();
    ModelStates& states = trainer.states();
    for (int unit = 0; unit < std::ssize(states.units()); ++unit) {
      for (const OwnedPiece& piece : states.owned_pieces(unit)) {
        const Parameter& p = *piece.parameter;
        if (!wanted(p)) continue;
        std::vector<float> values(static_cast<std::size_t>(piece.count));
        states.read_state(unit, piece, StateKind::weight, values.data());
        const std::lock_guard lock(mutex);
        copies.push_back({world.rank(), p.name, p.first_row, std::move(values), p.counted});
      }
    }
  });
  return copies;
}

/// All copies that begin at one row of one parameter hold the same bits, and one of them counts.
void expect_equal_copies(const std::vector<Copy>& copies, std::size_t copies_of_each) {
  std::map<std::pair<std::string, std::int64_t>, std::vector<const Copy*>> by_place;
  for (const Copy& copy : copies) by_place[{copy.parameter, copy.first_row}].push_back(&copy);
  ASSERT_FALSE(by_place.empty());
  for (const auto& [place, same] : by_place) {
    EXPECT_EQ(same.size(), copies_of_each) << place.first;
    int counted = 0;
    for (const Copy* copy : same) {
      EXPECT_EQ(copy->weights, same.front()->weights) << place.first << " on rank " << copy->rank;
      counted += copy->counted ? 1 : 0;
    }
    EXPECT_EQ(counted, 1) << place.first;
  }
}

/// Each rank sees the tokens of its own share of the sequence only.
TEST(KnownFaults, NormWeightGradientsAreEqualOnAllTensorRanksUnderSequenceParallelism) {
  for (const TransformerShape& model : {small_llama(), small_gpt()}) {
    const TrainingOptions options = small_options(model, "tp=2 sp=true");
    expect_equal_copies(
        copies_after_training(options, [](const Parameter& p) { return p.is_norm_weight; }), 2);
    const testing::RunResult one = train(small_options(model, ""), 1);
    const testing::RunResult split = train(options, 1);
    for (const auto& [name, squares] : one.squared_first_gradients) {
      EXPECT_NEAR(split.squared_first_gradients.at(name), squares, 1e-4 * squares + 1e-12) << name;
    }
  }
}

/// 50 words over four ranks: rows of 13, the last two of which are nobody's.
TEST(KnownFaults, VocabularyNotDivisibleByTensorParallel) {
  const testing::RunResult one = train(small_options(small_llama(), ""), 2, true);
  const testing::RunResult four = train(small_options(small_llama(), "tp=4"), 2, true);
  for (std::size_t step = 0; step < 2; ++step) {
    EXPECT_NEAR(four.losses[step], one.losses[step], 1e-5 * one.losses[step]);
  }
  for (const char* name : {"model.embed_tokens.weight", "lm_head.weight"}) {
    const std::vector<float>& padded = four.weights.at(name);
    ASSERT_EQ(one.weights.at(name).size(), 50u * 32u);
    ASSERT_EQ(padded.size(), 52u * 32u);
    for (std::size_t i = 50 * 32; i < padded.size(); ++i) EXPECT_EQ(padded[i], 0) << name;
  }
}

/// Norms are on both ranks, and, with tp 4, keys and values on two: each enters the norm once.
TEST(KnownFaults, ClipNormCountsSharedParametersOnceUnderTensorParallelism) {
  for (const TransformerShape& model : {small_llama(), small_gpt()}) {
    const double one = train(small_options(model, ""), 1).gradient_norms[0];
    for (const char* layout : {"tp=2", "tp=4", "tp=2 sp=true", "pp=2", "tp=2 pp=2 dp=2 zero=3"}) {
      const testing::RunResult run = train(small_options(model, layout), 1);
      EXPECT_NEAR(run.gradient_norms[0], one, 1e-4 * one) << layout;
      double squares = 0;
      for (const auto& [name, sum] : run.squared_first_gradients) squares += sum;
      EXPECT_NEAR(std::sqrt(squares), run.gradient_norms[0], 1e-5 * one) << layout;
    }
  }
}

/// Samples that the engine asks for in a step, by the first rank of each tensor group that reads.
std::multiset<std::int64_t> samples_read(const std::string& layout, std::int64_t from_step) {
  const TrainingOptions options = small_options(small_llama(), layout);
  std::multiset<std::int64_t> samples;
  std::mutex mutex;
  run_threads(static_cast<int>(options.layout.devices()), [&](World& world) {
    const auto tokens =
        testing::learnable_tokens(options.seed, options.job.seq_length, options.job.model.vocab);
    Trainer trainer(world, options,
                    [&](std::int64_t first_sample, std::span<std::int32_t> inputs,
                        std::span<std::int32_t> targets) {
                      tokens(first_sample, inputs, targets);
                      const std::lock_guard lock(mutex);
                      for (std::int64_t s = 0; s < options.layout.micro_batch_size; ++s) {
                        samples.insert(first_sample + s);
                      }
                    });
    trainer.resume_at(from_step, from_step * options.job.global_batch_size);
    trainer.run_step();
  });
  return samples;
}

/// A step consumes the samples that follow the last step's, however many ranks share them.
TEST(KnownFaults, LoaderPositionAfterAChangeOfDataParallel) {
  for (const std::int64_t step : {0, 3}) {
    std::multiset<std::int64_t> expected;
    for (std::int64_t sample = 8 * step; sample < 8 * (step + 1); ++sample) {
      expected.insert(sample);
    }
    for (const char* layout :
         {"dp=1", "dp=2", "dp=4", "dp=2 micro-batch=2", "dp=4 micro-batch=2 zero=2"}) {
      EXPECT_EQ(samples_read(layout, step), expected) << layout;
    }
  }
}

/// The first stage embeds with it, the last one computes logits with its copy.
TEST(KnownFaults, TiedEmbeddingCopiesStayEqual) {
  for (const char* layout :
       {"pp=2", "pp=4 schedule=zb-h1", "tp=2 pp=2 schedule=interleaved vpp=2"}) {
    SCOPED_TRACE(layout);
    expect_equal_copies(copies_after_training(small_options(small_gpt(), layout),
                                              [](const Parameter& p) {
                                                return p.name.find("embed_tokens") !=
                                                           std::string::npos ||
                                                       p.name.find("wte") != std::string::npos;
                                              }),
                        2);
  }
}

/// Two key/value heads on four ranks: neighbours hold the same head.
TEST(KnownFaults, KeyValueHeadsSharedByTensorRanksStayEqual) {
  for (const char* layout : {"tp=4", "tp=4 sp=true schedule=zb-h1 pp=2"}) {
    SCOPED_TRACE(layout);
    expect_equal_copies(copies_after_training(small_options(small_llama(), layout),
                                              [](const Parameter& p) {
                                                return p.name.find("k_proj") != std::string::npos ||
                                                       p.name.find("v_proj") != std::string::npos;
                                              }),
                        2);
  }
}

}  // namespace
}  // namespace kumihimo

#include <cmath>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "layout/layout_text.hpp"
#include "layout/validate.hpp"
#include "support/small_models.hpp"
#include "support/training_runs.hpp"

namespace kumihimo {
namespace {

constexpr std::int64_t steps = 2;

using testing::small_gpt;
using testing::small_llama;

TrainingOptions options_for(const TransformerShape& model, const ParallelLayout& layout) {
  TrainingOptions options;
  options.job = {.model = model, .seq_length = 16, .global_batch_size = 8};
  options.layout = layout;
  options.learning_rate = {.shape = LearningRateShape::constant, .peak = 1e-2};
  options.backend = Backend::reference;
  return options;
}

/// A machine that trains every precision.
Cluster machine() {
  Cluster cluster;
  cluster.device.peak_flop_per_s.fill(1);
  cluster.devices_per_node = 64;
  cluster.nodes = 1;
  return cluster;
}

ParallelLayout layout_of(const std::string& text) {
  return *parse_layout("precision=fp32 attention=flash2 " + text);
}

bool is_valid_layout(const TrainingOptions& options) {
  return is_valid(options.layout, options.job, machine(), options.layout.devices()) &&
         engine_faults(options).empty();
}

/// All axes, schedules, ZeRO stages, recompute and sequence parallelism on up to 16 ranks.
std::vector<ParallelLayout> all_layouts(const TransformerShape& model) {
  std::vector<ParallelLayout> layouts;
  for (const int tp : {1, 2, 4}) {
    for (const int pp : {1, 2, 4}) {
      for (const int dp : {1, 2, 4}) {
        if (tp * pp * dp > 16) continue;
        for (const char* schedule : {"gpipe", "1f1b", "interleaved vpp=2", "zb-h1"}) {
          for (const int zero : {0, 1, 2, 3}) {
            for (const bool sp : {false, true}) {
              for (const char* recompute : {"none", "full"}) {
                const std::string text =
                    fmt::format("tp={} pp={} dp={} schedule={} zero={} sp={} recompute={}", tp, pp,
                                dp, schedule, zero, sp, recompute);
                const ParallelLayout layout = layout_of(text);
                if (is_valid_layout(options_for(model, layout))) layouts.push_back(layout);
              }
            }
          }
        }
      }
    }
  }
  return layouts;
}

void expect_equal(const testing::RunResult& run, const testing::RunResult& expected,
                  double tolerance, const ParallelLayout& layout) {
  SCOPED_TRACE(to_text(layout));
  ASSERT_EQ(run.losses.size(), expected.losses.size());
  for (std::size_t i = 0; i < run.losses.size(); ++i) {
    EXPECT_NEAR(run.losses[i], expected.losses[i], tolerance * expected.losses[i]);
    EXPECT_NEAR(run.gradient_norms[i], expected.gradient_norms[i],
                10 * tolerance * expected.gradient_norms[i]);
  }
}

class LayoutEquality : public ::testing::TestWithParam<TransformerShape> {};

/// Every fifth of all valid layouts.
TEST_P(LayoutEquality, EveryLayoutGivesTheLossesOfOneRank) {
  const TransformerShape model = GetParam();
  const testing::RunResult one = testing::train(options_for(model, layout_of("")), steps);
  const std::vector<ParallelLayout> layouts = all_layouts(model);
  int tried = 0;
  for (std::size_t i = 0; i < layouts.size(); i += 5, ++tried) {
    expect_equal(testing::train(options_for(model, layouts[i]), steps), one, 1e-5, layouts[i]);
    if (::testing::Test::HasFailure()) break;
  }
  std::cout << tried << " of " << layouts.size() << " layouts, loss " << one.losses[0] << " then "
            << one.losses.back() << "\n";
  RecordProperty("layouts", tried);
}

INSTANTIATE_TEST_SUITE_P(Models, LayoutEquality, ::testing::Values(small_llama(), small_gpt()),
                         [](const auto& test) {
                           return test.param.positions == Positions::rotary ? "Llama" : "Gpt";
                         });

}  // namespace
}  // namespace kumihimo

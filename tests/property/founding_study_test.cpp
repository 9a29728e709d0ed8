// advise against the measurements of the founding study (arXiv:2311.05610): LLaMA 65B on 128 A100,
// from FlashAttention 1 with every layer recomputed.

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <gtest/gtest.h>
#include <map>

#include "../unit/advise/example.hpp"
#include "advise/advice.hpp"
#include "runs/measured_run.hpp"

namespace kumihimo {
namespace {

/// The study's rows of that model, by kernels and recompute: the best MFU of all splits.
class MeasuredStudy {
 public:
  MeasuredStudy() {
    const char* named = std::getenv("KUMIHIMO_RUNS");
    const std::filesystem::path folder =
        named != nullptr ? named
                         : std::filesystem::path(KUMIHIMO_SOURCE_DIR) / ".." / "shared" / "data";
    file_ = folder / "alephalpha_layout_sweep_a100.csv";
    if (!std::filesystem::exists(file_)) return;
    const auto runs = read_runs(file_);
    if (!runs) return;
    for (const MeasuredRun& run : *runs) {
      if (run.gpus == 128 && run.status == RunStatus::ok && run.mfu) runs_.push_back(run);
    }
  }

  const std::filesystem::path& file() const { return file_; }
  bool available() const { return !runs_.empty(); }

  double best(AttentionKernel attention, Recompute recompute, NormKernel norm) const {
    double best = 0;
    for (const MeasuredRun& run : runs_) {
      const ParallelLayout& layout = run.layout;
      if (layout.attention == attention && layout.recompute == recompute && layout.norm == norm) {
        best = std::max(best, *run.mfu);
      }
    }
    return best;
  }

  double at(const ParallelLayout& wanted) const {
    for (const MeasuredRun& run : runs_) {
      const ParallelLayout& layout = run.layout;
      if (layout.tensor_parallel == wanted.tensor_parallel &&
          layout.pipeline_parallel == wanted.pipeline_parallel &&
          layout.micro_batch_size == wanted.micro_batch_size &&
          layout.recompute == wanted.recompute && layout.attention == wanted.attention &&
          layout.norm == wanted.norm) {
        return *run.mfu;
      }
    }
    return 0;
  }

 private:
  std::filesystem::path file_;
  std::vector<MeasuredRun> runs_;
};

std::vector<std::string> order_of(const Advice& advice, const AdviceRequest& request) {
  std::vector<std::string> names;
  for (const AdviceStep& step : advice.steps) {
    for (const std::size_t option : step.options) names.push_back(request.options[option].name);
  }
  return names;
}

#define REQUIRE_STUDY(study) \
  if (!study.available())    \
  GTEST_SKIP() << study.file() << " is not there; name its folder in KUMIHIMO_RUNS"

constexpr auto flash1 = AttentionKernel::flash1, flash2 = AttentionKernel::flash2;
constexpr auto full = Recompute::full, none = Recompute::none;
constexpr auto plain = NormKernel::unfused, fused = NormKernel::fused;

TEST(FoundingStudy, OrderIsThatOfTheMeasurements) {
  const MeasuredStudy study;
  REQUIRE_STUDY(study);
  const AdviceRequest request = testing::founding_study(testing::founding_start);
  // Greedy over what was measured: each set of options at its best split. The norm kernel was
  // measured with FlashAttention 2 and without recomputation only, so it comes last there.
  const double start = study.at(request.current);
  const double layout = study.best(flash1, full, plain);
  const double layout_none = study.best(flash1, none, plain);
  const double layout_flash2 = study.best(flash2, full, plain);
  const double both = study.best(flash2, none, plain);
  const double all = study.best(flash2, none, fused);
  ASSERT_GT(start, 0);
  ParallelLayout kept = request.current;
  kept.recompute = none;
  const double kept_none = study.at(kept);
  kept = request.current;
  kept.attention = flash2;
  const double kept_flash2 = study.at(kept);
  ASSERT_GT(layout, std::max(kept_none, kept_flash2));  // a new split gains most
  ASSERT_GT(layout_none, layout_flash2);                // then recomputation
  ASSERT_GT(both, layout_none);
  ASSERT_GT(all, both);
  const std::vector<std::string> order = order_of(advise(request), request);
  ASSERT_EQ(order.size(), 4u);
  EXPECT_EQ(order[0], "layout");
  EXPECT_EQ(order[1], "recompute");
  // The study's norm kernel came with FlashAttention 2: both are one step, in the file's order.
  EXPECT_EQ(order[2] + " " + order[3], "fused-norm flash2");
}

TEST(FoundingStudy, TotalGainIsWithinThreePointsOfTheMeasuredOne) {
  const MeasuredStudy study;
  REQUIRE_STUDY(study);
  const double best = study.best(flash2, none, fused);
  // From the layout of the README, and from the best one with these kernels.
  for (const std::string_view start :
       {testing::founding_start,
        std::string_view("tp=2 pp=4 dp=16 micro-batch=2 recompute=full attention=flash1 "
                         "norm=unfused zero=1 gradient-dtype=bf16")}) {
    const AdviceRequest request = testing::founding_study(start);
    const Advice advice = advise(request);
    ASSERT_FALSE(advice.steps.empty());
    const double measured = best - study.at(request.current);
    const double predicted =
        advice.steps.back().after.ranked.prediction.mfu - advice.start.ranked.prediction.mfu;
    EXPECT_NEAR(100 * predicted, 100 * measured, 3.0) << start;
  }
}

}  // namespace
}  // namespace kumihimo

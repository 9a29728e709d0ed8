#include "calibrate/memory_spread.hpp"

#include <cmath>
#include <gtest/gtest.h>
#include <random>

namespace kumihimo {
namespace {

constexpr double device_gib = 80;

/// Runs that need what is predicted, give or take a normal error of a known spread.
struct Runs {
  std::vector<PredictableRun> runs;
  std::vector<RunPrediction> predictions;
  std::mt19937 random{11};

  MeasuredRun& add(double predicted_gib, RunStatus status) {
    PredictableRun run;
    run.run.status = status;
    run.cluster.device.memory = static_cast<Bytes>(device_gib * GiB);
    runs.push_back(run);
    predictions.push_back(
        {.status = PredictedStatus::ok, .step_s = 1, .memory_gib = predicted_gib});
    return runs.back().run;
  }
  void add_many(int count, double spread, bool measured) {
    std::normal_distribution<double> error(0, spread);
    std::uniform_real_distribution<double> share(0.5, 1.3);
    for (int i = 0; i < count; ++i) {
      const double predicted = share(random) * device_gib;
      const double needed = predicted * std::exp(error(random));
      if (needed > device_gib) {
        add(predicted, RunStatus::out_of_memory);
      } else {
        MeasuredRun& run = add(predicted, RunStatus::ok);
        if (measured) run.memory_gb = needed;
      }
    }
  }
  std::optional<double> spread() const { return memory_spread(runs, predictions); }
};

TEST(MemorySpread, IsThatOfMeasuredMemory) {
  for (const double spread : {0.02, 0.08, 0.2}) {
    Runs runs;
    runs.add_many(400, spread, true);
    EXPECT_NEAR(*runs.spread() / spread, 1, 0.15) << spread;
  }
}

TEST(MemorySpread, FollowsFromOutcomesAlone) {
  for (const double spread : {0.03, 0.1, 0.2}) {
    Runs runs;
    runs.add_many(2000, spread, false);
    EXPECT_NEAR(*runs.spread() / spread, 1, 0.3) << spread;
  }
}

TEST(MemorySpread, ARunThatFailedForAnotherReasonDoesNotWidenIt) {
  Runs runs;
  runs.add_many(400, 0.03, false);
  const double before = *runs.spread();
  runs.add(20, RunStatus::out_of_memory);  // a quarter of the device's memory
  EXPECT_NEAR(*runs.spread() / before, 1, 0.1);
}

TEST(MemorySpread, RunsThatFittedSayNothing) {
  Runs runs;
  EXPECT_FALSE(runs.spread());
  runs.add(40, RunStatus::ok);
  runs.add(70, RunStatus::ok);
  EXPECT_FALSE(runs.spread());
  runs.predictions.back() = {};  // took part in the fit
  runs.add(100, RunStatus::out_of_memory);
  EXPECT_TRUE(runs.spread());
}

TEST(MemorySpread, FewRunsLeaveItNearTheUsualOne) {
  Runs runs;
  runs.add(100, RunStatus::out_of_memory);
  runs.add(50, RunStatus::ok);
  EXPECT_GT(*runs.spread(), 0.02);
  EXPECT_LT(*runs.spread(), 0.1);
}

}  // namespace
}  // namespace kumihimo

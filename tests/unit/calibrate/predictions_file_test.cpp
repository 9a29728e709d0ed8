#include "calibrate/predictions_file.hpp"

#include <filesystem>
#include <gtest/gtest.h>

#include "base/files.hpp"
#include "made_up_runs.hpp"

namespace kumihimo {
namespace {

JudgedRuns three_runs() {
  JudgedRuns runs;
  runs.ran("a, first", 10, 1.0 / 3)
      .ran_out_of_memory("b", 2.5, PredictedStatus::out_of_memory)
      .without_prediction("c", PredictedStatus::infeasible, "tp 3, heads 40");
  return runs;
}

TEST(PredictionsFile, one_line_for_each_run_in_their_order) {
  const JudgedRuns runs = three_runs();
  EXPECT_EQ(predictions_csv(runs.runs, runs.predictions),
            "table_or_row_id,predicted_status,predicted_step_time_s,predicted_memory_gb,"
            "predicted_mfu,reason\n"
            "\"a, first\",ok,0.3333333333333333,40.000,0.50000,\n"
            "b,oom,2.5,40.000,0.50000,\n"
            "c,infeasible,,,,\"tp 3, heads 40\"\n");
}

TEST(PredictionsFile, is_written_or_refused_with_its_path) {
  const JudgedRuns runs = three_runs();
  const auto folder = std::filesystem::temp_directory_path() / "kumihimo_predictions_test";
  std::filesystem::create_directories(folder);
  const auto path = folder / "out.csv";
  ASSERT_TRUE(write_predictions(path, runs.runs, runs.predictions).has_value());
  EXPECT_EQ(*read_file(path, 1 << 20), predictions_csv(runs.runs, runs.predictions));
  const auto refused = write_predictions(folder / "absent" / "x", runs.runs, runs.predictions);
  std::filesystem::remove_all(folder);
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.errors().front().where.find("absent"), std::string::npos);
}

}  // namespace
}  // namespace kumihimo

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <gtest/gtest.h>
#include <vector>

#include "runs/measured_run.hpp"

namespace kumihimo {
namespace {

std::filesystem::path runs_folder() {
  if (const char* named = std::getenv("KUMIHIMO_RUNS")) return named;
  return std::filesystem::path(KUMIHIMO_SOURCE_DIR) / ".." / "shared" / "data";
}

// Published rows are mostly usable; those that are not say why. A parser that lost a column or a
// spelling would skip whole files.
TEST(PublishedRuns, EveryFileIsReadAndMostRowsAreUsable) {
  const std::filesystem::path folder = runs_folder();
  std::vector<std::filesystem::path> files;
  if (std::filesystem::is_directory(folder))
    for (const auto& entry : std::filesystem::directory_iterator(folder))
      if (entry.path().extension() == ".csv") files.push_back(entry.path());
  if (files.empty())
    GTEST_SKIP() << "no published runs in " << folder << "; name their folder in KUMIHIMO_RUNS";
  std::sort(files.begin(), files.end());

  std::size_t rows = 0;
  std::size_t usable = 0;
  for (const auto& file : files) {
    const auto runs = read_runs(file);
    ASSERT_TRUE(runs) << to_string(runs.errors());
    EXPECT_FALSE(runs->empty()) << file;
    rows += runs->size();
    const auto usable_here =
        std::count_if(runs->begin(), runs->end(), [](const auto& run) { return run.usable(); });
    EXPECT_GT(usable_here, 0) << file;
    usable += static_cast<std::size_t>(usable_here);
    for (const MeasuredRun& run : *runs) {
      if (!run.usable()) continue;
      EXPECT_EQ(run.layout.devices(), run.gpus) << run.id;
      EXPECT_TRUE(run.status != RunStatus::ok || run.step_time_s || run.memory_gb) << run.id;
      EXPECT_GT(run.job.model.head_dim, 0) << run.id;
      EXPECT_GT(run.job.global_batch_size, 0) << run.id;
    }
  }
  EXPECT_GT(usable * 10, rows * 9) << usable << " of " << rows << " rows are usable";
}

}  // namespace
}  // namespace kumihimo

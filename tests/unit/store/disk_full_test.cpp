#include <gmock/gmock.h>

#include "store/store.hpp"
#include "support/file_size_limit.hpp"
#include "support/scratch_folder.hpp"

namespace kumihimo {
namespace {

TEST(StoreOnAFullDisk, KeepsWhatItHasAndGoesOnWhenThereIsRoom) {
  const testing::ScratchFolder folder;
  const std::string path = folder.file("s.db");
  std::int64_t study = 0;
  int recorded = 0;
  {
    Store store = std::move(*Store::open(path, Database::Mode::read_write));
    study = store.add_study({.name = "a", .settings = "{}"});
    const FileSizeLimit limit(400 * 1024);
    try {
      for (; recorded < 10'000; ++recorded) {
        Trial trial{.study_id = study, .layout = "tp=" + std::to_string(recorded), .repetition = 0};
        trial.id = store.begin_trial(trial);
        trial.state = TrialState::ok;
        store.end_trial(trial, std::vector<StepSample>{{1, 0.5, 1.0, false}}, 1.0);
      }
      FAIL() << "the disk was never full";
    } catch (const StoreFailure& failure) {
      EXPECT_THAT(failure.what(), ::testing::HasSubstr("disk")) << failure.what();
    }
  }
  ASSERT_GT(recorded, 0);
  Store store = std::move(*Store::open(path, Database::Mode::read_write));
  int ok = 0;
  for (const Trial& trial : store.trials(study)) ok += trial.state == TrialState::ok ? 1 : 0;
  EXPECT_EQ(ok, recorded) << "what was committed stands, and nothing else";
  EXPECT_EQ(store.find_study("a")->spent_s, recorded) << "a second for each";
  EXPECT_NO_THROW(store.begin_trial({.study_id = study, .layout = "later", .repetition = 0}));
}

}  // namespace
}  // namespace kumihimo

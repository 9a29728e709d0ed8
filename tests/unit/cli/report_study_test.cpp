#include <gmock/gmock.h>

#include "cli/report_sources.hpp"
#include "store/store.hpp"
#include "support/scratch_folder.hpp"
#include "unit/cli/small_llama_trial.hpp"

namespace kumihimo {
namespace {

using ::testing::HasSubstr;
using testing::ScratchFolder;

using Cells = std::initializer_list<std::pair<RunColumn, std::string>>;

/// A study of its own store, to which trials are added as a sweep adds them.
class ReportOfAStudy : public ::testing::Test {
 protected:
  void add_trial(const ParallelLayout& layout, const Cells& cells, std::int64_t repetition = 0) {
    Trial trial = testing::small_llama_trial(study_, layout, "here");
    trial.repetition = repetition;
    trial.id = store_->begin_trial(trial);
    trial.state = TrialState::ok;
    for (const auto& [column, cell] : cells) trial.run[column] = cell;
    store_->end_trial(trial, {}, 1);
  }
  ReportContent report() {
    ReportContent content;
    add_study(*store_, content);
    return content;
  }

  ScratchFolder folder_;
  Expected<Store> store_ = Store::open(folder_.file("s.db"), Database::Mode::read_write);
  std::int64_t study_ = store_->add_study({.name = "study", .settings = "{}"});
};

TEST_F(ReportOfAStudy, MemoryIsWhatTheTrialHeld) {
  add_trial({.data_parallel = 8},
            {{RunColumn::mfu, "0.4"}, {RunColumn::memory_gb, "1.5"}});  // in GiB, as sweeps write
  const ReportContent content = report();
  ASSERT_EQ(content.rows.size(), 1U);
  EXPECT_EQ(content.rows[0].memory_gib, 1.5);
}

TEST_F(ReportOfAStudy, RecommendsTheFasterPrecisionThoughItReachesLessOfItsPeak) {
  add_trial({.data_parallel = 8, .precision = Precision::fp32},
            {{RunColumn::mfu, "0.6"}, {RunColumn::tokens_per_s_per_gpu, "100"}});
  add_trial({.tensor_parallel = 2, .data_parallel = 4, .precision = Precision::bf16},
            {{RunColumn::mfu, "0.4"}, {RunColumn::tokens_per_s_per_gpu, "150"}});
  EXPECT_THAT(report().recommendation.headline, HasSubstr("tp 2"));
}

TEST_F(ReportOfAStudy, AQuietMomentMakesNoLayoutTheBest) {
  const ParallelLayout first{.data_parallel = 8}, better{.tensor_parallel = 2, .data_parallel = 4};
  add_trial(first, {{RunColumn::mfu, "0.4"}});
  add_trial(better, {{RunColumn::mfu, "0.5"}});
  add_trial(first, {{RunColumn::mfu, "0.6"}}, 1);  // a control: what drifts is the machine
  const ReportContent content = report();
  EXPECT_THAT(content.recommendation.headline, HasSubstr("tp 2"));
  EXPECT_THAT(content.recommendation.next, HasSubstr("tp 1"));
  EXPECT_EQ(content.rows.size(), 3U);
}

TEST_F(ReportOfAStudy, OfOnePrecisionTheHighestMfuWins) {
  // The shorter sequences of the second make more tokens of less work.
  add_trial({.data_parallel = 8},
            {{RunColumn::mfu, "0.6"}, {RunColumn::tokens_per_s_per_gpu, "100"}});
  add_trial({.tensor_parallel = 2, .data_parallel = 4},
            {{RunColumn::mfu, "0.4"}, {RunColumn::tokens_per_s_per_gpu, "150"}});
  EXPECT_THAT(report().recommendation.headline, HasSubstr("tp 1"));
}

}  // namespace
}  // namespace kumihimo

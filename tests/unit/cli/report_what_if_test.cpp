#include <gmock/gmock.h>

#include "cli/report_sources.hpp"
#include "cluster/cluster_file.hpp"
#include "cost/stack_profile_file.hpp"
#include "support/scratch_folder.hpp"
#include "unit/cli/small_llama_trial.hpp"

namespace kumihimo {
namespace {

using ::testing::HasSubstr;
using testing::ScratchFolder;

/// Adds a study with one trial; what it lacks is left out.
void add_sweep(Store& store, const std::string& name, bool machine, bool profile) {
  const std::int64_t study = store.add_study({.name = name, .settings = "{}"});
  if (profile) {
    StackProfile fitted = *read_stack_profile("uncalibrated");
    fitted.name = name;
    store.add_profile(study, {.toml = write_stack_profile(fitted)});
  }
  Trial trial = testing::small_llama_trial(
      study, {.tensor_parallel = 2, .data_parallel = 4, .micro_batch_size = 1}, "here");
  if (machine) {
    trial.machine_id =
        store.put_machine({.fingerprint = "eight devices",
                           .host = "node1",
                           .cluster_toml = write_cluster(*read_cluster("a100-80gb-sxm"))});
  }
  trial.id = store.begin_trial(trial);
  trial.state = TrialState::ok;
  trial.run[RunColumn::step_time_s] = "0.5";
  trial.run[RunColumn::mfu] = "0.3";
  store.end_trial(trial, {}, 1);
}

std::optional<WhatIfReport> what_if_of(Store& store) {
  ReportContent content;
  add_what_if_of_study(store, content);
  return content.what_if;
}

TEST(WhatIfOfAStudy, NeedsMachineAndProfile) {
  const ScratchFolder folder;
  Expected<Store> store = Store::open(folder.file("s.db"), Database::Mode::read_write);
  ASSERT_TRUE(store);
  EXPECT_FALSE(what_if_of(*store));
  add_sweep(*store, "no machine", false, true);
  add_sweep(*store, "no profile", true, false);
  EXPECT_FALSE(what_if_of(*store));
}

TEST(WhatIfOfAStudy, PlansTheJobThatWasSweptWithItsOwnProfile) {
  const ScratchFolder folder;
  Expected<Store> store = Store::open(folder.file("s.db"), Database::Mode::read_write);
  ASSERT_TRUE(store);
  add_sweep(*store, "whole", true, true);
  add_sweep(*store, "no profile", true, false);
  const auto what_if = what_if_of(*store);
  ASSERT_TRUE(what_if);
  const Expected<WhatIfBasis> basis = parse_what_if_basis(what_if->basis);
  ASSERT_TRUE(basis);
  EXPECT_EQ(basis->job.model.layers, 4);
  EXPECT_EQ(basis->job.seq_length, 512);
  EXPECT_EQ(basis->devices, 8);
  EXPECT_EQ(basis->profile.name, "whole");
  EXPECT_EQ(basis->cluster.device.name, read_cluster("a100-80gb-sxm")->device.name);
  EXPECT_THAT(what_if->answer, HasSubstr("\"layouts\":[{"));
}

}  // namespace
}  // namespace kumihimo

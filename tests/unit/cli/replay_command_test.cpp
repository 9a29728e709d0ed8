#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cluster/cluster_file.hpp"
#include "cost/stack_choice.hpp"
#include "store/store.hpp"
#include "support/program_runs.hpp"
#include "support/scratch_folder.hpp"
#include "unit/cli/small_llama_trial.hpp"

namespace kumihimo {
namespace {

using testing::ScratchFolder;

/// On devices that no catalog knows.
void add_trial(Store& store, std::int64_t study, std::int64_t machine, const ParallelLayout& layout,
               const char* step_time_s) {
  Trial trial = testing::small_llama_trial(study, layout, "our box");
  trial.machine_id = machine;
  trial.id = store.begin_trial(trial);
  trial.state = TrialState::ok;
  trial.run[RunColumn::step_time_s] = step_time_s;
  store.end_trial(trial, {}, 1);
}

TEST(ReplayCommand, StartsFromTheStackOfTheClusterThatAStoreHolds) {
  Cluster box = *read_cluster("h100-80gb-sxm");
  box.name = "our box";
  const std::string stack = default_stack(box);
  ASSERT_NE(stack, "uncalibrated") << "else this tests nothing";
  ASSERT_FALSE(read_cluster(box.name));

  const ScratchFolder folder;
  const std::string path = folder.file("sweep.db");
  {
    auto store = Store::open(path, Database::Mode::read_write);
    ASSERT_TRUE(store);
    const std::int64_t study = store->add_study({.name = "ours", .settings = "{}"});
    const std::int64_t machine = store->put_machine(
        {.fingerprint = "eight devices", .host = "node1", .cluster_toml = write_cluster(box)});
    add_trial(*store, study, machine, {.data_parallel = 8}, "0.5");
    add_trial(*store, study, machine, {.data_parallel = 8, .micro_batch_size = 2}, "0.4");
    add_trial(*store, study, machine, {.tensor_parallel = 2, .data_parallel = 4}, "0.6");
    add_trial(*store, study, machine,
              {.tensor_parallel = 2, .data_parallel = 4, .micro_batch_size = 2}, "0.7");
  }
  const auto replayed =
      testing::run_kumihimo({"replay", "--runs", path, "--strategy", "guided", "--json"});
  ASSERT_EQ(replayed.code, 0) << replayed.err;
  const auto document = nlohmann::json::parse(replayed.out);
  ASSERT_EQ(document["groups"].size(), 1u);
  EXPECT_EQ(document["groups"][0]["stack"], stack);
}

}  // namespace
}  // namespace kumihimo

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cluster/cluster_file.hpp"
#include "cost/stack_choice.hpp"
#include "layout/layout_text.hpp"
#include "store/store.hpp"
#include "support/program_runs.hpp"
#include "support/scratch_folder.hpp"

namespace kumihimo {
namespace {

using testing::ScratchFolder;

/// A trial of a model of four layers on eight devices that no catalog knows.
void add_trial(Store& store, std::int64_t study, std::int64_t machine, const ParallelLayout& layout,
               const char* step_time_s) {
  Trial trial{.study_id = study, .machine_id = machine, .layout = to_text(layout), .repetition = 0};
  for (const auto& [column, cell] : std::initializer_list<std::pair<RunColumn, std::string>>{
           {RunColumn::source, "a sweep"},
           {RunColumn::table_or_row_id, trial.layout},
           {RunColumn::model_name, "llama-small"},
           {RunColumn::hidden, "1024"},
           {RunColumn::layers, "4"},
           {RunColumn::heads, "8"},
           {RunColumn::kv_heads, "8"},
           {RunColumn::ffn_hidden, "2816"},
           {RunColumn::vocab, "32000"},
           {RunColumn::seq_len, "512"},
           {RunColumn::global_batch, "16"},
           {RunColumn::gpus, "8"},
           {RunColumn::gpu_type, "our box"},
           {RunColumn::gpus_per_node, "8"},
           {RunColumn::tp, std::to_string(layout.tensor_parallel)},
           {RunColumn::pp, "1"},
           {RunColumn::dp, std::to_string(layout.data_parallel)},
           {RunColumn::micro_batch, std::to_string(layout.micro_batch_size)},
           {RunColumn::precision, "bf16"}}) {
    trial.run[column] = cell;
  }
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

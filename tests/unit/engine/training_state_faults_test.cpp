#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/file_size_limit.hpp"
#include "support/in_folder.hpp"
#include "support/resumed_runs.hpp"
#include "support/small_models.hpp"

namespace kumihimo {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using testing::follow;
using ::testing::HasSubstr;
using testing::learnable_data;
using ::testing::Not;
using testing::Outcome;
using testing::small_llama;
using testing::small_options;

class TrainingStateFaults : public InFolder {
 protected:
  TrainingStateFaults() {
    follow(options_, {.end = 1, .save = folder_});
    follow(options_, {.end = 2, .save = folder_});
  }
  Expected<ResumableState> inspect(bool verify_checksums = false) const {
    return inspect_state(folder_, options_, learnable_data, verify_checksums);
  }
  std::string older() const { return state_path(folder_, 1).string(); }
  fs::path newest() const { return state_path(folder_, 2); }

  TrainingOptions options_ = small_options(small_llama(), "tp=2");
};

TEST_F(TrainingStateFaults, TheNewestStateOrTheOneGivenIsTaken) {
  const Expected<ResumableState> state = inspect(true);
  ASSERT_TRUE(state);
  EXPECT_EQ(state->path, newest());
  EXPECT_EQ(state->manifest.step, 2);
  EXPECT_EQ(state->manifest.samples_consumed, 2 * 8);
  EXPECT_EQ(state->manifest.layout, to_text(options_.layout));
  const auto given = inspect_state(older(), options_, learnable_data, false);
  ASSERT_TRUE(given);
  EXPECT_EQ(given->manifest.step, 1);
}

TEST_F(TrainingStateFaults, WhereThereIsNoStateTheFolderIsNamed) {
  const auto in = [&](const char* name) {
    return message(inspect_state(folder_ / name, options_, learnable_data, false));
  };
  EXPECT_THAT(in("none"), HasSubstr("none: is not a folder of saved states"));
  fs::create_directory(folder_ / "empty");
  EXPECT_THAT(in("empty"), HasSubstr("empty: holds no whole saved state"));
}

TEST_F(TrainingStateFaults, EveryDifferenceOfTheRunIsNamedWithItsFlag) {
  options_.job.seq_length = 32;
  options_.job.global_batch_size = 16;
  options_.seed = 2;
  options_.shuffle = false;
  options_.optimizer.kind = OptimizerKind::sgd;
  const std::string text = message(inspect_state(folder_, options_, "other tokens", false));
  const std::string state = newest().string();
  EXPECT_THAT(
      text,
      AllOf(HasSubstr("--seq-length: is 32, but " + state +
                      " was saved with 16; give "
                      "--seq-length 16, or start anew from its weights with --init-from " +
                      state),
            HasSubstr("--global-batch-size: is 16, but "), HasSubstr("--seed: is 2, but "),
            HasSubstr("--no-shuffle: is given, but " + state +
                      " was saved without it; leave it out, or start anew"),
            HasSubstr("--optimizer: is sgd, but "), HasSubstr("--data: is other tokens, but "),
            HasSubstr("; give the data that it was trained on, or start anew"),
            Not(HasSubstr("--model"))));
}

TEST_F(TrainingStateFaults, AnotherModelIsRefusedByItsShapeNotItsTensors) {
  options_.job.model.ffn_hidden = 64;
  options_.job.model.rope_theta = 5e5;
  const std::string text = message(inspect());
  EXPECT_THAT(text, AllOf(HasSubstr("--model: has ffn_hidden 64, but "), HasSubstr("with 48"),
                          HasSubstr("has rope_theta 500000.0"), Not(HasSubstr("tensor"))));
}

TEST_F(TrainingStateFaults, WhatMayChangeIsAccepted) {
  options_ = small_options(small_llama(), "pp=2 dp=2 zero=3", "bf16");
  options_.job.model.name = "elsewhere/config.json";
  options_.learning_rate.peak = 1;
  options_.optimizer.weight_decay = 0;
  EXPECT_TRUE(inspect());
}

TEST_F(TrainingStateFaults, ACutFileIsRefusedAndTheOlderStateNamed) {
  const fs::path weights = newest() / "model.safetensors";
  fs::resize_file(weights, fs::file_size(weights) - 1);
  EXPECT_THAT(message(inspect()),
              AllOf(HasSubstr(weights.string() + ": is "), HasSubstr("bytes long instead of"),
                    HasSubstr("resume from the older state " + older())));
  EXPECT_TRUE(inspect_state(older(), options_, learnable_data, true));
}

TEST_F(TrainingStateFaults, AChangedByteIsFoundByItsChecksum) {
  const fs::path file = newest() / "optimizer.safetensors";
  std::string bytes = contents(file);
  bytes[bytes.size() / 2] ^= 1;
  put(file, bytes);
  EXPECT_TRUE(inspect(false));
  EXPECT_THAT(message(inspect(true)),
              AllOf(HasSubstr("optimizer.safetensors: is damaged"), HasSubstr(older())));
}

TEST_F(TrainingStateFaults, AnInterruptedSaveIsPassedOver) {
  const fs::path partial = begin_state(folder_, 3);
  put(partial / "model.safetensors", "half");
  const Outcome resumed = follow(options_, {.resume = folder_, .end = 3});
  EXPECT_EQ(resumed.losses.size(), 1u);
}

/// The disk is full: every rank ends, and what was saved before is whole.
TEST_F(TrainingStateFaults, AFullDiskEndsAllRanksAndLeavesTheStatesBefore) {
  {
    const FileSizeLimit limit(4096);
    try {
      follow(options_, {.resume = folder_, .end = 3, .save = folder_});
      ADD_FAILURE() << "nothing was thrown";
    } catch (const std::exception& error) {
      EXPECT_THAT(error.what(), HasSubstr("model.safetensors"));
    }
  }
  const Expected<ResumableState> state = inspect(true);
  ASSERT_TRUE(state);
  EXPECT_EQ(state->manifest.step, 2);
}

}  // namespace
}  // namespace kumihimo

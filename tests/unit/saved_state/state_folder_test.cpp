#include "saved_state/state_folder.hpp"

#include <csignal>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <set>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

#include "saved_state/manifest.hpp"
#include "support/file_size_limit.hpp"
#include "support/in_folder.hpp"

namespace kumihimo {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class StateFolder : public InFolder {
 protected:
  /// A state of two files.
  void save(std::int64_t step, int keep = 0, const std::string& weights = "the weights") const {
    const fs::path partial = begin_state(folder_, step);
    put(partial / "model.safetensors", weights);
    put(partial / "optimizer.safetensors", "moments of step " + std::to_string(step));
    commit_state(folder_, step, described(), {"model.safetensors", "optimizer.safetensors"}, keep);
  }
  static Manifest described() {
    Manifest manifest;
    manifest.samples_consumed = 3200;
    manifest.layout = "dp 2 tp 2";
    manifest.run = R"({"seed":7,"learning_rate":0.0003})";
    return manifest;
  }
  std::set<std::string> names() const {
    std::set<std::string> found;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder_)) {
      found.insert(entry.path().filename().string());
    }
    return found;
  }
  fs::path state(std::int64_t step) const { return state_path(folder_, step); }
  void flip_byte(const fs::path& path, std::size_t at) const {
    std::string bytes = contents(path);
    bytes.at(at) = static_cast<char>(bytes.at(at) ^ 1);
    put(path, bytes);
  }
};

TEST_F(StateFolder, PathsSortByStep) {
  EXPECT_EQ(state_path("runs/a", 100), fs::path("runs/a/step-00000100"));
  EXPECT_EQ(state_path("a", 1'234'567'890), fs::path("a/step-1234567890"));
}

TEST_F(StateFolder, WhatIsSavedIsOpened) {
  save(100);
  EXPECT_THAT(names(), ElementsAre("step-00000100"));
  EXPECT_EQ(newest_state(folder_), state(100));
  const Expected<Manifest> manifest = open_state(state(100), true);
  ASSERT_TRUE(manifest) << to_string(manifest.errors());
  EXPECT_EQ(manifest->step, 100);
  EXPECT_EQ(manifest->samples_consumed, 3200);
  EXPECT_EQ(manifest->layout, "dp 2 tp 2");
  EXPECT_EQ(manifest->run, R"({"learning_rate":0.0003,"seed":7})");
  ASSERT_EQ(manifest->files.size(), 2u);
  EXPECT_EQ(manifest->files[0].name, "model.safetensors");
  EXPECT_EQ(manifest->files[0].bytes, 11);  // "the weights"
  EXPECT_EQ(manifest->files[1].checksum, checksum_of(state(100) / "optimizer.safetensors"));
  EXPECT_TRUE(open_state(state(100) / "", false).has_value()) << "a slash at the end";
}

// XXH3_64bits with seed 0 of the empty string and of "a".
TEST_F(StateFolder, ChecksumsAreXxh3) {
  put(folder_ / "empty", "");
  EXPECT_EQ(checksum_of(folder_ / "empty"), 0x2d06800538d394c2u);
  put(folder_ / "a", "a");
  EXPECT_EQ(checksum_of(folder_ / "a"), 0xe6c632b61e964e1fu);
  EXPECT_THROW(checksum_of(folder_ / "none"), std::system_error);
}

TEST_F(StateFolder, ChecksumsReadFilesOfManyPieces) {
  std::string bytes(3 * (1 << 20) + 5, 'x');
  put(folder_ / "a", bytes);
  const std::uint64_t before = checksum_of(folder_ / "a");
  bytes.back() = 'y';
  put(folder_ / "a", bytes);
  EXPECT_NE(checksum_of(folder_ / "a"), before);
}

TEST_F(StateFolder, NothingIsNewestInAnEmptyOrMissingFolder) {
  EXPECT_FALSE(newest_state(folder_).has_value());
  EXPECT_FALSE(newest_state(folder_ / "none").has_value());
}

TEST_F(StateFolder, IncompleteAndForeignFoldersAreNotStates) {
  save(100);
  begin_state(folder_, 200);
  fs::create_directory(folder_ / "step-00000300");  // without a manifest
  fs::create_directory(folder_ / "step-00000400.backup");
  fs::create_directory(folder_ / "step-7");  // not a name that we give
  for (const char* name : {"step-00000400.backup", "step-7"}) {
    put(folder_ / name / "manifest.json", "{}");
  }
  EXPECT_EQ(newest_state(folder_), state(100));
}

TEST_F(StateFolder, AKillDuringASaveLeavesTheStateBefore) {
  save(100);
  const pid_t child = ::fork();
  if (child == 0) {
    put(begin_state(folder_, 200) / "model.safetensors", "half");
    ::raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_THAT(names(), ElementsAre("step-00000100", "step-00000200.partial"));
  EXPECT_EQ(newest_state(folder_), state(100));
  EXPECT_TRUE(open_state(state(100), true).has_value());

  save(150);  // what was left behind is gone, whatever its step
  EXPECT_THAT(names(), ElementsAre("step-00000100", "step-00000150"));
}

TEST_F(StateFolder, BeginningAgainEmptiesThePartialState) {
  put(begin_state(folder_, 100) / "old", "x");
  EXPECT_TRUE(fs::is_empty(begin_state(folder_, 100)));
}

TEST_F(StateFolder, AnInterruptedRemovalIsFinished) {
  save(100);
  fs::rename(state(100), folder_ / "step-00000100.discarded");
  EXPECT_FALSE(newest_state(folder_).has_value());
  save(200);
  EXPECT_THAT(names(), ElementsAre("step-00000200"));
}

TEST_F(StateFolder, TheOldestStatesGo) {
  for (const std::int64_t step : {100, 200, 300, 400}) save(step, 2);
  EXPECT_THAT(names(), ElementsAre("step-00000300", "step-00000400"));
}

TEST_F(StateFolder, ZeroKeepsAll) {
  for (const std::int64_t step : {1, 2, 3}) save(step, 0);
  EXPECT_EQ(names().size(), 3u);
}

TEST_F(StateFolder, TheStateJustWrittenStaysEvenIfLaterOnesExist) {
  for (const std::int64_t step : {100, 200, 300}) save(step);
  save(150, 1);
  EXPECT_THAT(names(), ElementsAre("step-00000150", "step-00000200", "step-00000300"));
}

TEST_F(StateFolder, AStepSavedAgainReplacesItsState) {
  save(100);
  save(100, 0, "other weights");
  EXPECT_EQ(contents(state(100) / "model.safetensors"), "other weights");
  EXPECT_THAT(names(), ElementsAre("step-00000100"));
  EXPECT_TRUE(open_state(state(100), true).has_value());
}

TEST_F(StateFolder, AFullDiskThrowsAndLeavesTheStateBefore) {
  save(100);
  const fs::path partial = begin_state(folder_, 200);
  put(partial / "model.safetensors", "x");
  try {
    const FileSizeLimit limit(16);
    commit_state(folder_, 200, described(), {"model.safetensors"}, 1);
    FAIL() << "a manifest was written to a full disk";
  } catch (const std::system_error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("step-00000200.partial/manifest.json: "),
                                    HasSubstr("File too large")));
  }
  EXPECT_EQ(newest_state(folder_), state(100));
  EXPECT_TRUE(open_state(state(100), true).has_value());
}

TEST_F(StateFolder, AFileThatWasNotWrittenThrows) {
  begin_state(folder_, 100);
  EXPECT_THROW(commit_state(folder_, 100, described(), {"model.safetensors"}, 0),
               std::system_error);
  EXPECT_FALSE(newest_state(folder_).has_value());
}

TEST_F(StateFolder, AFlippedByteIsFoundAndTheOlderStateNamed) {
  for (const std::int64_t step : {100, 200, 300}) save(step);
  flip_byte(state(200) / "model.safetensors", 4);
  EXPECT_TRUE(open_state(state(200), false).has_value()) << "lengths are right";
  EXPECT_THAT(message(open_state(state(200), true)),
              AllOf(StartsWith((state(200) / "model.safetensors").string() +
                               ": is damaged: its XXH3 checksum is "),
                    HasSubstr("; resume from the older state " + state(100).string() + "\n")));
}

TEST_F(StateFolder, EveryFlippedByteOfTheManifestIsFound) {
  save(100);
  const std::string whole = contents(state(100) / "manifest.json");
  for (std::size_t at = 0; at < whole.size(); ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    // A flip within the spaces between values changes nothing, or is no JSON.
    const Expected<Manifest> manifest = parse_manifest(damaged, "manifest.json");
    if (manifest) {
      EXPECT_EQ(write_manifest(*manifest), whole) << at;
    } else {
      EXPECT_THAT(message(manifest), StartsWith("manifest.json: ")) << at;
    }
  }
}

TEST_F(StateFolder, NothingMayFollowTheManifestNorStandInItTwice) {
  save(100);
  const std::string whole = contents(state(100) / "manifest.json");
  const std::string twice = "{\"step\": 1," + whole.substr(whole.find('{') + 1);
  for (const std::string& damaged : {whole + std::string("\0garbage", 8), twice}) {
    EXPECT_THAT(message(parse_manifest(damaged, "manifest.json")),
                HasSubstr("is damaged: it is not the JSON of a manifest"));
  }
}

TEST_F(StateFolder, MissingAndShortFilesAreFoundWithoutReadingThem) {
  save(100);
  save(200);
  fs::remove(state(200) / "model.safetensors");
  fs::resize_file(state(200) / "optimizer.safetensors", 5);
  EXPECT_THAT(
      message(open_state(state(200), false)),
      AllOf(HasSubstr("model.safetensors: is missing; resume from the older state"),
            HasSubstr("optimizer.safetensors: is 5 bytes long instead of 19; resume from")));
}

TEST_F(StateFolder, WithoutAnOlderStateTheRemedySaysSo) {
  save(100);
  fs::remove(state(100) / "model.safetensors");
  EXPECT_THAT(message(open_state(state(100), false)),
              HasSubstr("restore it from a copy: " + folder_.string() + " has no older state"));
}

TEST_F(StateFolder, WhatIsNoStateIsRefusedWithTheOneToGive) {
  save(100);
  EXPECT_THAT(
      message(open_state(folder_, false)),
      HasSubstr("is not a whole saved state: it has no manifest.json; give the newest state "
                "in it: " +
                state(100).string()));
  EXPECT_THAT(message(open_state(state(300), false)),
              HasSubstr("resume from the older state " + state(100).string()));
  EXPECT_THAT(message(open_state(folder_ / "none", false)),
              HasSubstr("none: does not exist; resume from the state " + state(100).string()));
  fs::create_directory(folder_ / "empty");
  EXPECT_THAT(message(open_state(folder_ / "empty", false)),
              HasSubstr("no manifest.json; resume from the state " + state(100).string()));
}

TEST_F(StateFolder, ManifestsOfOtherProgramsAreRefused) {
  save(100);
  put(state(100) / "manifest.json", R"({"schema":"kumihimo.state/2"})");
  EXPECT_THAT(message(open_state(state(100), false)),
              HasSubstr("manifest.json: is of schema \"kumihimo.state/2\"; this program reads "
                        "kumihimo.state/1; use the version of the program that wrote it"));
  put(state(100) / "manifest.json", "not JSON");
  EXPECT_THAT(message(open_state(state(100), false)),
              HasSubstr("is damaged: it is not the JSON of a manifest; restore it from a copy"));
}

TEST(ManifestText, NamesCannotLeadOutOfTheState) {
  Manifest manifest;
  for (const char* name : {"../x", "/etc/passwd", "", ".", "..", "a/b"}) {
    manifest.files = {{name, 1, 2}};
    EXPECT_THROW(write_manifest(manifest), InvariantError) << name;
  }
}

TEST(ManifestText, ChecksumsAreSixteenDigitsThatNoReaderRounds) {
  Manifest manifest;
  manifest.files = {{"a", 1, 0xff}};
  EXPECT_THAT(write_manifest(manifest), HasSubstr(R"("xxh3": "00000000000000ff")"));
}

}  // namespace
}  // namespace kumihimo

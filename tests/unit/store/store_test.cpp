#include "store/store.hpp"

#include <cstdio>
#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/scratch_folder.hpp"

namespace kumihimo {
namespace {

using testing::ScratchFolder;

Store open(const std::string& path, Database::Mode mode = Database::Mode::read_write) {
  Expected<Store> store = Store::open(path, mode);
  if (!store) throw std::runtime_error(to_string(store.errors()));
  return std::move(*store);
}

Trial trial_of(std::int64_t study, const std::string& layout, std::int64_t repetition = 0) {
  Trial trial{.study_id = study, .layout = layout, .repetition = repetition};
  trial.run[RunColumn::model_name] = "llama-tiny";
  trial.run[RunColumn::gpus] = "4";
  trial.run[RunColumn::zero_stage] = "1 (shard group 2)";
  return trial;
}

/// Runs `body` in a process of its own that then dies without saying goodbye.
template <class Body>
void in_killed_process(Body body) {
  const pid_t child = fork();
  if (child == 0) {
    body();
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  waitpid(child, &status, 0);
}

TEST(Store, KeepsWhatATrialMeasured) {
  const ScratchFolder folder;
  const std::string path = folder.file("s.db");
  {
    Store store = open(path);
    const std::int64_t study = store.add_study({.name = "first", .settings = "{}"});
    Trial trial = trial_of(study, "tp=2 pp=2");
    trial.forecast = TrialForecast{0.25, 0.5, 1.5, 0.99};
    trial.id = store.begin_trial(trial);
    trial.state = TrialState::ok;
    trial.run[RunColumn::step_time_s] = "0.1";
    trial.run[RunColumn::mfu] = "0.30000000000000004";
    trial.duration_s = 3.5;
    trial.timed_steps = 1;
    const std::vector<StepSample> steps{{1, 0.3, 5.5, true}, {2, 0.1, std::nullopt, false}};
    EXPECT_TRUE(store.end_trial(trial, steps, 4.0));
  }
  Store store = open(path, Database::Mode::read);
  const auto study = store.find_study("first");
  ASSERT_TRUE(study);
  EXPECT_EQ(study->spent_s, 4.0);
  const std::vector<Trial> trials = store.trials(study->id);
  ASSERT_EQ(trials.size(), 1U);
  EXPECT_EQ(trials[0].state, TrialState::ok);
  EXPECT_EQ(trials[0].layout, "tp=2 pp=2");
  EXPECT_EQ(trials[0].forecast->step_time_s, 0.25);
  EXPECT_EQ(trials[0].forecast->fits_probability, 0.99);
  EXPECT_EQ(trials[0].step_time_s(), 0.1);
  EXPECT_EQ(trials[0].run[RunColumn::mfu], "0.30000000000000004");
  EXPECT_EQ(trials[0].run[RunColumn::gpus], "4");
  EXPECT_EQ(trials[0].run[RunColumn::zero_stage], "1 (shard group 2)");
  EXPECT_EQ(trials[0].run[RunColumn::status], "ok");
  EXPECT_EQ(store.steps(trials[0].id).size(), 2U);
  EXPECT_EQ(store.steps(trials[0].id)[1], (StepSample{2, 0.1, std::nullopt, false}));
}

TEST(Store, CountsALayoutOnceAndLetsACancelledOneBeTriedAgain) {
  const ScratchFolder folder;
  Store store = open(folder.file("s.db"));
  const std::int64_t study = store.add_study({.name = "a", .settings = "{}"});
  Trial trial = trial_of(study, "tp=1");
  trial.id = store.begin_trial(trial);
  EXPECT_THROW(store.begin_trial(trial_of(study, "tp=1")), StoreFailure) << "it runs";
  trial.state = TrialState::cancelled;
  EXPECT_TRUE(store.end_trial(trial, {}, 0));
  EXPECT_FALSE(store.end_trial(trial, {}, 7)) << "it has ended";
  EXPECT_EQ(store.find_study("a")->spent_s, 0) << "an end that did not count spends nothing";

  Trial again = trial_of(study, "tp=1");
  again.id = store.begin_trial(again);
  again.state = TrialState::ok;
  EXPECT_TRUE(store.end_trial(again, {}, 0));
  EXPECT_THROW(store.begin_trial(trial_of(study, "tp=1")), StoreFailure) << "it was measured";
  EXPECT_NO_THROW(store.begin_trial(trial_of(study, "tp=1", 1))) << "a control is another trial";
}

TEST(Store, AnEndIsAllOrNothing) {
  const ScratchFolder folder;
  Store store = open(folder.file("s.db"));
  const std::int64_t study = store.add_study({.name = "a", .settings = "{}"});
  Trial trial = trial_of(study, "tp=1");
  trial.id = store.begin_trial(trial);
  trial.state = TrialState::ok;
  const std::vector<StepSample> twice{{1, 0.1, std::nullopt, false}, {1, 0.1, std::nullopt, false}};
  EXPECT_THROW(store.end_trial(trial, twice, 3), StoreFailure);
  EXPECT_EQ(store.trials(study)[0].state, TrialState::running);
  EXPECT_TRUE(store.steps(trial.id).empty());
  EXPECT_EQ(store.find_study("a")->spent_s, 0);
}

TEST(Store, AProcessThatDiesLosesOnlyWhatItHadNotCommitted) {
  const ScratchFolder folder;
  const std::string path = folder.file("s.db");
  in_killed_process([&] {
    Store store = open(path);
    const std::int64_t study = store.add_study({.name = "a", .settings = "{}"});
    Trial trial = trial_of(study, "tp=1");
    trial.id = store.begin_trial(trial);
    trial.state = TrialState::ok;
    store.end_trial(trial, {}, 1);
    store.begin_trial(trial_of(study, "tp=2"));
  });
  Store store = open(path);
  const auto trials = store.trials();
  ASSERT_EQ(trials.size(), 2U);
  EXPECT_EQ(trials[0].state, TrialState::ok);
  EXPECT_EQ(trials[1].state, TrialState::running);
}

TEST(Store, OneSweepAtATimeAndADeadOneStandsInNobodysWay) {
  const ScratchFolder folder;
  const std::string path = folder.file("s.db");
  std::int64_t study = 0;
  {
    Store store = open(path);
    study = store.add_study({.name = "a", .settings = "{}"});
  }
  in_killed_process([&] { open(path).claim(study, this_process()); });
  Store store = open(path);
  ASSERT_TRUE(store.find_study("a")->owner) << "the killed one did not release it";
  EXPECT_FALSE(store.claim(study, this_process())) << "its owner is dead";

  ProcessIdentity other = this_process();
  other.pid = getppid();
  other = process_of(other.pid);
  const auto owner = store.claim(study, other);
  ASSERT_TRUE(owner);
  EXPECT_EQ(owner->pid, getpid());

  store.release(study, this_process());
  EXPECT_FALSE(store.claim(study, other));
}

TEST(Store, AnOwnerOnAnotherMachineIsNotRobbedUnasked) {
  const ScratchFolder folder;
  Store store = open(folder.file("s.db"));
  const std::int64_t study = store.add_study({.name = "a", .settings = "{}"});
  const ProcessIdentity far{.pid = 1, .start_ticks = 1, .host = "elsewhere/boot"};
  EXPECT_FALSE(store.claim(study, far));
  EXPECT_TRUE(store.claim(study, this_process()));
  EXPECT_FALSE(store.claim(study, this_process(), true));
}

TEST(Store, IsReadWhileASweepWrites) {
  const ScratchFolder folder;
  const std::string path = folder.file("s.db");
  Store writer = open(path);
  const std::int64_t study = writer.add_study({.name = "a", .settings = "{}"});
  Store reader = open(path, Database::Mode::read);
  Trial trial = trial_of(study, "tp=1");
  trial.id = writer.begin_trial(trial);
  EXPECT_EQ(reader.trials(study).size(), 1U);
  EXPECT_THROW(reader.add_spent(study, 1), StoreFailure) << "a reader changes nothing";
}

TEST(Store, IsReadWhereNothingCanBeWritten) {
  const ScratchFolder folder;
  const std::string path = folder.file("what? 100%.db");
  const std::filesystem::path around = std::filesystem::path(path).parent_path();
  open(path).add_study({.name = "a", .settings = "{}"});
  using std::filesystem::perms;
  std::filesystem::permissions(around, perms::owner_read | perms::owner_exec | perms::group_read |
                                           perms::group_exec | perms::others_read |
                                           perms::others_exec);
  const pid_t child = fork();
  if (child == 0) {
    if (geteuid() == 0 && setuid(65534) != 0) _exit(2);  // root may write anywhere
    try {
      _exit(open(path, Database::Mode::read).find_study("a") ? 0 : 1);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
      _exit(3);
    }
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  std::filesystem::permissions(around, perms::owner_all);
}

TEST(Store, ATrialWhoseStartIsSetBackKeepsItsPlace) {
  const ScratchFolder folder;
  Store store = open(folder.file("s.db"));
  const std::int64_t study = store.add_study({.name = "a", .settings = "{}"});
  Trial later = trial_of(study, "tp=1");
  later.started_unix_s = 2e9;
  store.begin_trial(later);
  Trial earlier = trial_of(study, "tp=2");
  earlier.started_unix_s = 1e9;  // the clock was set back between the two
  store.begin_trial(earlier);
  EXPECT_EQ(store.trials(study)[0].layout, "tp=1");
  EXPECT_EQ(store.trials(study)[1].layout, "tp=2");
}

TEST(Store, KnowsMachinesByWhatTheyAre) {
  const ScratchFolder folder;
  Store store = open(folder.file("s.db"));
  const std::int64_t id = store.put_machine({.fingerprint = "zen4/2", .cluster_toml = "old"});
  EXPECT_EQ(store.put_machine({.fingerprint = "zen4/2", .cluster_toml = "new"}), id);
  EXPECT_EQ(store.find_machine("zen4/2")->cluster_toml, "new");
  EXPECT_FALSE(store.find_machine("zen5/2"));
}

TEST(Store, KeepsWhatWasMeasuredOnAMachineByItsWorkload) {
  const ScratchFolder folder;
  Store store = open(folder.file("s.db"));
  const std::int64_t here = store.put_machine({.fingerprint = "zen4/2"});
  const std::int64_t there = store.put_machine({.fingerprint = "zen5/2"});
  store.put_measured_stack(here, {"tiny, 256", "cluster", "old"});
  store.put_measured_stack(here, {"tiny, 256", "cluster", "new"});
  store.put_measured_stack(here, {"tiny, 512", "cluster", "long"});
  EXPECT_EQ(store.find_measured_stack(here, "tiny, 256")->stack_toml, "new");
  EXPECT_EQ(store.find_measured_stack(here, "tiny, 512")->stack_toml, "long");
  EXPECT_FALSE(store.find_measured_stack(there, "tiny, 256"));
  EXPECT_THROW(store.put_measured_stack(99, {"tiny, 256", "", ""}), StoreFailure)
      << "of a machine that is not there";
}

}  // namespace
}  // namespace kumihimo

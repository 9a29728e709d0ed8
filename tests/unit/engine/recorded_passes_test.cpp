// Passes that are recorded and then given to the GPU as a whole (CUDA graphs), on a queue that does
// everything later, on another thread.

#include "engine/recorded_passes.hpp"

#include <functional>
#include <gtest/gtest.h>
#include <vector>

#include "comm/communication_clock.hpp"
#include "support/open_gpus.hpp"
#include "support/small_models.hpp"
#include "support/training_runs.hpp"

namespace kumihimo {
namespace {

using testing::RunResult;
using testing::small_gpt;
using testing::small_llama;
using testing::small_options;

// --- A queue's recording

TEST(RecordedWork, IsDoneOnlyWhenItIsRun) {
  testing::LazyQueue queue;
  const int from = 7;
  int to = 0;
  const auto work = queue.record([&] { queue.copy(&from, &to, sizeof to); });
  queue.synchronize();
  EXPECT_EQ(to, 0);
  for (int run = 0; run < 2; ++run) {
    to = 0;
    work->run();
    queue.synchronize();
    EXPECT_EQ(to, 7);
  }
}

TEST(RecordedWork, ComesInTheQueuesOrder) {
  testing::LazyQueue queue;
  const int one = 1, two = 2;
  int middle = 0, end = 0;
  const auto work = queue.record([&] { queue.copy(&middle, &end, sizeof end); });
  queue.copy(&one, &middle, sizeof one);
  work->run();
  queue.copy(&two, &middle, sizeof two);
  queue.synchronize();
  EXPECT_EQ(end, 1);
}

TEST(RecordedWork, IsNoneOnTheHost) {
  HostQueue queue;
  EXPECT_EQ(queue.record([] { FAIL() << "was called"; }), nullptr);
}

/// A GPU, its memory and its kernels, as a rank has them.
struct Rank {
  testing::LazyGpu gpu{0};
  DeviceMemory memory{gpu.make_memory()};
  Workspace workspace{memory};
  DeviceClock clock{gpu.queue()};
  StepRecorder recorder{clock};
  std::unique_ptr<Kernels> kernels = gpu.make_kernels(workspace);
  RecordedPasses passes{&gpu.queue(), memory, workspace, recorder};
};

/// What a GPU cannot keep for later is an error, and the queue goes on as if nothing had been.
TEST(RecordedWork, HoldsNothingThatMustHappenAtOnce) {
  Rank rank;
  DeviceQueue& queue = rank.gpu.queue();
  const Buffer buffer(rank.memory, MemoryCategory::workspace, 64);
  const Matrix x = matrix_at(buffer.data(), 4, 4, DType::fp32);
  std::vector<float> host(16, 1.0f);
  testing::LazyQueue other;
  const auto point = other.point();
  const std::vector<std::function<void()>> forbidden{
      [&] { queue.synchronize(); },
      [&] { queue.point(); },
      [&] { queue.timed_point(); },
      [&] { queue.wait_for(point); },
      [&] { rank.workspace.take(100, 100, DType::fp32); },
      [&] { rank.kernels->upload(host.data(), x); },
      [&] { rank.kernels->download(x, host.data()); },
  };
  for (std::size_t i = 0; i < forbidden.size(); ++i) {
    SCOPED_TRACE(i);
    EXPECT_THROW(queue.record([&] {
      rank.kernels->fill(x, 5);
      forbidden[i]();
    }),
                 NotRecordable);
    rank.kernels->fill(x, 2);
    rank.kernels->download(x, host.data());
    EXPECT_EQ(host[0], 2.0f);
  }
}

TEST(RecordedWork, SaysWhatCannotBeRecordedAndWhatToDo) {
  testing::LazyQueue queue;
  try {
    queue.record([&] { queue.synchronize(); });
    FAIL() << "was recorded";
  } catch (const NotRecordable& error) {
    EXPECT_STREQ(error.what(),
                 "the GPU was waited for in the middle of work that is recorded: train without "
                 "--cuda-graphs");
  }
}

// --- When a pass is recorded

TEST(RecordedPasses, RecordAPassOnceItHasRunWithoutAllocating) {
  Rank rank;
  const Buffer buffer(rank.memory, MemoryCategory::workspace, 64);
  const Matrix x = matrix_at(buffer.data(), 1, 1, DType::fp32);
  rank.kernels->fill(x, 0);
  const Buffer ones(rank.memory, MemoryCategory::workspace, 64);
  const Matrix one = matrix_at(ones.data(), 1, 1, DType::fp32);
  rank.kernels->fill(one, 1);
  int calls = 0;
  const auto add_one = [&] {
    rank.passes.run({Pass::forward, 0, {x.data}}, [&] {
      ++calls;
      const Workspace::Scope scope(rank.workspace);
      const Matrix sum = rank.workspace.take(1, 1, DType::fp32);
      rank.kernels->add(x, one, sum);
      rank.kernels->copy(sum, x);
    });
    float value = 0;
    rank.kernels->download(x, &value);
    return value;
  };
  EXPECT_EQ(add_one(), 1);  // allocates
  EXPECT_EQ(add_one(), 2);  // so does this
  EXPECT_EQ(rank.passes.recordings(), 0u);
  rank.workspace.settle();
  EXPECT_EQ(add_one(), 3);  // its temporary lies elsewhere: a pass not seen before
  EXPECT_EQ(rank.passes.recordings(), 0u);
  EXPECT_EQ(add_one(), 4);  // recorded, and run
  EXPECT_EQ(rank.passes.recordings(), 1u);
  EXPECT_EQ(calls, 4);
  EXPECT_EQ(add_one(), 5);
  EXPECT_EQ(add_one(), 6);
  EXPECT_EQ(calls, 4);
}

TEST(RecordedPasses, RecordAnewWhereMemoryLiesElsewhere) {
  Rank rank;
  rank.workspace.settle();
  const Buffer buffer(rank.memory, MemoryCategory::workspace, 256);
  const auto at = [&](int number) {
    return matrix_at(static_cast<std::byte*>(buffer.data()) + 64 * number, 1, 1, DType::fp32);
  };
  for (int number = 0; number < 4; ++number) {
    rank.kernels->fill(at(number), static_cast<float>(number));
  }
  const auto double_of = [&](int from, int to) {
    rank.kernels->fill(at(to), 0);
    rank.passes.run({Pass::forward, 0, {at(from).data, at(to).data}},
                    [&] { rank.kernels->add(at(from), at(from), at(to)); });
    float value = 0;
    rank.kernels->download(at(to), &value);
    return value;
  };
  for (int run = 0; run < 3; ++run) EXPECT_EQ(double_of(1, 0), 2);
  EXPECT_EQ(rank.passes.recordings(), 1u);
  for (int run = 0; run < 3; ++run) EXPECT_EQ(double_of(2, 0), 4);
  EXPECT_EQ(rank.passes.recordings(), 2u);
  for (int run = 0; run < 3; ++run) EXPECT_EQ(double_of(2, 3), 4);
  EXPECT_EQ(rank.passes.recordings(), 3u);
  for (int run = 0; run < 3; ++run) EXPECT_EQ(double_of(1, 0), 2);
  EXPECT_EQ(rank.passes.recordings(), 3u);
}

/// Kernels inside it are not timed; the whole of it is.
TEST(RecordedPasses, CountTheirTimeAsAWhole) {
  Rank rank;
  const Buffer buffer(rank.memory, MemoryCategory::workspace, 64);
  const Matrix x = matrix_at(buffer.data(), 4, 4, DType::fp32);
  const auto pass = [&] {
    rank.recorder.take_times();
    rank.passes.run({Pass::head, 0, {}}, [&] {
      const StepRecorder::Span span(rank.recorder, Activity::matmul);
      rank.kernels->fill(x, 1);
    });
    return rank.recorder.take_times();
  };
  const StepTimes first = pass();
  EXPECT_GT(first[Activity::matmul], 0);
  EXPECT_EQ(first[Activity::recorded], 0);
  for (int again = 0; again < 2; ++again) {
    const StepTimes times = pass();
    EXPECT_EQ(times[Activity::matmul], 0);
    EXPECT_GT(times[Activity::recorded], 0);
  }
}

// --- Training

constexpr std::int64_t steps = 6;  // two until the workspace settles, one that shows it, recordings

void expect_the_same_bits(TrainingOptions options, const testing::OpenGpu& open) {
  const RunResult plain = testing::train(options, steps, true, open);
  options.record_passes = true;
  ASSERT_TRUE(engine_faults(options).empty());
  const RunResult recorded = testing::train(options, steps, true, open);
  EXPECT_EQ(recorded.losses, plain.losses);
  EXPECT_EQ(recorded.gradient_norms, plain.gradient_norms);
  EXPECT_TRUE(recorded.weights == plain.weights);
}

class RecordedTraining : public ::testing::TestWithParam<const char*> {};

TEST_P(RecordedTraining, HasTheSameBits) {
  expect_the_same_bits(small_options(small_llama(), GetParam(), "bf16"), testing::open_lazily);
  expect_the_same_bits(small_options(small_gpt(), GetParam(), "fp32"), testing::open_lazily);
}

INSTANTIATE_TEST_SUITE_P(Layouts, RecordedTraining,
                         ::testing::Values("tp=1", "micro-batch=4", "recompute=full",
                                           "recompute=selective", "attention=unfused norm=unfused",
                                           "attention=fused-softmax recompute=full", "pp=2",
                                           "pp=2 schedule=gpipe", "pp=2 schedule=interleaved vpp=2",
                                           "pp=2 schedule=zb-h1 recompute=selective", "dp=2 zero=0",
                                           "dp=2 zero=1", "dp=2 zero=2 recompute=full",
                                           "dp=2 zero=3", "pp=2 dp=2 zero=3",
                                           "dp=2 zero=1 offload=optimizer"));

class RecordedCudaTraining : public ::testing::TestWithParam<const char*> {};

TEST_P(RecordedCudaTraining, HasTheSameBits) {
  expect_the_same_bits(small_options(small_llama(), GetParam(), "bf16"), testing::open_emulated(1));
}

INSTANTIATE_TEST_SUITE_P(Layouts, RecordedCudaTraining,
                         ::testing::Values("tp=1", "recompute=full", "pp=2 schedule=zb-h1"));

/// Casts, scales and products of fp8 are recorded like all else: nothing of them waits for the GPU.
TEST(RecordedFp8Training, HasTheSameBits) {
  for (const Fp8Scaling scaling : {Fp8Scaling::delayed, Fp8Scaling::current}) {
    SCOPED_TRACE(scaling == Fp8Scaling::delayed ? "delayed" : "current");
    for (const char* layout : {"recompute=full", "pp=2 dp=2 zero=1"}) {
      TrainingOptions options = small_options(small_llama(), layout, "fp8");
      options.fp8.scaling = scaling;
      expect_the_same_bits(options, testing::open_lazily);
      expect_the_same_bits(options, testing::open_emulated(1));
    }
  }
}

/// What one GPU's training records, and that nothing but the recordings computes layers then.
TEST(RecordedSteps, HandTheGpuEachLayersPasses) {
  TrainingOptions options = small_options(small_llama(), "recompute=full");
  options.record_passes = true;
  testing::with_trainers(options, testing::open_lazily, [](Trainer& trainer, const World&) {
    for (int step = 0; step < 2; ++step) {
      EXPECT_EQ(trainer.run_step().mean_times[Activity::recorded], 0);
    }
    EXPECT_EQ(trainer.passes().recordings(), 0u);  // until the workspace has settled
    StepReport report;
    for (int step = 0; step < 3; ++step) report = trainer.run_step();
    // Every micro-batch finds its layers on the same memory: forward, recompute and backward of
    // each of four layers, and the head. What gives gradients of weights is another pass for the
    // first, which overwrites them, than for the others.
    EXPECT_EQ(trainer.passes().recordings(), 4u * 4 + 2);
    EXPECT_GT(report.mean_times[Activity::recorded], 0);
    for (const Activity inside : {Activity::matmul, Activity::attention, Activity::norm}) {
      EXPECT_EQ(report.mean_times[inside], 0);
    }
    EXPECT_GT(report.mean_times[Activity::optimizer], 0);
    EXPECT_GT(report.mean_times[Activity::elementwise], 0);  // embedding, uploads
  });
}

TEST(RecordedSteps, AreNoneWhereNobodyAsked) {
  const TrainingOptions options = small_options(small_llama(), "");
  testing::with_trainers(options, testing::open_lazily, [](Trainer& trainer, const World&) {
    for (int step = 0; step < 4; ++step) {
      EXPECT_EQ(trainer.run_step().mean_times[Activity::recorded], 0);
    }
    EXPECT_EQ(trainer.passes().recordings(), 0u);
  });
}

/// Two micro-batches under way at once lie in two places, whichever comes back first.
TEST(RecordedSteps, AreAsManyAsThePlacesOfWhatIsUnderWay) {
  TrainingOptions options = small_options(small_llama(), "pp=2");
  options.record_passes = true;
  testing::with_trainers(options, testing::open_lazily, [](Trainer& trainer, const World&) {
    // A step's first micro-batch, whose gradients overwrite, finds now this place free, now that.
    for (int step = 0; step < 12; ++step) trainer.run_step();
    const std::size_t recordings = trainer.passes().recordings();
    for (int step = 0; step < 6; ++step) trainer.run_step();
    EXPECT_EQ(trainer.passes().recordings(), recordings);
    EXPECT_GT(recordings, 0u);
  });
}

// --- What is refused

TEST(RecordedRefusals, SayWhatCommunicatesAndWhatToDo) {
  TrainingOptions options = small_options(small_llama(), "tp=2");
  EXPECT_TRUE(engine_faults(options).empty());
  options.record_passes = true;
  const Errors faults = engine_faults(options);
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_EQ(to_string(faults),
            "--cuda-graphs: is given with --tp 2, whose ranks communicate within a layer; give "
            "--tp 1, or leave out --cuda-graphs\n");
}

}  // namespace
}  // namespace kumihimo

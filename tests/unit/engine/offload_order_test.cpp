// The order in which a step gives the device updates of offloaded optimizer states, their copies
// and forward passes: a unit's update comes right before its first use, so that its copies run
// behind the forward passes of the units before it.

#include <algorithm>
#include <gtest/gtest.h>
#include <memory>
#include <utility>
#include <vector>

#include "support/lazy_gpu.hpp"
#include "support/small_models.hpp"
#include "support/training_runs.hpp"

namespace kumihimo {
namespace {

using testing::LazyGpu;
using testing::LazyKernels;
using testing::LazyQueue;
using testing::small_llama;
using testing::small_options;

constexpr std::int64_t small_portion = 333;

enum class Given : std::uint8_t { update, fetch, write_back, forward, backward };

/// What a rank's thread has given its GPU, in order.
struct Notes {
  std::vector<Given> given;
  const std::byte* host_begin = nullptr;  ///< of the states in host memory
  const std::byte* host_end = nullptr;
  bool refuse_updates = false;

  bool is_on_host(const void* data) const { return host_begin <= data && data < host_end; }
};

class NotingKernels final : public LazyKernels {
 public:
  NotingKernels(LazyQueue& queue, Notes& notes)
      : LazyKernels(queue, make_reference_kernels), notes_(notes) {}

  void adamw(const AdamW& step, std::span<const OptimizerPiece> pieces) override {
    if (notes_.refuse_updates) throw std::runtime_error("the GPU has failed");
    notes_.given.push_back(Given::update);
    LazyKernels::adamw(step, pieces);
  }
  void embedding_forward(const Matrix& tokens, const Matrix& table, std::int64_t first_row,
                         const Matrix& out) override {
    notes_.given.push_back(Given::forward);
    LazyKernels::embedding_forward(tokens, table, first_row, out);
  }
  void attention_forward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                         const Matrix& v, const Matrix& out, const AttentionSaved& saved) override {
    notes_.given.push_back(Given::forward);
    LazyKernels::attention_forward(shape, q, k, v, out, saved);
  }
  void cross_entropy_statistics(const Matrix& logits, const Matrix& targets, std::int64_t first_col,
                                std::int64_t valid_cols, const Matrix& statistics) override {
    notes_.given.push_back(Given::forward);
    LazyKernels::cross_entropy_statistics(logits, targets, first_col, valid_cols, statistics);
  }
  void attention_backward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                          const Matrix& v, const Matrix& out, const AttentionSaved& saved,
                          const Matrix& d_out, const Matrix& d_q, const Matrix& d_k,
                          const Matrix& d_v) override {
    notes_.given.push_back(Given::backward);
    LazyKernels::attention_backward(shape, q, k, v, out, saved, d_out, d_q, d_k, d_v);
  }

 private:
  Notes& notes_;
};

class NotingQueue final : public DeviceQueue {
 public:
  NotingQueue(std::unique_ptr<DeviceQueue> queue, Notes& notes)
      : queue_(std::move(queue)), notes_(notes) {}

  void copy(const void* from, void* to, Bytes bytes) override {
    if (notes_.is_on_host(from)) notes_.given.push_back(Given::fetch);
    if (notes_.is_on_host(to)) notes_.given.push_back(Given::write_back);
    queue_->copy(from, to, bytes);
  }
  void reduce(std::span<const std::byte* const> inputs, std::span<std::byte* const> outputs,
              ElementRange range, DType dtype, Reduction reduction) override {
    queue_->reduce(inputs, outputs, range, dtype, reduction);
  }
  std::shared_ptr<const Point> point() override { return queue_->point(); }
  std::shared_ptr<const Point> timed_point() override { return queue_->timed_point(); }
  void wait_for(const std::shared_ptr<const Point>& point) override { queue_->wait_for(point); }
  void synchronize() override { queue_->synchronize(); }
  std::unique_ptr<RecordedWork> record(const std::function<void()>& give) override {
    return queue_->record(give);
  }
  void* native() override { return queue_->native(); }

 private:
  std::unique_ptr<DeviceQueue> queue_;
  Notes& notes_;
};

/// Says where the only piece of memory that is taken from it lies.
class NotingMemory final : public RawMemory {
 public:
  explicit NotingMemory(Notes& notes) : notes_(notes) {}
  void* allocate(Bytes bytes) override {
    void* const data = memory_->allocate(bytes);
    notes_.host_begin = static_cast<const std::byte*>(data);
    notes_.host_end = notes_.host_begin + bytes;
    return data;
  }
  void release(void* data, Bytes bytes) noexcept override { memory_->release(data, bytes); }

 private:
  Notes& notes_;
  std::unique_ptr<RawMemory> memory_ = make_host_memory();
};

class NotingGpu final : public Gpu {
 public:
  NotingGpu(int rank, Notes& notes) : notes_(notes), gpu_(rank) {}

  const GpuFacts& facts() const override { return gpu_.facts(); }
  std::unique_ptr<RawMemory> make_memory() override { return gpu_.make_memory(); }
  std::unique_ptr<RawMemory> make_host_memory() override {
    return std::make_unique<NotingMemory>(notes_);
  }
  std::unique_ptr<Kernels> make_kernels(Workspace& /*workspace*/) override {
    return std::make_unique<NotingKernels>(static_cast<LazyQueue&>(gpu_.queue()), notes_);
  }
  DeviceQueue& queue() override { return gpu_.queue(); }
  std::unique_ptr<DeviceQueue> make_queue() override {
    return std::make_unique<NotingQueue>(gpu_.make_queue(), notes_);
  }
  Bytes memory_in_use() override { return gpu_.memory_in_use(); }
  void set_watch(std::function<void(double)> /*watch*/) override {}

 private:
  Notes& notes_;
  LazyGpu gpu_;
};

TrainingOptions with_offload(const std::string& layout) {
  TrainingOptions options = small_options(small_llama(), "offload=optimizer " + layout);
  options.offload_portion = small_portion;
  return options;
}

/// body(trainer, notes) for every rank, on a GPU whose work is noted.
template <class Body>
void with_noted_trainers(const TrainingOptions& options, const Body& body) {
  std::vector<Notes> notes(static_cast<std::size_t>(options.layout.devices()));
  const auto notes_of = [&](int rank) -> Notes& { return notes[static_cast<std::size_t>(rank)]; };
  testing::with_trainers(
      options, [&](int rank) { return std::make_unique<NotingGpu>(rank, notes_of(rank)); },
      [&](Trainer& trainer, const World& world) { body(trainer, notes_of(world.rank())); });
}

std::int64_t count(const std::vector<Given>& given, Given kind) {
  return std::count(given.begin(), given.end(), kind);
}

/// Portions that hold the states of the first units of a rank; all of them: of all its units.
std::int64_t portions_of(Trainer& trainer, int first_units) {
  const auto& units = trainer.states().units();
  const std::int64_t sharers =
      trainer.options().layout.zero_stage > 0 ? trainer.options().layout.data_parallel : 1;
  std::int64_t elements = 0;
  const int counted = std::min(first_units, static_cast<int>(units.size()));
  for (int unit = 0; unit < counted; ++unit) {
    elements += (units[static_cast<std::size_t>(unit)].elements + sharers - 1) / sharers;
  }
  return (elements + small_portion - 1) / small_portion;
}

/// At the first forward pass of each unit, of what has been given: the updates, and the copies
/// back, are those of this unit and the ones before it (`ahead`: and of so many after it), and what
/// has been fetched is at most three portions more, for which there is room.
void expect_updates_just_before_use(Trainer& trainer, const std::vector<Given>& given, int ahead) {
  const int units = static_cast<int>(trainer.states().units().size());
  const std::int64_t kinds = 2;  // of fp32's states: two moments
  ASSERT_GT(portions_of(trainer, units), 5 * portions_of(trainer, 1));
  std::int64_t updates = 0, fetched = 0, written = 0;
  int used = 0;
  for (const Given kind : given) {
    updates += kind == Given::update ? 1 : 0;
    fetched += kind == Given::fetch ? 1 : 0;
    written += kind == Given::write_back ? 1 : 0;
    if (kind == Given::backward) break;
    if (kind != Given::forward) continue;
    // Table and layers come one by one; the loss needs final norm and head.
    used += used < units - 2 ? 1 : 2;
    SCOPED_TRACE(used);
    EXPECT_EQ(updates, portions_of(trainer, used + ahead));
    EXPECT_EQ(written, kinds * updates);
    EXPECT_EQ(fetched, kinds * updates);  // three portions ahead, since the step before
    if (used == units) break;
  }
  EXPECT_EQ(used, units);
}

class OffloadOrder : public ::testing::TestWithParam<std::pair<const char*, int>> {};

TEST_P(OffloadOrder, UpdatesAUnitJustBeforeItsFirstUse) {
  const auto& [layout, ahead] = GetParam();
  with_noted_trainers(with_offload(layout), [ahead = ahead](Trainer& trainer, Notes& notes) {
    notes.given.clear();
    trainer.run_step();
    EXPECT_EQ(count(notes.given, Given::update), 0);  // it leaves them to the next step
    EXPECT_EQ(count(notes.given, Given::fetch), 2 * 3);
    for (int step = 0; step < 2; ++step) {
      notes.given.clear();
      trainer.run_step();
      expect_updates_just_before_use(trainer, notes.given, ahead);
    }
  });
}

// What is gathered while the unit before it is computed is updated before that.
INSTANTIATE_TEST_SUITE_P(Layouts, OffloadOrder,
                         ::testing::Values(std::pair("tp=1", 0), std::pair("dp=2 zero=0", 0),
                                           std::pair("dp=2 zero=1 overlap-dp=false", 0),
                                           std::pair("dp=2 zero=1", 1), std::pair("dp=2 zero=2", 1),
                                           std::pair("dp=2 zero=3", 1)));

TEST(OffloadEnd, DoesWhatTheLastStepHasLeft) {
  with_noted_trainers(with_offload("dp=2 zero=1"), [](Trainer& trainer, Notes& notes) {
    trainer.run_step();
    const std::int64_t portions = portions_of(trainer, 100);
    EXPECT_EQ(count(notes.given, Given::update), 0);
    trainer.end_run();
    EXPECT_EQ(count(notes.given, Given::update), portions);
    EXPECT_EQ(count(notes.given, Given::write_back), 2 * portions);
    trainer.end_run();
    EXPECT_EQ(count(notes.given, Given::update), portions);
  });
}

TEST(OffloadEnd, ReportsWhatFailsThere) {
  with_noted_trainers(with_offload("tp=1"), [](Trainer& trainer, Notes& notes) {
    trainer.run_step();
    notes.refuse_updates = true;
    EXPECT_THROW(trainer.end_run(), std::runtime_error);
  });
}

/// The time of an update is counted in the step in which it is done.
TEST(OffloadSpans, AreOfTheStepThatUpdates) {
  with_noted_trainers(with_offload("tp=1"), [](Trainer& trainer, Notes&) {
    trainer.recorder().keep_spans(true);
    const auto updates_of_a_step = [&] {
      trainer.run_step();
      const std::vector<RecordedSpan> spans = trainer.recorder().take_spans();
      return std::count_if(spans.begin(), spans.end(), [](const RecordedSpan& span) {
        return span.activity == Activity::optimizer;
      });
    };
    EXPECT_EQ(updates_of_a_step(), 2);  // the first fetches, the norm of the gradients
    // Of each portion: waiting for it, its update, giving its copies.
    EXPECT_EQ(updates_of_a_step(), 2 + 3 * portions_of(trainer, 100));
  });
}

}  // namespace
}  // namespace kumihimo

#include "measure/bench_device.hpp"

#include <gtest/gtest.h>
#include <string>
#include <vector>

#include "comm/host_queue.hpp"

namespace kumihimo {
namespace {

/// A queue that notes what it is given, and whose points count the notes before them.
class NotingQueue final : public DeviceQueue {
 public:
  struct Place final : Point {
    explicit Place(double place_) : place(place_) {}
    double seconds_since(const Point& earlier) const override {
      EXPECT_LT(static_cast<const Place&>(earlier).place, place);
      return place - static_cast<const Place&>(earlier).place;
    }
    double place;
  };

  void copy(const void* from, void* to, Bytes bytes) override {
    notes.push_back("copy");
    HostQueue().copy(from, to, bytes);
  }
  void reduce(std::span<const std::byte* const> /*inputs*/, std::span<std::byte* const> /*outputs*/,
              ElementRange /*range*/, DType /*dtype*/, Reduction /*reduction*/) override {}
  std::shared_ptr<const Point> point() override { return timed_point(); }
  std::shared_ptr<const Point> timed_point() override {
    notes.push_back("time");
    return std::make_shared<Place>(static_cast<double>(notes.size()));
  }
  void wait_for(const std::shared_ptr<const Point>& /*point*/) override {}
  void synchronize() override { notes.push_back("wait"); }
  std::unique_ptr<RecordedWork> record(const std::function<void()>& /*give*/) override {
    return nullptr;
  }
  void* native() override { return nullptr; }

  std::vector<std::string> notes;
};

class NotingGpu final : public Gpu {
 public:
  const GpuFacts& facts() const override { return facts_; }
  std::unique_ptr<RawMemory> make_memory() override { return kumihimo::make_host_memory(); }
  std::unique_ptr<RawMemory> make_host_memory() override { return kumihimo::make_host_memory(); }
  std::unique_ptr<Kernels> make_kernels(Workspace& workspace) override {
    return make_reference_kernels(workspace);
  }
  DeviceQueue& queue() override { return noting; }
  std::unique_ptr<DeviceQueue> make_queue() override { return std::make_unique<NotingQueue>(); }
  Bytes memory_in_use() override { return 0; }
  void set_watch(std::function<void(double)> /*watch*/) override {}

  NotingQueue noting;

 private:
  GpuFacts facts_;
};

TEST(BenchDevice, KeepsAGpuBusyWhileItIsGivenWhatIsTimed) {
  NotingGpu gpu;
  BenchDevice device(&gpu);
  const double seconds = device.time([&] { gpu.noting.notes.push_back("work"); });
  // Then the clock's zero, which is waited for.
  EXPECT_EQ(gpu.noting.notes,
            (std::vector<std::string>{"copy", "time", "work", "time", "time", "wait"}));
  EXPECT_EQ(seconds, 2);  // from the second note to the fourth: without the copy
}

TEST(BenchDevice, CountsTheProcessorTimeOfAThreadElsewhere) {
  BenchDevice device(nullptr);
  int runs = 0;
  EXPECT_GE(device.time([&] { ++runs; }), 0);
  EXPECT_EQ(runs, 1);
}

}  // namespace
}  // namespace kumihimo

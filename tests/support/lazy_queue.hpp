#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "comm/host_queue.hpp"

namespace kumihimo::testing {

/// A queue as a GPU's is, on host memory: a thread of its own does what it is given, in order, some
/// time later. Who touches memory without having waited for the right points sees what is not yet
/// there, or races under the thread sanitizer.
class LazyQueue final : public DeviceQueue {
 public:
  explicit LazyQueue(std::uint64_t seed = 1) : random_(seed), thread_([this] { work(); }) {}
  ~LazyQueue() override {
    give([this] { closing_ = true; });
    thread_.join();
  }

  /// Later, after all that was given before.
  void give(std::function<void()> task) {
    if (state_.recording()) return recorded_.push_back(std::move(task));
    {
      const std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    changed_.notify_one();
  }

  void copy(const void* from, void* to, Bytes bytes) override {
    give([=] { HostQueue().copy(from, to, bytes); });
  }
  void reduce(std::span<const std::byte* const> inputs, std::span<std::byte* const> outputs,
              ElementRange range, DType dtype, Reduction reduction) override {
    give([ins = std::vector(inputs.begin(), inputs.end()),
          outs = std::vector(outputs.begin(), outputs.end()), range, dtype,
          reduction] { reduce_in_rank_order(ins, outs, range, dtype, reduction); });
  }
  std::shared_ptr<const Point> point() override {
    refuse_in_recording("a point of the queue was asked for");
    auto reached = std::make_shared<LazyPoint>();
    give([reached] { reached->reach(); });
    return reached;
  }
  std::shared_ptr<const Point> timed_point() override { return point(); }
  void wait_for(const std::shared_ptr<const Point>& point) override {
    if (!point) return;
    refuse_in_recording("another queue was waited for");
    give([point] { static_cast<const LazyPoint&>(*point).wait(); });
  }
  void synchronize() override {
    refuse_in_recording("the GPU was waited for");
    static_cast<const LazyPoint&>(*point()).wait();
  }
  std::unique_ptr<RecordedWork> record(const std::function<void()>& give) override {
    const RecordingState::Scope scope(state_);
    recorded_.clear();
    give();
    return std::make_unique<LazyWork>(*this, std::exchange(recorded_, {}));
  }
  void refuse_in_recording(std::string_view what) const { state_.refuse(what); }
  void* native() override { return nullptr; }

 private:
  class LazyWork final : public RecordedWork {
   public:
    LazyWork(LazyQueue& queue, std::vector<std::function<void()>> tasks)
        : queue_(queue),
          tasks_(std::make_shared<const std::vector<std::function<void()>>>(std::move(tasks))) {}
    void run() override {
      queue_.give([tasks = tasks_] {
        for (const std::function<void()>& task : *tasks) task();
      });
    }

   private:
    LazyQueue& queue_;
    std::shared_ptr<const std::vector<std::function<void()>>> tasks_;
  };

  class LazyPoint final : public Point {
   public:
    void reach() {
      {
        const std::lock_guard lock(mutex_);
        reached_ = true;
        when_ = std::chrono::steady_clock::now();
      }
      changed_.notify_all();
    }
    void wait() const {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return reached_; });
    }
    double seconds_since(const Point& earlier) const override {
      const auto begin = static_cast<const LazyPoint&>(earlier).time();
      KUMIHIMO_CHECK(begin <= time());
      return std::chrono::duration<double>(time() - begin).count();
    }

   private:
    /// Requires to have been reached.
    std::chrono::steady_clock::time_point time() const {
      const std::lock_guard lock(mutex_);
      KUMIHIMO_CHECK(reached_);
      return when_;
    }

    mutable std::mutex mutex_;
    mutable std::condition_variable changed_;
    bool reached_ = false;
    std::chrono::steady_clock::time_point when_;
  };

  void work() {
    while (!closing_) {
      std::function<void()> task;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return !tasks_.empty(); });
        task = std::move(tasks_.front());
        tasks_.pop_front();
      }
      // Now and then much later than the thread that gave it expects.
      if (random_() % 8 == 0) std::this_thread::sleep_for(std::chrono::microseconds(50));
      task();
    }
  }

  std::mt19937_64 random_;
  std::mutex mutex_;  // of tasks_
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  RecordingState state_;
  std::vector<std::function<void()>> recorded_;  ///< so far, while it records
  bool closing_ = false;                         ///< of the thread
  std::thread thread_;                           ///< last: it uses all the others
};

}  // namespace kumihimo::testing

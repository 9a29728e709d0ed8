#include "tensor/cuda_emulation/machine.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string>
#include <utility>

#include "base/check.hpp"

namespace kumihimo::cuda_emulation {
namespace {

thread_local Machine* running_machine = nullptr;

constexpr std::int64_t cell_bytes = 2;

std::string text_of(const Location& where) {
  const std::string path = where.file;
  return path.substr(path.rfind('/') + 1) + ":" + std::to_string(where.line);
}

std::string text_of(const Dim3& at) {
  return "(" + std::to_string(at.x) + ", " + std::to_string(at.y) + ", " + std::to_string(at.z) +
         ")";
}

}  // namespace

Machine& Machine::current() {
  KUMIHIMO_CHECK(running_machine != nullptr);
  return *running_machine;
}

std::uint64_t Machine::random() {  // xorshift64* (Vigna 2016, arXiv:1402.6246)
  random_ ^= random_ >> 12;
  random_ ^= random_ << 25;
  random_ ^= random_ >> 27;
  return random_ * 0x2545f4914f6cdd1d;
}

void Machine::run(const Launch& launch, const std::function<void()>& kernel) {
  KUMIHIMO_CHECK(running_machine == nullptr);
  const std::int64_t blocks = std::int64_t{launch.grid.x} * launch.grid.y * launch.grid.z;
  if (launch.threads == 0 || launch.threads > 1024 || launch.threads % warp_size != 0) {
    throw Fault("a block of " + std::to_string(launch.threads) + " threads");
  }
  if (launch.grid.y > 65535 || launch.grid.z > 65535 || launch.grid.x > 0x7fff'ffff) {
    throw Fault("a grid of " + text_of(launch.grid) + " blocks");
  }
  if (launch.shared_bytes > std::size_t{227} << 10) {
    throw Fault(std::to_string(launch.shared_bytes) + " bytes of shared memory");
  }
  random_ = (seed_ + 1) * 0x9e3779b97f4a7c15;
  ++launches_;
  launch_ = &launch;
  kernel_ = &kernel;
  block_shape_ = {launch.threads, 1, 1};
  shared_.resize(std::max(shared_.size(), launch.shared_bytes));
  cells_.resize(std::max(cells_.size(), launch.shared_bytes / cell_bytes + 1));
  while (threads_.size() < launch.threads) {
    threads_.emplace_back();
    threads_.back().number = static_cast<int>(threads_.size()) - 1;
    threads_.back().index = {static_cast<unsigned>(threads_.size()) - 1, 0, 0};
  }
  warps_.assign(launch.threads / warp_size, {});

  std::vector<std::int64_t> order(static_cast<std::size_t>(blocks));
  std::iota(order.begin(), order.end(), 0);
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random() % i]);
  running_machine = this;
  try {
    for (const std::int64_t number : order) {
      const auto linear = static_cast<std::uint64_t>(number);
      block_ = {static_cast<unsigned>(linear % launch.grid.x),
                static_cast<unsigned>(linear / launch.grid.x % launch.grid.y),
                static_cast<unsigned>(linear / launch.grid.x / launch.grid.y)};
      run_block();
    }
  } catch (...) {
    running_machine = nullptr;
    throw;
  }
  running_machine = nullptr;
}

void Machine::run_block() {
  block_began_ = block_synced_ = ++clock_;
  for (Warp& warp : warps_) warp = {0, clock_};
  const std::size_t count = launch_->threads;
  for (std::size_t i = 0; i < count; ++i) {
    Thread& thread = threads_[i];
    thread.state = State::runnable;
    thread.taken = 0;
    thread.groups.clear();
    thread.uncommitted.clear();
    if (thread.fiber) free_fibers_.push_back(std::move(thread.fiber));  // after a fault
  }
  fault_ = nullptr;

  std::vector<int> order(warps_.size());
  std::iota(order.begin(), order.end(), 0);
  do {
    for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random() % i]);
    for (const int warp : order) run_warp(warp);
  } while (release_barrier());
}

/// Until each of its lanes waits for other warps, or has returned.
void Machine::run_warp(int warp) {
  Thread* lanes = &threads_[static_cast<std::size_t>(warp * warp_size)];
  bool any_ran = true;
  while (any_ran) {
    any_ran = false;
    // An odd step visits all lanes.
    const std::uint64_t bits = random();
    const std::uint64_t first = bits >> 32, step = (bits >> 40) | 1;
    for (std::uint64_t i = 0; i < warp_size; ++i) {
      Thread& thread = lanes[(first + i * step) % warp_size];
      if (thread.state != State::runnable) continue;
      run_thread(thread);
      any_ran = true;
    }
  }
}

void Machine::run_thread(Thread& thread) {
  if (!thread.fiber) {
    if (free_fibers_.empty()) free_fibers_.push_back(std::make_unique<Fiber>());
    thread.fiber = std::move(free_fibers_.back());
    free_fibers_.pop_back();
    thread.fiber->prepare(
        [](void* machine) {
          auto* self = static_cast<Machine*>(machine);
          try {
            (*self->kernel_)();
          } catch (...) {
            self->fault_ = std::current_exception();
          }
          self->running_->state = State::returned;
        },
        this);
  }
  running_ = &thread;
  thread.fiber->resume();
  running_ = nullptr;
  if (fault_) std::rethrow_exception(fault_);
  if (thread.state == State::returned) {
    const bool copies = std::any_of(thread.groups.begin(), thread.groups.end(),
                                    [](const auto& group) { return !group.empty(); });
    if (copies || !thread.uncommitted.empty()) {
      throw Fault("thread " + text_of(thread.index) + " returns without waiting for its copies");
    }
    free_fibers_.push_back(std::move(thread.fiber));
  }
}

/// Lets all threads go on that have met at a barrier. False when all have returned.
bool Machine::release_barrier() {
  const auto begin = threads_.begin(), end = begin + launch_->threads;
  const auto has_returned = [](const Thread& each) { return each.state == State::returned; };
  if (std::all_of(begin, end, has_returned)) return false;
  for (auto thread = begin; thread != end; ++thread) {
    if (thread->state != State::in_block || thread->where != begin->where) fail_stuck();
  }
  for (auto thread = begin; thread != end; ++thread) thread->state = State::runnable;
  block_synced_ = ++clock_;
  return true;
}

void Machine::fail_stuck() const {
  std::string text = "block " + text_of(block_) + " is stuck:";
  std::string last;
  for (std::size_t i = 0; i < launch_->threads; ++i) {
    const Thread& thread = threads_[i];
    const std::string state =
        thread.state == State::returned
            ? "returned"
            : std::string("waits in ") + thread.instruction + " at " + text_of(thread.where);
    if (state != last) text += " thread " + std::to_string(i) + " " + state + ";";
    last = state;
  }
  throw Fault(text);
}

void Machine::fail(const std::string& what) const {
  throw Fault("block " + text_of(block_) + ", thread " + std::to_string(running_->number) + ": " +
              what);
}

void Machine::sync_threads(const Location& where) {
  Thread& self = *running_;
  self.state = State::in_block;
  self.instruction = "__syncthreads";
  self.where = where;
  self.fiber->suspend();
}

void Machine::meet(const char* instruction, const Location& where, void* argument,
                   void (*act)(void* const* arguments)) {
  Thread& self = *running_;
  self.instruction = instruction;
  self.where = where;
  self.argument = argument;
  const int warp_number = self.number / warp_size;
  Warp& warp = warps_[static_cast<std::size_t>(warp_number)];
  Thread* lanes = &threads_[static_cast<std::size_t>(warp_number * warp_size)];
  if (++warp.waiting < warp_size) {
    self.state = State::in_warp;
    self.fiber->suspend();
    return;
  }
  void* arguments[warp_size];
  for (int lane = 0; lane < warp_size; ++lane) {
    const Thread& other = lanes[lane];
    if (other.instruction != instruction || other.where != where) {
      fail(std::string(instruction) + " at " + text_of(where) + " meets " + other.instruction +
           " at " + text_of(other.where) + " in lane " + std::to_string(lane));
    }
    arguments[lane] = other.argument;
  }
  act(arguments);
  warp.waiting = 0;
  for (int lane = 0; lane < warp_size; ++lane) lanes[lane].state = State::runnable;
}

void Machine::sync_warp(const Location& where) {
  meet("__syncwarp", where, this, [](void* const* arguments) {
    auto* machine = static_cast<Machine*>(arguments[0]);
    const auto warp = static_cast<std::size_t>(machine->running_->number / warp_size);
    machine->warps_[warp].synced = ++machine->clock_;
  });
}

// --- Shared memory

std::int64_t Machine::take_shared(std::int64_t bytes) {
  const std::int64_t offset = running_->taken;
  running_->taken += (bytes + 15) / 16 * 16;
  if (offset + bytes > static_cast<std::int64_t>(launch_->shared_bytes)) {
    fail("takes " + std::to_string(offset + bytes) + " bytes of shared memory of " +
         std::to_string(launch_->shared_bytes));
  }
  return offset;
}

/// Whether what another thread did at `time` is over for the running one.
bool Machine::is_ordered(std::uint64_t time, int other_thread, int other_warp) const {
  const int warp = running_->number / warp_size;
  return other_thread == running_->number || time < block_synced_ ||
         (other_warp == warp && time < warps_[static_cast<std::size_t>(warp)].synced);
}

void Machine::check_range(std::int64_t offset, std::int64_t bytes) const {
  if (offset < 0 || offset + bytes > static_cast<std::int64_t>(launch_->shared_bytes)) {
    fail("bytes " + std::to_string(offset) + " to " + std::to_string(offset + bytes) +
         " of shared memory of " + std::to_string(launch_->shared_bytes));
  }
  if (offset % bytes != 0) {
    fail(std::to_string(bytes) + " bytes at byte " + std::to_string(offset) +
         " of shared memory are misaligned");
  }
}

const std::byte* Machine::read_shared(std::int64_t offset, std::int64_t bytes) {
  check_range(offset, bytes);
  const auto self = static_cast<std::int16_t>(running_->number);
  const auto warp = static_cast<std::int16_t>(self / warp_size);
  for (std::int64_t at = offset / cell_bytes; at * cell_bytes < offset + bytes; ++at) {
    Cell& cell = cells_[static_cast<std::size_t>(at)];
    if (cell.written < block_began_) {
      fail("reads byte " + std::to_string(at * cell_bytes) +
           " of shared memory, which nothing wrote");
    }
    if (cell.copying) {
      fail("reads byte " + std::to_string(at * cell_bytes) +
           " of shared memory during an asynchronous copy");
    }
    if (!is_ordered(cell.written, cell.writer, cell.writer / warp_size)) {
      fail("reads byte " + std::to_string(at * cell_bytes) + " of shared memory, which thread " +
           std::to_string(cell.writer) + " wrote with no barrier between");
    }
    // Readers of one stretch between barriers are kept together.
    const bool recent = cell.read >= block_synced_;
    if (recent && cell.reader != self) {
      cell.reader = several;
      if (cell.reader_warp != warp) cell.reader_warp = several;
    } else if (!recent) {
      cell.reader = self;
      cell.reader_warp = warp;
    }
    cell.read = clock_;
  }
  return shared_.data() + offset;
}

void Machine::note_write(std::int64_t offset, std::int64_t bytes, bool copying) {
  check_range(offset, bytes);
  for (std::int64_t at = offset / cell_bytes; at * cell_bytes < offset + bytes; ++at) {
    Cell& cell = cells_[static_cast<std::size_t>(at)];
    const bool was_written = cell.written >= block_began_;
    if (was_written && !is_ordered(cell.written, cell.writer, cell.writer / warp_size)) {
      fail("writes byte " + std::to_string(at * cell_bytes) + " of shared memory, as thread " +
           std::to_string(cell.writer) + " does with no barrier between");
    }
    if (cell.read >= block_began_ && !is_ordered(cell.read, cell.reader, cell.reader_warp)) {
      fail("writes byte " + std::to_string(at * cell_bytes) +
           " of shared memory, which another thread reads with no barrier between");
    }
    if (was_written && cell.copying && copying) {
      fail("copies twice to byte " + std::to_string(at * cell_bytes) + " of shared memory");
    }
    cell.written = clock_;
    cell.writer = static_cast<std::int16_t>(running_->number);
    cell.copying = copying;
  }
}

std::byte* Machine::write_shared(std::int64_t offset, std::int64_t bytes) {
  note_write(offset, bytes, false);
  return shared_.data() + offset;
}

void Machine::copy_async(std::int64_t offset, const void* from, std::int64_t bytes) {
  note_write(offset, bytes, true);
  std::memset(shared_.data() + offset, 0xff, static_cast<std::size_t>(bytes));
  const auto* data = static_cast<const std::byte*>(from);
  running_->uncommitted.push_back({offset, {data, data + bytes}});
}

void Machine::commit_copies() {
  running_->groups.push_back(std::exchange(running_->uncommitted, {}));
}

void Machine::wait_for_copies(int groups_left) {
  auto& groups = running_->groups;
  while (static_cast<int>(groups.size()) > groups_left) {
    for (const Copy& copy : groups.front()) {
      const auto bytes = static_cast<std::int64_t>(copy.bytes.size());
      for (std::int64_t at = copy.offset / cell_bytes; at * cell_bytes < copy.offset + bytes;
           ++at) {
        Cell& cell = cells_[static_cast<std::size_t>(at)];
        cell.copying = false;
        cell.written = clock_;
      }
      std::memcpy(shared_.data() + copy.offset, copy.bytes.data(), copy.bytes.size());
    }
    groups.erase(groups.begin());
  }
}

}  // namespace kumihimo::cuda_emulation

#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <vector>

#include "tensor/cuda_emulation/fiber.hpp"

namespace kumihimo::cuda_emulation {

inline constexpr int warp_size = 32;

/// Where a barrier or an instruction of a warp stands. (std::source_location is not in clang 14.)
struct Location {
  static constexpr Location current(const char* in_file = __builtin_FILE(),
                                    int at_line = __builtin_LINE()) {
    return {in_file, at_line};
  }
  bool operator==(const Location&) const = default;  // a file's name is one string

  const char* file = "";
  int line = 0;
};

/// Something that a kernel may not do. what() says which thread, where, and what was wrong.
class Fault : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

struct Dim3 {
  unsigned x = 1;
  unsigned y = 1;
  unsigned z = 1;
};

struct Launch {
  Dim3 grid;
  unsigned threads = 0;  ///< a block; a multiple of 32
  std::size_t shared_bytes = 0;
};

/// Runs kernels as a GPU would, one thread at a time: blocks one after the other, each thread of a
/// block on a fiber. A thread runs until it waits at a barrier or for the other lanes of its warp.
/// Which thread runs next, and which block, follows from the seed, so that what depends on the
/// order differs between seeds. Faults, as exceptions out of run():
/// - threads of a block that wait at different barriers, or for a thread that has returned;
/// - lanes of a warp that meet at different instructions;
/// - shared memory: outside an array, misaligned, read before it was written, or touched by two
///   threads, one of which writes, without a barrier (or __syncwarp in one warp) between; likewise
///   while an asynchronous copy into it is under way.
/// For one OS thread at a time.
class Machine {
 public:
  explicit Machine(std::uint64_t seed = 1) : seed_(seed) {}

  void run(const Launch& launch, const std::function<void()>& kernel);
  void set_seed(std::uint64_t seed) { seed_ = seed; }
  std::int64_t launches() const { return launches_; }

  /// The machine whose thread calls this.
  static Machine& current();

  // --- For the running thread

  const Dim3& thread_index() const { return running_->index; }
  const Dim3& block_index() const { return block_; }
  const Dim3& grid() const { return launch_->grid; }
  const Dim3& block_shape() const { return block_shape_; }
  int lane() const { return running_->number % warp_size; }

  void sync_threads(const Location& where);
  void sync_warp(const Location& where);

  /// All lanes of the warp meet at one instruction; once, with the argument of every lane,
  /// act(arguments of the lanes in order).
  void meet(const char* instruction, const Location& where, void* argument,
            void (*act)(void* const* arguments));

  // Shared memory, by bytes from the start of the block's. Arrays begin at multiples of 16.
  std::int64_t take_shared(std::int64_t bytes);
  const std::byte* read_shared(std::int64_t offset, std::int64_t bytes);
  std::byte* write_shared(std::int64_t offset, std::int64_t bytes);
  /// Is done at the latest when the thread waits for it, and not before.
  void copy_async(std::int64_t offset, const void* from, std::int64_t bytes);
  void commit_copies();
  void wait_for_copies(int groups_left);

  [[noreturn]] void fail(const std::string& what) const;

 private:
  enum class State : std::uint8_t { runnable, in_warp, in_block, returned };

  struct Copy {
    std::int64_t offset;
    std::vector<std::byte> bytes;
  };
  struct Thread {
    Dim3 index;
    int number = 0;
    State state = State::runnable;
    std::unique_ptr<Fiber> fiber;  ///< once it runs
    const char* instruction = nullptr;
    Location where;
    void* argument = nullptr;
    std::int64_t taken = 0;                 ///< bytes of shared memory, by its SharedMemory
    std::vector<std::vector<Copy>> groups;  ///< committed asynchronous copies, the oldest first
    std::vector<Copy> uncommitted;
  };
  struct Warp {
    int waiting = 0;
    std::uint64_t synced = 0;  ///< when its lanes last met in __syncwarp
  };
  /// What is known of two bytes of shared memory. Times are those of clock_.
  struct Cell {
    std::uint64_t written = 0;
    std::uint64_t read = 0;
    std::int16_t writer = 0;
    std::int16_t reader = 0;  ///< or several_in_warp, several_warps
    std::int16_t reader_warp = 0;
    bool copying = false;
  };
  static constexpr std::int16_t several = -1;

  void run_block();
  void run_warp(int warp);
  void run_thread(Thread& thread);
  bool release_barrier();
  [[noreturn]] void fail_stuck() const;
  bool is_ordered(std::uint64_t time, int other_thread, int other_warp) const;
  void check_range(std::int64_t offset, std::int64_t bytes) const;
  void note_write(std::int64_t offset, std::int64_t bytes, bool copying);
  std::uint64_t random();

  std::uint64_t seed_;
  std::uint64_t random_ = 0;
  std::int64_t launches_ = 0;

  const Launch* launch_ = nullptr;
  const std::function<void()>* kernel_ = nullptr;
  Dim3 block_, block_shape_;
  Thread* running_ = nullptr;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::vector<std::unique_ptr<Fiber>> free_fibers_;
  std::exception_ptr fault_;

  std::uint64_t clock_ = 0;         ///< counts barriers of blocks and warps
  std::uint64_t block_began_ = 0;   ///< on clock_
  std::uint64_t block_synced_ = 0;  ///< when all threads of the block last met
  std::vector<std::byte> shared_;
  std::vector<Cell> cells_;
};

}  // namespace kumihimo::cuda_emulation

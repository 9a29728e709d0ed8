#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "base/units.hpp"
#include "tensor/matrix.hpp"

namespace kumihimo {

/// What a rank's memory is for: the categories that the planner predicts.
enum class MemoryCategory : std::uint8_t {
  weights,
  gradients,
  optimizer,
  activations,    ///< kept from forward for backward
  communication,  ///< gathered weights, reduction buckets, messages between stages
  workspace,      ///< temporaries of the layer that is being computed
};

inline constexpr std::array<MemoryCategory, 6> all_memory_categories{
    MemoryCategory::weights,     MemoryCategory::gradients,     MemoryCategory::optimizer,
    MemoryCategory::activations, MemoryCategory::communication, MemoryCategory::workspace};

std::string_view to_string(MemoryCategory category);

struct MemoryByCategory {
  std::array<Bytes, all_memory_categories.size()> bytes{};

  Bytes& operator[](MemoryCategory category) { return bytes[static_cast<std::size_t>(category)]; }
  Bytes operator[](MemoryCategory category) const {
    return bytes[static_cast<std::size_t>(category)];
  }
  Bytes total() const;
};

/// A rank asked for more than its budget, or than there is. what() is the report: what was asked
/// for, what each category holds, the budget.
class OutOfMemory : public std::runtime_error {
 public:
  /// `place`: what is full, where there is no budget.
  OutOfMemory(MemoryCategory category, Bytes asked, const MemoryByCategory& held, Bytes budget,
              std::string_view place);

  MemoryCategory category;
  Bytes asked;
  MemoryByCategory held;
  Bytes budget;
};

/// Where bytes come from: host memory, or a device's.
class RawMemory {
 public:
  virtual ~RawMemory() = default;
  /// Aligned to 64 bytes and zeroed. Throws std::bad_alloc if there is none.
  virtual void* allocate(Bytes bytes) = 0;
  virtual void release(void* data, Bytes bytes) noexcept = 0;
  /// All that there is for everybody, or 0 where nobody knows.
  virtual Bytes capacity() const { return 0; }
  /// What runs out where nobody knows how much there is.
  virtual std::string_view place() const { return "this machine"; }
};

std::unique_ptr<RawMemory> make_host_memory();

class DeviceMemory;

/// Owns a piece of a rank's memory; gives it back when it goes.
class Buffer {
 public:
  Buffer() = default;
  Buffer(DeviceMemory& memory, MemoryCategory category, Bytes bytes);
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  void* data() const { return data_; }
  Bytes size() const { return bytes_; }

 private:
  DeviceMemory* memory_ = nullptr;
  MemoryCategory category_ = MemoryCategory::workspace;
  Bytes bytes_ = 0;
  void* data_ = nullptr;
};

/// All memory of one rank, under one budget, counted by category to the byte. Outlives its buffers.
/// For one thread.
class DeviceMemory {
 public:
  /// `budget` 0: as much as there is. Where that is no more, OutOfMemory says so as for a budget.
  explicit DeviceMemory(std::unique_ptr<RawMemory> raw, Bytes budget = 0);

  const MemoryByCategory& held() const { return held_; }
  /// The most that each category held at any moment.
  const MemoryByCategory& peak() const { return peak_; }
  /// The most that all categories held together.
  Bytes peak_total() const { return peak_total_; }
  Bytes budget() const { return budget_; }
  /// Pieces handed out so far: does not change during a step once the engine is warm.
  std::int64_t allocations() const { return allocations_; }

 private:
  friend class Buffer;
  void* allocate(MemoryCategory category, Bytes bytes);
  void release(MemoryCategory category, Bytes bytes, void* data) noexcept;

  std::unique_ptr<RawMemory> raw_;
  Bytes budget_;
  MemoryByCategory held_, peak_;
  Bytes peak_total_ = 0;
  std::int64_t allocations_ = 0;
};

/// Temporaries in the order of a stack. In the first steps every piece is allocated on its own and
/// the high-water mark is noted; settle() then allocates one block of that size, after which
/// nothing is allocated any more, unless a step needs more than any before it.
class Workspace {
 public:
  explicit Workspace(DeviceMemory& memory);

  /// The pieces taken since a scope was made go when it ends. Scopes nest.
  class Scope {
   public:
    explicit Scope(Workspace& workspace)
        : workspace_(workspace),
          used_(workspace.used_),
          in_block_(workspace.in_block_),
          pieces_(workspace.pieces_.size()) {}
    ~Scope() { workspace_.pop(used_, in_block_, pieces_); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Workspace& workspace_;
    Bytes used_;
    Bytes in_block_;
    std::size_t pieces_;
  };

  /// Contiguous, aligned to 64 bytes, contents undefined. Valid until the innermost scope ends.
  Matrix take(std::int64_t rows, std::int64_t cols, DType dtype);

  void settle();
  /// Where the next piece will lie, if the block has room for it.
  const void* next() const { return static_cast<const std::byte*>(block_.data()) + in_block_; }

 private:
  void pop(Bytes used, Bytes in_block, std::size_t pieces) noexcept;

  DeviceMemory& memory_;
  Buffer block_;
  Bytes used_ = 0;      ///< of block_ and of pieces_ together
  Bytes in_block_ = 0;  ///< of block_
  Bytes highest_ = 0;
  std::vector<Buffer> pieces_;  ///< what did not fit into block_
};

}  // namespace kumihimo

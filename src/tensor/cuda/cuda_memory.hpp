#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "tensor/cuda/cuda_queue.hpp"
#include "tensor/device_memory.hpp"

namespace kumihimo::cuda {

/// A GPU's memory, taken and given back in the order of a queue: nobody waits for the GPU, and a
/// piece can be handed on while its last kernel has yet to run.
class CudaMemory final : public RawMemory {
 public:
  /// `capacity`: of the GPU, for reports.
  CudaMemory(std::shared_ptr<CudaQueue> queue, Bytes capacity);

  void* allocate(Bytes bytes) override;
  void release(void* data, Bytes bytes) noexcept override;
  Bytes capacity() const override { return capacity_; }

 private:
  std::shared_ptr<CudaQueue> queue_;
  Bytes capacity_;
};

/// Host memory that the GPU reaches by itself: pinned, so that it cannot be paged out. Pieces are
/// given back at once: nobody may be copying there.
class PinnedMemory final : public RawMemory {
 public:
  explicit PinnedMemory(int ordinal) : ordinal_(ordinal) {}

  void* allocate(Bytes bytes) override;
  void release(void* data, Bytes bytes) noexcept override;
  std::string_view place() const override {
    return "what CUDA can pin of this machine's host memory (other ranks here share it)";
  }

 private:
  int ordinal_;
};

/// A piece of such memory, for the back end itself.
class PinnedBuffer {
 public:
  PinnedBuffer(int ordinal, std::size_t bytes);
  ~PinnedBuffer();
  PinnedBuffer(const PinnedBuffer&) = delete;
  PinnedBuffer& operator=(const PinnedBuffer&) = delete;

  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_;
};

/// Takes bytes of any host memory to the GPU and back, through pinned memory used in turn. Uploads
/// are not waited for, unless all of it is under way.
class Staging {
 public:
  explicit Staging(std::shared_ptr<CudaQueue> queue);

  /// `from` may be touched when this returns.
  void upload(const void* from, void* to, std::size_t bytes);
  /// Waits for all that the queue was given.
  void download(const void* from, void* to, std::size_t bytes);

 private:
  struct Slot {
    std::byte* data = nullptr;
    std::unique_ptr<PooledEvent> last_use;
  };
  /// A slot that the GPU is done with.
  Slot& next_slot();
  void end_use(Slot& slot);

  std::shared_ptr<CudaQueue> queue_;
  PinnedBuffer memory_;
  std::vector<Slot> slots_;
  std::size_t next_ = 0;
};

}  // namespace kumihimo::cuda

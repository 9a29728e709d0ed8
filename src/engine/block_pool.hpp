#pragma once

#include <cstddef>
#include <vector>

#include "tensor/device_memory.hpp"

namespace kumihimo {

/// Blocks of one size, all allocated at the start, handed out and taken back.
class BlockPool {
 public:
  BlockPool(DeviceMemory& memory, MemoryCategory category, Bytes block_bytes, int blocks)
      : buffer_(memory, category, block_bytes * blocks) {
    for (int i = blocks - 1; i >= 0; --i) {
      free_.push_back(static_cast<std::byte*>(buffer_.data()) + block_bytes * i);
    }
  }

  void* acquire() {
    KUMIHIMO_CHECK(!free_.empty());
    void* block = free_.back();
    free_.pop_back();
    return block;
  }
  void release(void* block) { free_.push_back(block); }
  /// The last first, so that who acquires as many again finds them in the same order.
  void release_all(std::vector<void*>& blocks) {
    free_.insert(free_.end(), blocks.rbegin(), blocks.rend());
    blocks.clear();
  }

 private:
  Buffer buffer_;
  std::vector<void*> free_;
};

}  // namespace kumihimo

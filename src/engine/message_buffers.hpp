#pragma once

#include <memory>
#include <vector>

#include "comm/process_group.hpp"
#include "tensor/device_memory.hpp"

namespace kumihimo {

/// Buffers for messages to a neighbour, used in turn. A buffer is free again when the receiver has
/// taken what it held.
class MessageBuffers {
 public:
  MessageBuffers(DeviceMemory& memory, std::int64_t rows, std::int64_t cols, DType dtype,
                 int buffers, ProcessGroup& group)
      : memory_(memory, MemoryCategory::communication, rows * cols * bytes_of(dtype) * buffers),
        group_(group) {
    for (int i = 0; i < buffers; ++i) {
      auto* data = static_cast<std::byte*>(memory_.data()) + rows * cols * bytes_of(dtype) * i;
      slots_.push_back({matrix_at(data, rows, cols, dtype), nullptr});
    }
  }

  /// The next buffer; waits until its last message is through.
  const Matrix& acquire() {
    Slot& slot = slots_[next_];
    finish(slot);
    return slot.matrix;
  }
  /// Starts sending the buffer that acquire() has given last.
  void send(int peer) {
    Slot& slot = slots_[next_];
    slot.message = group_.start_send(slot.matrix, peer);
    next_ = (next_ + 1) % slots_.size();
  }
  void receive(const Matrix& into, int peer) {
    const std::unique_ptr<Message> message = group_.start_receive(into, peer);
    group_.wait(*message);
  }
  /// Waits until all messages are through.
  void finish_all() {
    for (Slot& slot : slots_) finish(slot);
  }

 private:
  struct Slot {
    Matrix matrix;
    std::unique_ptr<Message> message;
  };
  void finish(Slot& slot) {
    if (slot.message) group_.wait(*slot.message);
    slot.message.reset();
  }

  Buffer memory_;
  ProcessGroup& group_;
  std::vector<Slot> slots_;
  std::size_t next_ = 0;
};

}  // namespace kumihimo

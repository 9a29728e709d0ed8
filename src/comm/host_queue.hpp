#pragma once

#include <cstring>

#include "comm/rank_order.hpp"
#include "tensor/device_queue.hpp"

namespace kumihimo {

/// The host's own memory: everything is done when it is given, by the calling thread.
class HostQueue final : public DeviceQueue {
 public:
  void copy(const void* from, void* to, Bytes bytes) override {
    if (from == to || bytes == 0) return;
    std::memcpy(to, from, static_cast<std::size_t>(bytes));
  }
  void reduce(std::span<const std::byte* const> inputs, std::span<std::byte* const> outputs,
              ElementRange range, DType dtype, Reduction reduction) override {
    reduce_in_rank_order(inputs, outputs, range, dtype, reduction);
  }
  std::shared_ptr<const Point> point() override { return nullptr; }
  std::shared_ptr<const Point> timed_point() override { return nullptr; }
  void wait_for(const std::shared_ptr<const Point>& /*point*/) override {}
  void synchronize() override {}
  std::unique_ptr<RecordedWork> record(const std::function<void()>& /*give*/) override {
    return nullptr;
  }
  void* native() override { return nullptr; }
};

}  // namespace kumihimo

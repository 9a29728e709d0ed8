#include "tensor/cuda/cuda_memory.hpp"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "base/check.hpp"

namespace kumihimo::cuda {
namespace {

/// Tokens of a micro-batch fit into one slot; weights pass through all of them.
constexpr std::size_t slot_bytes = std::size_t{2} << 20;
constexpr std::size_t slot_count = 8;

}  // namespace

CudaMemory::CudaMemory(std::shared_ptr<CudaQueue> queue, Bytes capacity)
    : queue_(std::move(queue)), capacity_(capacity) {
  use_device(queue_->ordinal());
  int has_pools = 0;
  check(cudaDeviceGetAttribute(&has_pools, cudaDevAttrMemoryPoolsSupported, queue_->ordinal()));
  if (has_pools == 0) fail("CUDA", "this GPU or its driver has no memory pools", {});
}

void* CudaMemory::allocate(Bytes bytes) {
  queue_->refuse_in_recording("memory was allocated");
  use_device(queue_->ordinal());
  void* data = nullptr;
  check(cudaMallocAsync(&data, static_cast<std::size_t>(bytes), queue_->stream()));
  check(cudaMemsetAsync(data, 0, static_cast<std::size_t>(bytes), queue_->stream()));
  return data;
}

void CudaMemory::release(void* data, Bytes /*bytes*/) noexcept {
  // A failing GPU is reported where its work is waited for; in the middle of a recording this
  // breaks off the capture, which its end reports.
  if (cudaSetDevice(queue_->ordinal()) == cudaSuccess) cudaFreeAsync(data, queue_->stream());
}

void* PinnedMemory::allocate(Bytes bytes) {
  use_device(ordinal_);
  void* data = nullptr;
  check(cudaHostAlloc(&data, static_cast<std::size_t>(bytes), cudaHostAllocPortable));
  std::memset(data, 0, static_cast<std::size_t>(bytes));
  return data;
}

void PinnedMemory::release(void* data, Bytes /*bytes*/) noexcept { cudaFreeHost(data); }

PinnedBuffer::PinnedBuffer(int ordinal, std::size_t bytes) : size_(bytes) {
  use_device(ordinal);
  void* data = nullptr;
  check(cudaHostAlloc(&data, bytes, cudaHostAllocPortable));
  data_ = static_cast<std::byte*>(data);
}

PinnedBuffer::~PinnedBuffer() { cudaFreeHost(data_); }

Staging::Staging(std::shared_ptr<CudaQueue> queue)
    : queue_(std::move(queue)), memory_(queue_->ordinal(), slot_bytes * slot_count) {
  for (std::size_t i = 0; i < slot_count; ++i) {
    slots_.push_back({memory_.data() + i * slot_bytes, nullptr});
  }
}

Staging::Slot& Staging::next_slot() {
  Slot& slot = slots_[next_];
  next_ = (next_ + 1) % slots_.size();
  if (slot.last_use) queue_->wait_on_host(slot.last_use->get());
  return slot;
}

void Staging::end_use(Slot& slot) {
  if (!slot.last_use) slot.last_use = std::make_unique<PooledEvent>(queue_->events());
  check(cudaEventRecord(slot.last_use->get(), queue_->stream()));
}

void Staging::upload(const void* from, void* to, std::size_t bytes) {
  queue_->refuse_in_recording("host memory was copied to the GPU");
  use_device(queue_->ordinal());
  for (std::size_t done = 0; done < bytes; done += slot_bytes) {
    const std::size_t part = std::min(slot_bytes, bytes - done);
    Slot& slot = next_slot();
    std::memcpy(slot.data, static_cast<const std::byte*>(from) + done, part);
    check(cudaMemcpyAsync(static_cast<std::byte*>(to) + done, slot.data, part,
                          cudaMemcpyHostToDevice, queue_->stream()));
    end_use(slot);
  }
}

void Staging::download(const void* from, void* to, std::size_t bytes) {
  queue_->refuse_in_recording("the GPU's memory was copied to the host");
  use_device(queue_->ordinal());
  if (bytes == 0) return queue_->synchronize();
  // Parts are fetched ahead of the one that is being taken out.
  struct Part {
    Slot* slot;
    std::size_t first, bytes;
  };
  std::vector<Part> under_way;
  const auto take_out = [&](const Part& part) {
    queue_->wait_on_host(part.slot->last_use->get());
    std::memcpy(static_cast<std::byte*>(to) + part.first, part.slot->data, part.bytes);
  };
  std::size_t taken = 0;
  for (std::size_t first = 0; first < bytes; first += slot_bytes) {
    if (under_way.size() - taken == slots_.size()) take_out(under_way[taken++]);
    const std::size_t part = std::min(slot_bytes, bytes - first);
    Slot& slot = next_slot();
    check(cudaMemcpyAsync(slot.data, static_cast<const std::byte*>(from) + first, part,
                          cudaMemcpyDeviceToHost, queue_->stream()));
    end_use(slot);
    under_way.push_back({&slot, first, part});
  }
  for (; taken < under_way.size(); ++taken) take_out(under_way[taken]);
}

}  // namespace kumihimo::cuda

#include "tensor/device_memory.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fmt/format.h>
#include <new>
#include <numeric>
#include <utility>

namespace kumihimo {
namespace {

constexpr Bytes alignment = 64;

Bytes aligned(Bytes bytes) { return (bytes + alignment - 1) / alignment * alignment; }

std::string text_of(Bytes bytes) { return format_bytes(static_cast<double>(bytes)); }

std::string report(MemoryCategory category, Bytes asked, const MemoryByCategory& held, Bytes budget,
                   std::string_view place) {
  const std::string limit = budget > 0 ? text_of(budget) : std::string(place);
  std::string text =
      fmt::format("out of memory: {} more for {} does not fit into {}; held:", text_of(asked),
                  to_string(category), limit);
  for (const MemoryCategory each : all_memory_categories) {
    text += fmt::format(" {} {},", to_string(each), text_of(held[each]));
  }
  return text + fmt::format(" together {}", text_of(held.total()));
}

class HostMemory final : public RawMemory {
 public:
  void* allocate(Bytes bytes) override {
    void* data = std::aligned_alloc(alignment, static_cast<std::size_t>(aligned(bytes)));
    if (data == nullptr) throw std::bad_alloc();
    std::memset(data, 0, static_cast<std::size_t>(bytes));
    return data;
  }
  void release(void* data, Bytes /*bytes*/) noexcept override { std::free(data); }
};

}  // namespace

std::string_view to_string(MemoryCategory category) {
  switch (category) {
    case MemoryCategory::weights: return "weights";
    case MemoryCategory::gradients: return "gradients";
    case MemoryCategory::optimizer: return "optimizer";
    case MemoryCategory::activations: return "activations";
    case MemoryCategory::communication: return "communication";
    case MemoryCategory::workspace: return "workspace";
  }
  return "?";
}

Bytes MemoryByCategory::total() const {
  return std::accumulate(bytes.begin(), bytes.end(), Bytes{0});
}

OutOfMemory::OutOfMemory(MemoryCategory category_, Bytes asked_, const MemoryByCategory& held_,
                         Bytes budget_, std::string_view place)
    : std::runtime_error(report(category_, asked_, held_, budget_, place)),
      category(category_),
      asked(asked_),
      held(held_),
      budget(budget_) {}

std::unique_ptr<RawMemory> make_host_memory() { return std::make_unique<HostMemory>(); }

Buffer::Buffer(DeviceMemory& memory, MemoryCategory category, Bytes bytes)
    : memory_(&memory),
      category_(category),
      bytes_(bytes),
      data_(memory.allocate(category, bytes)) {}

Buffer::~Buffer() {
  if (data_ != nullptr) memory_->release(category_, bytes_, data_);
}

Buffer::Buffer(Buffer&& other) noexcept
    : memory_(other.memory_),
      category_(other.category_),
      bytes_(std::exchange(other.bytes_, 0)),
      data_(std::exchange(other.data_, nullptr)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(memory_, other.memory_);
  std::swap(category_, other.category_);
  std::swap(bytes_, other.bytes_);
  std::swap(data_, other.data_);
  return *this;
}

DeviceMemory::DeviceMemory(std::unique_ptr<RawMemory> raw, Bytes budget)
    : raw_(std::move(raw)), budget_(budget) {}

void* DeviceMemory::allocate(MemoryCategory category, Bytes bytes) {
  KUMIHIMO_CHECK(bytes >= 0);
  if (bytes == 0) return nullptr;
  if (budget_ > 0 && bytes > budget_ - held_.total()) {
    throw OutOfMemory(category, bytes, held_, budget_, raw_->place());
  }
  void* data = nullptr;
  try {
    data = raw_->allocate(bytes);
  } catch (const std::bad_alloc&) {
    throw OutOfMemory(category, bytes, held_, raw_->capacity(), raw_->place());
  }
  held_[category] += bytes;
  peak_[category] = std::max(peak_[category], held_[category]);
  peak_total_ = std::max(peak_total_, held_.total());
  ++allocations_;
  return data;
}

void DeviceMemory::release(MemoryCategory category, Bytes bytes, void* data) noexcept {
  raw_->release(data, bytes);
  held_[category] -= bytes;
}

Workspace::Workspace(DeviceMemory& memory) : memory_(memory) {}

Matrix Workspace::take(std::int64_t rows, std::int64_t cols, DType dtype) {
  const Bytes bytes = aligned(rows * cols * bytes_of(dtype));
  used_ += bytes;
  highest_ = std::max(highest_, used_);
  void* data = nullptr;
  if (in_block_ + bytes <= block_.size()) {
    data = static_cast<std::byte*>(block_.data()) + in_block_;
    in_block_ += bytes;
  } else {
    pieces_.emplace_back(memory_, MemoryCategory::workspace, bytes);
    data = pieces_.back().data();
  }
  return matrix_at(data, rows, cols, dtype);
}

void Workspace::pop(Bytes used, Bytes in_block, std::size_t pieces) noexcept {
  pieces_.resize(pieces);
  used_ = used;
  in_block_ = in_block;
}

void Workspace::settle() {
  KUMIHIMO_CHECK(used_ == 0);
  if (block_.size() >= highest_) return;
  block_ = Buffer();
  block_ = Buffer(memory_, MemoryCategory::workspace, highest_);
}

}  // namespace kumihimo

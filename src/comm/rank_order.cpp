#include "comm/rank_order.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <type_traits>

namespace kumihimo {
namespace {

// The running sum of a block stays in the first-level cache, whatever the number of ranks.
constexpr std::int64_t block_elements = 1024;

struct BFloat16 {
  std::uint16_t bits;
};

float widened(BFloat16 value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16);
}
float widened(float value) { return value; }
double widened(double value) { return value; }
/// Unsigned, since a sum of int32 may wrap around.
std::uint32_t widened(std::int32_t value) { return static_cast<std::uint32_t>(value); }

void narrow(float value, BFloat16& out) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t to_nearest_even = 0x7fff + ((bits >> 16) & 1);
  const bool nan = (bits & 0x7fffffff) > 0x7f800000;
  out.bits = static_cast<std::uint16_t>(nan ? (bits >> 16) | 0x40 : (bits + to_nearest_even) >> 16);
}
void narrow(std::uint32_t value, std::int32_t& out) { out = static_cast<std::int32_t>(value); }

template <class T>
T larger(T a, T b) {
  return a < b || b != b ? b : a;  // b != b: a NaN
}
std::uint32_t larger(std::uint32_t a, std::uint32_t b) {
  return static_cast<std::int32_t>(a) < static_cast<std::int32_t>(b) ? b : a;
}

template <class Sum, class Element>
void add_to(std::span<Sum> sums, const Element* in, Reduction reduction) {
  if (reduction == Reduction::sum) {
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += widened(in[i]);
  } else {
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] = larger(sums[i], widened(in[i]));
  }
}

template <class Element>
void reduce_blocks(std::span<const std::byte* const> inputs, std::span<std::byte* const> outputs,
                   ElementRange range, Reduction reduction) {
  using Sum = decltype(widened(Element{}));
  std::array<Sum, block_elements> block;
  std::array<Element, block_elements> narrowed;
  for (std::int64_t done = 0; done < range.count; done += block_elements) {
    const std::int64_t first = range.first + done;
    const auto in = [&](std::size_t rank) {
      return reinterpret_cast<const Element*>(inputs[rank]) + first;
    };
    const std::span<Sum> sums(
        block.data(), static_cast<std::size_t>(std::min(block_elements, range.count - done)));
    std::transform(in(0), in(0) + sums.size(), sums.data(), [](Element x) { return widened(x); });
    for (std::size_t rank = 1; rank < inputs.size(); ++rank) add_to(sums, in(rank), reduction);

    const void* result = sums.data();
    if constexpr (!std::is_same_v<Sum, Element>) {
      for (std::size_t i = 0; i < sums.size(); ++i) narrow(sums[i], narrowed[i]);
      result = narrowed.data();
    }
    for (std::byte* output : outputs) {
      std::memcpy(reinterpret_cast<Element*>(output) + first, result,
                  sums.size() * sizeof(Element));
    }
  }
}

}  // namespace

ElementRange share_of(std::int64_t elements, int rank, int size) {
  constexpr std::int64_t grain = 64;
  const std::int64_t grains = (elements + grain - 1) / grain;
  const auto boundary = [&](std::int64_t member) {
    return std::min(elements, grains * member / size * grain);
  };
  return {boundary(rank), boundary(rank + 1) - boundary(rank)};
}

void reduce_in_rank_order(std::span<const std::byte* const> inputs,
                          std::span<std::byte* const> outputs, ElementRange range, DType dtype,
                          Reduction reduction) {
  switch (dtype) {
    case DType::fp64: return reduce_blocks<double>(inputs, outputs, range, reduction);
    case DType::fp32: return reduce_blocks<float>(inputs, outputs, range, reduction);
    case DType::bf16: return reduce_blocks<BFloat16>(inputs, outputs, range, reduction);
    case DType::int32: return reduce_blocks<std::int32_t>(inputs, outputs, range, reduction);
    case DType::fp8_e4m3:
    case DType::fp8_e5m2: break;
  }
  KUMIHIMO_CHECK(false && "a dtype that has a sum");
}

}  // namespace kumihimo

#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>

#include "tensor/cuda_emulation/machine.hpp"
#include "tensor/float_formats.hpp"

// What tensor/cuda/simt/simt.hpp means on the emulated GPU. Conversions round as the hardware does,
// NaN included. Products of matrix units are exact and summed in fp32, in the order of k; the
// hardware may round sums in another way (it truncates below the largest term's last places).

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define threadIdx (::kumihimo::cuda_emulation::Machine::current().thread_index())
#define blockIdx (::kumihimo::cuda_emulation::Machine::current().block_index())
#define blockDim (::kumihimo::cuda_emulation::Machine::current().block_shape())
#define gridDim (::kumihimo::cuda_emulation::Machine::current().grid())

/// A stream runs what it is given at once.
struct CUstream_st {
  kumihimo::cuda_emulation::Machine machine;
};

namespace kumihimo::emulated_cuda {

using cuda_emulation::Location;
using cuda_emulation::Machine;

struct Bf16 {
  std::uint16_t bits;
};

inline float widened(Bf16 value) { return from_bf16(value.bits); }
inline Bf16 narrowed(float value) {
  // The hardware's NaN has no payload.
  return {value == value ? to_bf16(value) : std::uint16_t{0x7fff}};
}

inline std::uint32_t narrowed_pair(float first, float second) {
  return narrowed(first).bits | (std::uint32_t{narrowed(second).bits} << 16);
}
inline std::uint32_t bits_of(float value) { return std::bit_cast<std::uint32_t>(value); }
inline float float_of(std::uint32_t bits) { return std::bit_cast<float>(bits); }
inline float fast_exp2(float x) { return std::exp2(x); }

template <bool e4m3>
std::uint8_t fp8_code(float value) {
  const std::uint8_t code = to_fp8(e4m3 ? fp8_e4m3_format : fp8_e5m2_format, value);
  return value == value ? code : std::uint8_t{0x7f};
}
template <bool e4m3>
std::uint16_t fp8_pair(float first, float second) {
  return static_cast<std::uint16_t>(fp8_code<e4m3>(first) | (fp8_code<e4m3>(second) << 8));
}
template <bool e4m3>
float fp8_value(std::uint8_t code) {
  return from_fp8(e4m3 ? fp8_e4m3_format : fp8_e5m2_format, code);
}

// --- Barriers and the lanes of a warp

inline constexpr unsigned all_lanes = 0xffff'ffff;

inline void __syncthreads(const Location& where = Location::current()) {
  Machine::current().sync_threads(where);
}
inline void __syncwarp(const Location& where = Location::current()) {
  Machine::current().sync_warp(where);
}

template <class T>
struct Shuffle {
  T value;
  unsigned from;
  T result;
};

template <class T>
T shuffle(const char* name, T value, unsigned from, const Location& where) {
  Shuffle<T> mine{value, from, {}};
  Machine::current().meet(name, where, &mine, [](void* const* lanes) {
    for (int lane = 0; lane < cuda_emulation::warp_size; ++lane) {
      auto* self = static_cast<Shuffle<T>*>(lanes[lane]);
      self->result = static_cast<Shuffle<T>*>(lanes[self->from % 32])->value;
    }
  });
  return mine.result;
}

template <class T>
T __shfl_sync(unsigned mask, T value, int lane, const Location& where = Location::current()) {
  if (mask != all_lanes) Machine::current().fail("__shfl_sync of some lanes only");
  return shuffle("__shfl_sync", value, static_cast<unsigned>(lane), where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, const Location& where = Location::current()) {
  if (mask != all_lanes) Machine::current().fail("__shfl_xor_sync of some lanes only");
  const auto lane = static_cast<unsigned>(Machine::current().lane());
  return shuffle("__shfl_xor_sync", value, lane ^ static_cast<unsigned>(bits), where);
}

// --- Memory

/// An element of shared memory.
template <class T>
class SharedReference {
 public:
  explicit SharedReference(std::int64_t offset) : offset_(offset) {}

  operator std::remove_const_t<T>() const {
    std::remove_const_t<T> value;
    std::memcpy(&value, Machine::current().read_shared(offset_, sizeof(T)), sizeof(T));
    return value;
  }
  const SharedReference& operator=(std::remove_const_t<T> value) const {
    static_assert(!std::is_const_v<T>);
    std::memcpy(Machine::current().write_shared(offset_, sizeof(T)), &value, sizeof(T));
    return *this;
  }
  const SharedReference& operator=(const SharedReference& other) const {
    return *this = static_cast<std::remove_const_t<T>>(other);
  }
  const SharedReference& operator+=(std::remove_const_t<T> value) const {
    return *this = static_cast<std::remove_const_t<T>>(*this) + value;
  }

 private:
  std::int64_t offset_;
};

/// Points into an array of shared memory, and does not leave it.
template <class T>
class SharedPointer {
 public:
  SharedPointer() = default;
  SharedPointer(std::int64_t begin, std::int64_t end) : begin_(begin), end_(end), at_(begin) {}
  template <class U>
  requires std::is_same_v<const U, T> SharedPointer(const SharedPointer<U>& other)
      : begin_(other.begin()), end_(other.end()), at_(other.offset()) {}

  SharedReference<T> operator[](std::int64_t index) const {
    return SharedReference<T>(checked(at_ + index * size, size));
  }
  SharedPointer operator+(std::int64_t elements) const {
    SharedPointer moved = *this;
    moved.at_ += elements * size;
    return moved;
  }

  /// The place of `bytes` bytes from here, which must be inside.
  std::int64_t checked(std::int64_t bytes) const { return checked(at_, bytes); }
  std::int64_t begin() const { return begin_; }
  std::int64_t end() const { return end_; }
  std::int64_t offset() const { return at_; }

 private:
  static constexpr std::int64_t size = sizeof(T);

  std::int64_t checked(std::int64_t offset, std::int64_t bytes) const {
    if (offset < begin_ || offset + bytes > end_) {
      Machine::current().fail("byte " + std::to_string(offset - begin_) +
                              " of an array of shared memory of " + std::to_string(end_ - begin_));
    }
    return offset;
  }

  std::int64_t begin_ = 0, end_ = 0, at_ = 0;
};

/// The block's dynamic shared memory, from its start.
class SharedMemory {
 public:
  template <class T>
  SharedPointer<T> take(int count) {
    const std::int64_t bytes = count * static_cast<std::int64_t>(sizeof(T));
    const std::int64_t begin = Machine::current().take_shared(bytes);
    return {begin, begin + bytes};
  }
};

template <class T, int count>
struct Vector {
  T elements[count];
};

/// The piece that one instruction moves.
template <class T, int count>
void check_aligned(const T* address) {
  constexpr std::size_t bytes = sizeof(T) * count < 16 ? sizeof(T) * count : 16;
  if (reinterpret_cast<std::uintptr_t>(address) % bytes != 0) {
    Machine::current().fail("a misaligned access of " + std::to_string(bytes) + " bytes");
  }
}

template <int count, class T>
Vector<T, count> load_vector(const T* from) {
  check_aligned<T, count>(from);
  Vector<T, count> vector;
  std::memcpy(&vector, from, sizeof vector);
  return vector;
}
template <class T, int count>
void store_vector(T* to, const Vector<T, count>& vector) {
  check_aligned<T, count>(to);
  std::memcpy(to, &vector, sizeof vector);
}
template <class T, int count>
void store_global_vector(T* to, const Vector<T, count>& vector) {
  store_vector(to, vector);
}
template <int count, class T>
Vector<std::remove_const_t<T>, count> load_vector(const SharedPointer<T>& from) {
  constexpr std::int64_t bytes = sizeof(T) * count;
  static_assert(bytes <= 16);
  Vector<std::remove_const_t<T>, count> vector;
  std::memcpy(&vector, Machine::current().read_shared(from.checked(bytes), bytes), sizeof vector);
  return vector;
}
template <class T, int count>
void store_vector(const SharedPointer<T>& to, const Vector<T, count>& vector) {
  constexpr std::int64_t bytes = sizeof(T) * count;
  static_assert(bytes <= 16);
  std::memcpy(Machine::current().write_shared(to.checked(bytes), bytes), &vector, sizeof vector);
}

template <int bytes, class T>
void copy_async(const SharedPointer<T>& to, const T* from, bool valid) {
  static_assert(bytes == 16 || bytes == 4);
  static const std::byte zeros[bytes] = {};
  check_aligned<std::byte, bytes>(reinterpret_cast<const std::byte*>(from));
  Machine::current().copy_async(to.checked(bytes), valid ? static_cast<const void*>(from) : zeros,
                                bytes);
}
inline void commit_copies() { Machine::current().commit_copies(); }
template <int groups_left>
void wait_for_copies() {
  Machine::current().wait_for_copies(groups_left);
}

// --- Matrix units

struct MatrixLoad {
  const std::byte* row;
  std::uint32_t* registers;
};

template <bool transposed>
void load_matrices(std::uint32_t (&registers)[4], const SharedPointer<const Bf16>& row,
                   const Location& where) {
  MatrixLoad mine{Machine::current().read_shared(row.checked(16), 16), registers};
  Machine::current().meet("ldmatrix", where, &mine, [](void* const* lanes) {
    const auto element = [&](int matrix, int r, int c) {
      std::uint16_t bits;
      std::memcpy(&bits, static_cast<MatrixLoad*>(lanes[matrix * 8 + r])->row + 2 * c, 2);
      return std::uint32_t{bits};
    };
    for (int lane = 0; lane < cuda_emulation::warp_size; ++lane) {
      for (int matrix = 0; matrix < 4; ++matrix) {
        const int r = lane / 4, c = lane % 4 * 2;
        const std::uint32_t low = transposed ? element(matrix, c, r) : element(matrix, r, c);
        const std::uint32_t high =
            transposed ? element(matrix, c + 1, r) : element(matrix, r, c + 1);
        static_cast<MatrixLoad*>(lanes[lane])->registers[matrix] = low | (high << 16);
      }
    }
  });
}

/// PTX ISA, "ldmatrix": of four 8 x 8 matrices, rows at the addresses of eight lanes each, lane l
/// gets elements 2 (l % 4) and the next of row l / 4.
inline void load_matrices(std::uint32_t (&registers)[4], const SharedPointer<const Bf16>& row,
                          const Location& where = Location::current()) {
  load_matrices<false>(registers, row, where);
}
/// ".trans": elements 2 (l % 4) and the next of column l / 4.
inline void load_matrices_transposed(std::uint32_t (&registers)[4],
                                     const SharedPointer<const Bf16>& row,
                                     const Location& where = Location::current()) {
  load_matrices<true>(registers, row, where);
}

struct MatrixProduct {
  float* sums;
  const std::uint32_t* a;
  const std::uint32_t* b;
};

/// PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type". With g = lane / 4 and
/// t = lane % 4:  a: rows g (registers 0, 2) and g + 8 (1, 3), columns 2t, 2t+1 (0, 1) and 2t+8,
/// 2t+9 (2, 3);  b: column g, rows 2t, 2t+1 (0) and 2t+8, 2t+9 (1);  sums: rows g (0, 1) and g + 8
/// (2, 3), columns 2t, 2t+1.
inline void multiply_16x8x16(float (&sums)[4], const std::uint32_t (&a)[4],
                             const std::uint32_t (&b)[2],
                             const Location& where = Location::current()) {
  MatrixProduct mine{sums, a, b};
  Machine::current().meet("mma", where, &mine, [](void* const* lanes) {
    float left[16][16], right[8][16];
    const auto low = [](std::uint32_t pair) { return from_bf16(static_cast<std::uint16_t>(pair)); };
    const auto high = [](std::uint32_t pair) {
      return from_bf16(static_cast<std::uint16_t>(pair >> 16));
    };
    for (int lane = 0; lane < cuda_emulation::warp_size; ++lane) {
      const auto& each = *static_cast<MatrixProduct*>(lanes[lane]);
      const int g = lane / 4, t = lane % 4;
      for (int i = 0; i < 4; ++i) {
        left[g + i % 2 * 8][2 * t + i / 2 * 8] = low(each.a[i]);
        left[g + i % 2 * 8][2 * t + i / 2 * 8 + 1] = high(each.a[i]);
      }
      for (int i = 0; i < 2; ++i) {
        right[g][2 * t + i * 8] = low(each.b[i]);
        right[g][2 * t + i * 8 + 1] = high(each.b[i]);
      }
    }
    for (int lane = 0; lane < cuda_emulation::warp_size; ++lane) {
      const auto& each = *static_cast<MatrixProduct*>(lanes[lane]);
      const int g = lane / 4, t = lane % 4;
      for (int i = 0; i < 4; ++i) {
        const float* row = left[g + i / 2 * 8];
        const float* col = right[2 * t + i % 2];
        float sum = each.sums[i];
        for (int k = 0; k < 16; ++k) sum += row[k] * col[k];
        each.sums[i] = sum;
      }
    }
  });
}

// --- Launching

using cuda_emulation::Dim3;
using cuda_emulation::Launch;

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const Launch& shape, CUstream_st* stream,
            const Arguments&... arguments) {
  if (shape.grid.x == 0 || shape.grid.y == 0 || shape.grid.z == 0) return;
  stream->machine.run(shape, [&] { kernel(static_cast<Parameters>(arguments)...); });
}

}  // namespace kumihimo::emulated_cuda

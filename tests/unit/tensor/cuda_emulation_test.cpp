#include <functional>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <numeric>
#include <string>
#include <vector>

#include "tensor/cuda_emulation/simt.hpp"

// The emulated GPU itself: what it computes, and that it does not forgive.

namespace kumihimo::emulated_cuda {
namespace {

using cuda_emulation::Fault;
using ::testing::AllOf;
using ::testing::HasSubstr;

class Emulation : public ::testing::Test {
 protected:
  /// What a kernel is reproached with, or nothing.
  template <class... Parameters, class... Arguments>
  std::string fault_of(void (*kernel)(Parameters...), const Launch& shape,
                       const Arguments&... arguments) {
    try {
      launch(kernel, shape, &gpu, arguments...);
    } catch (const Fault& fault) {
      // The machine is as good as new.
      launch(
          +[] { __syncthreads(); }, {{2}, 64}, &gpu);
      return fault.what();
    }
    return "";
  }

  CUstream_st gpu;
};

TEST_F(Emulation, RunsEveryThreadOfEveryBlock) {
  std::vector<int> counts(2 * 3 * 2 * 64);
  launch(
      +[](int* to) {
        const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
        to[block * blockDim.x + threadIdx.x] += 1;
      },
      {{2, 3, 2}, 64}, &gpu, counts.data());
  EXPECT_THAT(counts, ::testing::Each(1));
}

TEST_F(Emulation, ThreadsOfABlockReadWhatOthersWroteBeforeTheBarrier) {
  std::vector<int> reversed(64);
  launch(
      +[](int* to) {
        SharedMemory shared;
        const auto numbers = shared.take<int>(64);
        const int thread = static_cast<int>(threadIdx.x);
        numbers[thread] = thread;
        __syncthreads();
        to[thread] = numbers[63 - thread];
      },
      {{1}, 64, 256}, &gpu, reversed.data());
  for (int i = 0; i < 64; ++i) EXPECT_EQ(reversed[static_cast<std::size_t>(i)], 63 - i);
}

TEST_F(Emulation, LanesExchangeRegisters) {
  std::vector<int> xored(32), broadcast(32);
  launch(
      +[](int* by_xor, int* from_seven) {
        const int lane = static_cast<int>(threadIdx.x);
        by_xor[lane] = __shfl_xor_sync(all_lanes, lane, 5);
        from_seven[lane] = __shfl_sync(all_lanes, lane, 7);
      },
      {{1}, 32}, &gpu, xored.data(), broadcast.data());
  for (int i = 0; i < 32; ++i) EXPECT_EQ(xored[static_cast<std::size_t>(i)], i ^ 5);
  EXPECT_THAT(broadcast, ::testing::Each(7));
}

/// A product of one 16 x 16 by one 16 x 8 matrix, loaded, multiplied and stored by a warp: the
/// fragments fit together.
TEST_F(Emulation, MatrixUnitsMultiplyWhatLoadsGiveThem) {
  const auto left = [](int row, int k) { return static_cast<float>(row + 2 * k); };
  const auto right = [](int k, int col) { return static_cast<float>(k * col - 3); };
  std::vector<Bf16> a, b, b_transposed(8 * 16 * 2);
  for (int row = 0; row < 16; ++row) {
    for (int k = 0; k < 16; ++k) a.push_back(narrowed(left(row, k)));
  }
  for (int k = 0; k < 16; ++k) {  // two tiles of 8 columns, the second empty
    for (int col = 0; col < 16; ++col) b.push_back(narrowed(col < 8 ? right(k, col) : 0));
  }
  for (int k = 0; k < 16; ++k) {
    for (int col = 0; col < 16; ++col) {
      b_transposed[static_cast<std::size_t>(col * 16 + k)] =
          b[static_cast<std::size_t>(k * 16 + col)];
    }
  }
  for (const bool transposed : {false, true}) {
    std::vector<float> product(16 * 8);
    launch(
        +[](const Bf16* from_a, const Bf16* from_b, bool columns, float* to) {
          SharedMemory shared;
          const auto a_tile = shared.take<Bf16>(256), b_tile = shared.take<Bf16>(256);
          const int lane = static_cast<int>(threadIdx.x);
          for (int i = lane; i < 256; i += 32) a_tile[i] = from_a[i], b_tile[i] = from_b[i];
          __syncwarp();
          std::uint32_t a_registers[4], b_registers[4];
          load_matrices(a_registers, a_tile + (lane % 16 * 16 + lane / 16 * 8));
          if (columns) {
            load_matrices(b_registers,
                          b_tile + ((lane / 16 * 8 + lane % 8) * 16 + lane / 8 % 2 * 8));
          } else {
            load_matrices_transposed(b_registers, b_tile + (lane % 16 * 16 + lane / 16 * 8));
          }
          float sums[4] = {};
          multiply_16x8x16(sums, a_registers, {b_registers[0], b_registers[1]});
          for (int i = 0; i < 4; ++i) {
            to[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = sums[i];
          }
        },
        {{1}, 32, 1024}, &gpu, static_cast<const Bf16*>(a.data()),
        static_cast<const Bf16*>(transposed ? b_transposed.data() : b.data()), transposed,
        product.data());
    for (int row = 0; row < 16; ++row) {
      for (int col = 0; col < 8; ++col) {
        float sum = 0;
        for (int k = 0; k < 16; ++k) sum += left(row, k) * right(k, col);
        EXPECT_EQ(product[static_cast<std::size_t>(row * 8 + col)], sum) << row << ", " << col;
      }
    }
  }
}

TEST_F(Emulation, SeedsDecideTheOrderAndNothingElse) {
  const auto order = [&](std::uint64_t seed) {
    std::vector<unsigned> ran;
    gpu.machine.set_seed(seed);
    launch(
        +[](std::vector<unsigned>* to) { to->push_back(blockIdx.x * 64 + threadIdx.x); }, {{3}, 64},
        &gpu, &ran);
    return ran;
  };
  const std::vector<unsigned> first = order(1);
  EXPECT_EQ(order(1), first);
  std::vector<unsigned> other = order(2);
  EXPECT_NE(other, first);
  EXPECT_THAT(other, ::testing::UnorderedElementsAreArray(first));
}

TEST_F(Emulation, KeepsBlocksToWhatAGpuCanRun) {
  const auto nothing = +[] {};
  EXPECT_THAT(fault_of(nothing, {{1}, 48}), HasSubstr("a block of 48 threads"));
  EXPECT_THAT(fault_of(nothing, {{1}, 2048}), HasSubstr("2048"));
  EXPECT_THAT(fault_of(nothing, {{1, 65536}, 32}), HasSubstr("65536"));
  EXPECT_THAT(fault_of(nothing, {{1}, 32, 1 << 20}), HasSubstr("1048576 bytes of shared memory"));
}

// Outside of assertions, which would put each of these on one line.

void some_return() {
  if (threadIdx.x < 40) __syncthreads();
}

void two_barriers() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

TEST_F(Emulation, FindsABarrierThatNotAllThreadsReach) {
  EXPECT_THAT(fault_of(&some_return, {{1}, 64}),
              AllOf(HasSubstr("is stuck"), HasSubstr("__syncthreads"), HasSubstr("returned")));
  EXPECT_THAT(fault_of(&two_barriers, {{1}, 64}), HasSubstr("is stuck"));
}

void one_lane_is_missing() {
  if (threadIdx.x != 3) __shfl_sync(all_lanes, 1, 0);
}

void one_lane_is_elsewhere() {
  if (threadIdx.x != 3) {
    __shfl_sync(all_lanes, 1, 0);
  } else {
    __shfl_sync(all_lanes, 1, 0);
  }
}

void half_a_warp() { __shfl_sync(0xffffu, 1, 0); }

TEST_F(Emulation, FindsLanesThatPart) {
  EXPECT_THAT(fault_of(&one_lane_is_missing, {{1}, 32}),
              AllOf(HasSubstr("is stuck"), HasSubstr("__shfl_sync")));
  EXPECT_THAT(fault_of(&one_lane_is_elsewhere, {{1}, 32}), HasSubstr("meets __shfl_sync"));
  EXPECT_THAT(fault_of(&half_a_warp, {{1}, 32}), HasSubstr("some lanes"));
}

TEST_F(Emulation, FindsAccessesBeyondAnArrayOfSharedMemory) {
  // The second array is there, but the first has ended.
  EXPECT_THAT(fault_of(
                  +[] {
                    SharedMemory shared;
                    const auto first = shared.take<float>(32);
                    shared.take<float>(32);
                    first[static_cast<int>(threadIdx.x) + 1] = 1.0f;
                  },
                  {{1}, 32, 256}),
              HasSubstr("byte 128 of an array of shared memory of 128"));
  EXPECT_THAT(fault_of(+[] { SharedMemory().take<float>(65); }, {{1}, 32, 256}),
              HasSubstr("takes 260 bytes of shared memory of 256"));
}

TEST_F(Emulation, FindsMisalignedVectors) {
  alignas(16) static float numbers[8] = {};
  EXPECT_THAT(fault_of(+[] { load_vector<4>(&numbers[1]); }, {{1}, 32}), HasSubstr("misaligned"));
  EXPECT_THAT(fault_of(
                  +[] {
                    SharedMemory shared;
                    const auto tile = shared.take<float>(64);
                    store_vector(tile + 2, Vector<float, 4>{});
                  },
                  {{1}, 32, 256}),
              HasSubstr("misaligned"));
}

TEST_F(Emulation, FindsReadsOfSharedMemoryThatNothingWrote) {
  const auto kernel = +[](bool writes) {
    SharedMemory shared;
    const auto numbers = shared.take<float>(32);
    if (writes) numbers[static_cast<int>(threadIdx.x)] = 1.0f;
    const float number = numbers[static_cast<int>(threadIdx.x)];
    EXPECT_EQ(number, 1);
  };
  EXPECT_EQ(fault_of(kernel, {{1}, 32, 128}, true), "");
  // What another block has left there does not count.
  EXPECT_THAT(fault_of(kernel, {{1}, 32, 128}, false), HasSubstr("which nothing wrote"));
}

/// Neighbour n + distance reads what thread n wrote, after a barrier or none.
enum class Wait { for_nobody, for_the_warp, for_the_block };

void read_neighbour(Wait wait, int distance) {
  SharedMemory shared;
  const auto numbers = shared.take<int>(64);
  const int thread = static_cast<int>(threadIdx.x);
  numbers[thread] = thread;
  if (wait == Wait::for_the_warp) __syncwarp();
  if (wait == Wait::for_the_block) __syncthreads();
  const int other = (thread + distance) % 64;
  EXPECT_EQ(static_cast<int>(numbers[other]), other);
}

TEST_F(Emulation, FindsReadsThatNoBarrierOrders) {
  for (std::uint64_t seed = 0; seed < 4; ++seed) {  // in whatever order the threads run
    gpu.machine.set_seed(seed);
    const auto fault = [&](Wait wait, int distance) {
      return fault_of(&read_neighbour, {{1}, 64, 256}, wait, distance);
    };
    EXPECT_EQ(fault(Wait::for_the_block, 1), "");
    EXPECT_EQ(fault(Wait::for_nobody, 0), "");
    EXPECT_NE(fault(Wait::for_nobody, 1), "");
    EXPECT_NE(fault(Wait::for_the_warp, 32), "");  // the other warp's
  }
}

TEST_F(Emulation, AWarpsBarrierOrdersTheWarp) {
  const auto kernel = +[](bool waits) {
    SharedMemory shared;
    const auto numbers = shared.take<int>(64);
    const int thread = static_cast<int>(threadIdx.x);
    numbers[thread] = thread;
    if (waits) __syncwarp();
    const int other = thread ^ 1;
    EXPECT_EQ(static_cast<int>(numbers[other]), other);
    if (waits) __syncwarp();
    numbers[other] = 0;  // after its reader
  };
  EXPECT_EQ(fault_of(kernel, {{1}, 64, 256}, true), "");
  EXPECT_NE(fault_of(kernel, {{1}, 64, 256}, false), "");
}

TEST_F(Emulation, FindsWritesBeforeOthersHaveRead) {
  const auto kernel = +[](bool waits) {
    SharedMemory shared;
    const auto number = shared.take<int>(1);
    if (threadIdx.x == 0) number[0] = 1;
    __syncthreads();
    EXPECT_EQ(static_cast<int>(number[0]), 1);
    if (waits) __syncthreads();
    if (threadIdx.x == 0) number[0] = 2;
  };
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    gpu.machine.set_seed(seed);
    EXPECT_EQ(fault_of(kernel, {{1}, 64, 64}, true), "");
    EXPECT_NE(fault_of(kernel, {{1}, 64, 64}, false), "");
  }
}

enum class CopyUse { right, without_waiting, without_barrier, never_waited_for };

void use_copy(const float* from, CopyUse use) {
  SharedMemory shared;
  const auto tile = shared.take<float>(128);
  const int thread = static_cast<int>(threadIdx.x);
  copy_async<16>(tile + 4 * thread, from + 4 * thread, thread != 31);
  commit_copies();
  if (use == CopyUse::never_waited_for) return;
  if (use != CopyUse::without_waiting) wait_for_copies<0>();
  if (use != CopyUse::without_barrier) __syncthreads();
  const int other = 4 * (31 - thread);
  EXPECT_EQ(static_cast<float>(tile[other]), thread == 0 ? 0 : from[other]);
  if (use == CopyUse::without_waiting) wait_for_copies<0>();
}

TEST_F(Emulation, AsynchronousCopiesArriveWhenTheyAreWaitedFor) {
  alignas(16) float numbers[128];
  std::iota(std::begin(numbers), std::end(numbers), 1.0f);
  const auto fault = [&](CopyUse use) {
    return fault_of(&use_copy, {{1}, 32, 512}, static_cast<const float*>(numbers), use);
  };
  EXPECT_EQ(fault(CopyUse::right), "");
  EXPECT_THAT(fault(CopyUse::without_waiting), HasSubstr("asynchronous copy"));
  EXPECT_NE(fault(CopyUse::without_barrier), "");
  EXPECT_THAT(fault(CopyUse::never_waited_for), HasSubstr("without waiting"));
}

TEST_F(Emulation, ConvertsAsTheHardwareDoes) {
  EXPECT_EQ(narrowed(1 + 0x1p-8f).bits, 0x3f80);  // a tie, to even
  EXPECT_EQ(narrowed(1 + 0x1p-8f + 0x1p-20f).bits, 0x3f81);
  EXPECT_EQ(narrowed(std::nanf("1")).bits, 0x7fff);  // no payload
  EXPECT_EQ(narrowed_pair(1, -2), 0xc0003f80u);
  EXPECT_EQ(fp8_code<true>(1000), 0x7e);  // saturates
  EXPECT_EQ(fp8_code<true>(std::numeric_limits<float>::infinity()), 0x7e);
  EXPECT_EQ(fp8_code<false>(-std::nanf("1")), 0x7f);
}

}  // namespace
}  // namespace kumihimo::emulated_cuda

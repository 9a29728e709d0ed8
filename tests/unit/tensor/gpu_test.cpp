// What needs a real GPU: matrix products and a library's attention, against the reference. Our own
// kernels are tested on an emulated one (cuda_emulation_test.cpp) and here once more.

#include <gtest/gtest.h>

#include "support/backends.hpp"
#include "support/kept_for_backward.hpp"
#include "support/matrices.hpp"
#include "support/real_gpu.hpp"

namespace kumihimo::testing {
namespace {

class OnGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    KUMIHIMO_NEEDS_GPU(gpus);
    open({});
  }
  void open(const GpuOptions& options) {
    workspace.reset();
    memory.reset();
    gpu = gpus.open(options);
    memory = std::make_unique<DeviceMemory>(gpu->make_memory());
    workspace = std::make_unique<Workspace>(*memory);
    kernels = gpu->make_kernels(*workspace);
  }

  /// A copy in the GPU's memory, for as long as `copies` lives.
  Matrix to_gpu(const HostMatrix& x) {
    const HostMatrix packed = converted(x, x.dtype());
    Buffer& buffer = copies.emplace_back(*memory, MemoryCategory::workspace,
                                         std::max<Bytes>(1, packed.view().bytes()));
    const Matrix copy = matrix_at(buffer.data(), x.rows(), x.cols(), x.dtype());
    kernels->upload(packed.view().data, copy);
    return copy;
  }
  HostMatrix from_gpu(const Matrix& x) {
    HostMatrix copy(x.rows, x.cols, x.dtype);
    kernels->download(x, copy.view().data);
    return copy;
  }

  RealGpus gpus;
  std::unique_ptr<Gpu> gpu;
  std::unique_ptr<DeviceMemory> memory;
  std::unique_ptr<Workspace> workspace;
  std::unique_ptr<Kernels> kernels;
  std::vector<Buffer> copies;
  Device reference{HostBackend::reference};
};

/// Of a sum of `terms` products of fp8 numbers, over the root mean square of such sums. Hopper's
/// tensor cores keep 14 bits of what they add up (DeepSeek-AI 2024, arXiv:2412.19437, 3.3.2); a
/// model of that, which cuts each term off 13 bits below the largest, errs by up to two fifths of
/// this.
double fp8_sum_error(std::int64_t terms) { return static_cast<double>(terms) * 0x1p-15; }

TEST_F(OnGpu, ProductsOfAllKindsAreTheReferences) {
  Random random(1);
  for (int number = 0; number < 60; ++number) {
    const bool whole_sixteens = number % 2 == 0;  // fp8 in hardware wants them
    const auto side = [&] {
      return whole_sixteens ? 16 * random.integer(1, 9) : random.integer(1, 150);
    };
    const std::int64_t m = side(), n = side(), k = side();
    constexpr std::array kinds{
        std::pair{DType::fp32, DType::fp32}, std::pair{DType::bf16, DType::bf16},
        std::pair{DType::fp8_e4m3, DType::fp8_e4m3}, std::pair{DType::fp8_e5m2, DType::fp8_e4m3}};
    const auto [type_a, type_b] = kinds[static_cast<std::size_t>(random.integer(0, 3))];
    const bool ta = random.integer(0, 1) == 1, tb = random.integer(0, 1) == 1;
    const bool accumulate = random.integer(0, 1) == 1;
    const DType type_c = accumulate || random.integer(0, 1) == 1 ? DType::fp32 : DType::bf16;
    const HostMatrix a = random_matrix(random, ta ? k : m, ta ? m : k, type_a);
    const HostMatrix b = random_matrix(random, tb ? n : k, tb ? k : n, type_b);
    const HostMatrix c = random_matrix(random, m, n, type_c);
    SCOPED_TRACE(std::to_string(m) + " x " + std::to_string(n) + " x " + std::to_string(k) + " " +
                 std::string(to_string(type_a)) + " into " + std::string(to_string(type_c)));
    const HostMatrix bias = random_matrix(random, 1, n, type_c), scale_a{{0.25}}, scale_b{{8}};
    const bool scaled = is_fp8(type_a) && random.integer(0, 1) == 1;
    const bool biased = !accumulate && random.integer(0, 1) == 1;
    const Matrix on_gpu = to_gpu(c);
    const auto run = [&](Kernels& with, const Matrix& a_, const Matrix& b_, const Matrix& c_,
                         const ProductEpilogue& epilogue) {
      with.matmul(a_, static_cast<Transpose>(ta), b_, static_cast<Transpose>(tb), c_,
                  static_cast<Accumulate>(accumulate), epilogue);
    };
    run(*kernels, to_gpu(a), to_gpu(b), on_gpu,
        {0.5f, scaled ? to_gpu(scale_a) : Matrix{}, scaled ? to_gpu(scale_b) : Matrix{},
         biased ? to_gpu(bias) : Matrix{}});
    const HostMatrix result = from_gpu(on_gpu);
    const HostMatrix expected = converted(c, DType::fp32), wide_bias = converted(bias, DType::fp32);
    run(*reference.kernels, a, b, expected,
        {0.5f, scaled ? scale_a : Matrix{}, scaled ? scale_b : Matrix{},
         biased ? wide_bias : Matrix{}});
    const double tolerance = type_c == DType::bf16 ? 2 * rounding_of(DType::bf16)
                             : is_fp8(type_a)      ? fp8_sum_error(k)
                                                   : 1e-4;
    EXPECT_TRUE(close_to(result, expected, tolerance));
    copies.clear();
  }
}

TEST_F(OnGpu, AttentionIsTheReferences) {
  Random random(2);
  for (const bool library : {true, false}) {
    open({.library_attention = library});
    for (const std::int64_t head_dim : {64, 128}) {
      for (const std::int64_t seq_length : {128, 200}) {
        AttentionShape shape{2, seq_length, 4, 2, head_dim, AttentionKernel::flash2};
        const std::int64_t tokens = 2 * seq_length;
        const HostMatrix q = random_matrix(random, tokens, 4 * head_dim, DType::bf16);
        const HostMatrix k = random_matrix(random, tokens, 2 * head_dim, DType::bf16);
        const HostMatrix v = random_matrix(random, tokens, 2 * head_dim, DType::bf16);
        const HostMatrix d_out = random_matrix(random, tokens, 4 * head_dim, DType::bf16);
        const HostMatrix out(tokens, 4 * head_dim), d_q(tokens, 4 * head_dim);
        const HostMatrix d_k(tokens, 2 * head_dim), d_v(tokens, 2 * head_dim);
        const AttentionMemory kept(shape);
        const auto wide = [](const HostMatrix& x) { return converted(x, DType::fp32); };
        reference.kernels->attention_forward(shape, wide(q), wide(k), wide(v), out, kept.saved());
        reference.kernels->attention_backward(shape, wide(q), wide(k), wide(v), out, kept.saved(),
                                              wide(d_out), d_q, d_k, d_v);
        const auto empty = [&](std::int64_t cols, DType dtype = DType::bf16) {
          return to_gpu(HostMatrix(tokens, cols, dtype));
        };
        const Matrix my_q = to_gpu(q), my_k = to_gpu(k), my_v = to_gpu(v);
        const Matrix my_out = empty(4 * head_dim), my_d_q = empty(4 * head_dim);
        const Matrix my_d_k = empty(2 * head_dim), my_d_v = empty(2 * head_dim);
        AttentionSaved saved;
        saved.log_sum_exp = empty(4, DType::fp32);
        kernels->attention_forward(shape, my_q, my_k, my_v, my_out, saved);
        kernels->attention_backward(shape, my_q, my_k, my_v, my_out, saved, to_gpu(d_out), my_d_q,
                                    my_d_k, my_d_v);
        SCOPED_TRACE(kernels->description() + ", heads of " + std::to_string(head_dim));
        const double tolerance = 8 * rounding_of(DType::bf16);
        EXPECT_TRUE(close_to(from_gpu(my_out), out, tolerance));
        EXPECT_TRUE(close_to(from_gpu(my_d_q), d_q, 2 * tolerance));
        EXPECT_TRUE(close_to(from_gpu(my_d_k), d_k, 2 * tolerance));
        EXPECT_TRUE(close_to(from_gpu(my_d_v), d_v, tolerance));
        copies.clear();
      }
    }
  }
}

TEST_F(OnGpu, LargeUploadsComeBack) {
  Random random(3);
  const HostMatrix x = random_matrix(random, 3000, 5001);  // 60 MB: more than is staged at once
  EXPECT_TRUE(same_values(from_gpu(to_gpu(x)), x));
}

TEST_F(OnGpu, MoreThanThereIsIsOutOfMemory) {
  EXPECT_THROW(Buffer(*memory, MemoryCategory::weights, 2 * gpu->facts().memory), OutOfMemory);
  const HostMatrix x{{1, 2}};
  EXPECT_TRUE(same_values(from_gpu(to_gpu(x)), x));  // the GPU can still be used
}

}  // namespace
}  // namespace kumihimo::testing

#include "support/mirrored_kernels.hpp"

#include <gtest/gtest.h>

#include "support/backends.hpp"
#include "support/fp8_casts.hpp"
#include "support/kept_for_backward.hpp"
#include "support/matrices.hpp"

// With these the tests of kernels run on a real GPU. Without one: copies of what a kernel reads and
// writes go to and from other memory of the host, and nothing is different.

namespace kumihimo::testing {
namespace {

class Mirrored : public ::testing::Test {
 protected:
  DeviceMemory memory{make_host_memory()};
  Workspace workspace{memory};
  MirroredKernels kernels{memory, make_emulated_cuda_kernels(workspace)};
  Device direct{HostBackend::emulated_cuda};
};

TEST_F(Mirrored, MatricesWithinOneAndInPlaceStayTogether) {
  Random random(51);
  const AttentionShape shape{1, 6, 2, 1, 4};
  const auto run = [&](Kernels& by, const HostMatrix& qkv, const HostMatrix& sum) {
    const HostMatrix out(6, 8);
    const AttentionMemory kept(shape);
    by.attention_forward(shape, cols_of(qkv, 0, 8), cols_of(qkv, 8, 4), cols_of(qkv, 12, 4), out,
                         kept.saved());
    by.add(out, cols_of(qkv, 0, 8), cols_of(qkv, 0, 8));  // in place, between other columns
    by.add(rows_of(qkv, 0, 3), rows_of(qkv, 3, 3), sum);
  };
  const HostMatrix qkv = random_matrix(random, 6, 16, DType::fp32, 1, 21), same = qkv;
  const HostMatrix sum(3, 16), expected(3, 16);
  run(kernels, qkv, sum);
  run(*direct.kernels, same, expected);
  EXPECT_TRUE(same_values(qkv, same));
  EXPECT_TRUE(same_values(sum, expected));
  EXPECT_TRUE(qkv.gaps_are_untouched());
}

TEST_F(Mirrored, ValuesAndEmptyMatricesPass) {
  const HostMatrix x{{1, -7}, {3, 2}}, weight{{2, 1}}, y(2, 2), d_x(2, 2), d_weight(1, 2);
  const NormKinds norm{NormKind::rms_norm, NormKernel::fused, 0};
  const NormMemory kept(norm, 2, 2);
  kernels.norm_forward(norm, x, weight, {}, y, kept.saved());
  kernels.norm_backward(norm, x, weight, kept.saved(), y, {}, d_x, d_weight, {});
  EXPECT_NEAR(y.at(0, 0), 2 / 5.0, 1e-6);  // (1 + 49) / 2 = 5^2
  EXPECT_NE(d_weight.at(0, 0), 0);
  const CastMemory cast;
  kernels.cast_to_fp8(x, cast.cast(), {.straight = HostMatrix(2, 2, DType::fp8_e4m3)});
  EXPECT_EQ(cast.maximum.at(0, 0), 7);
  const HostMatrix product(2, 2);
  kernels.matmul(x, Transpose::no, x, Transpose::yes, product, Accumulate::no, {.bias = weight});
  EXPECT_TRUE(same_values(product, HostMatrix{{50 + 2, -11 + 1}, {-11 + 2, 13 + 1}}));
  EXPECT_EQ(memory.held()[MemoryCategory::activations], 0);
}

}  // namespace
}  // namespace kumihimo::testing

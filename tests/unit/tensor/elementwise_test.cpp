#include <array>
#include <gtest/gtest.h>

#include "support/backends.hpp"
#include "support/matrices.hpp"

namespace kumihimo::testing {
namespace {

class Elementwise : public KernelsTest {};
INSTANTIATE_TEST_SUITE_P(On, Elementwise, ::testing::ValuesIn(host_backends()), backend_name);

TEST_P(Elementwise, AddsAlsoInPlace) {
  const HostMatrix a{{1, 2}, {3, 4}}, b{{10, 20}, {30, 40}}, out(2, 2);
  const HostMatrix sum{{1 + 10, 2 + 20}, {3 + 30, 4 + 40}};
  kernels.add(a, b, out);
  EXPECT_TRUE(same_values(out, sum));
  kernels.add(a, b, a);
  EXPECT_TRUE(same_values(a, sum));
}

TEST_P(Elementwise, AddsBf16InFp32) {
  // Between 256 and 512, bf16 numbers are 2 apart: 256 + 3 is a tie, which goes to the even 260.
  const HostMatrix a({{256, 256}}, DType::bf16), b({{3, 2.5}}, DType::bf16);
  const HostMatrix out(1, 2, DType::bf16);
  kernels.add(a, b, out);
  EXPECT_TRUE(same_values(out, HostMatrix{{260, 258}}));
}

TEST_P(Elementwise, CopiesBetweenFormatsAndStrides) {
  Random random(20);
  const HostMatrix fp32 = random_matrix(random, 3, 5, DType::fp32, 100, 8);
  const HostMatrix bf16(3, 5, DType::bf16, 6), fp64(3, 5, DType::fp64, 7), back(3, 5);
  kernels.copy(fp32, bf16);
  EXPECT_TRUE(same_values(bf16, converted(fp32, DType::bf16)));
  EXPECT_TRUE(bf16.gaps_are_untouched());
  kernels.copy(bf16, back);
  EXPECT_TRUE(same_values(back, bf16));
  kernels.copy(fp32, fp64);
  EXPECT_TRUE(same_values(fp64, fp32));
  kernels.copy(fp64, back);
  EXPECT_TRUE(same_values(back, fp32));

  const HostMatrix tokens({{1 << 30}, {(1 << 30) + 1}}, DType::int32);  // no fp32 could tell these
  const HostMatrix copied(2, 1, DType::int32);
  kernels.copy(tokens, copied);
  EXPECT_TRUE(same_values(copied, tokens));
}

TEST_P(Elementwise, FillsAndScales) {
  for (const DType dtype : {DType::fp32, DType::bf16}) {
    const HostMatrix x(2, 3, dtype, 5);
    kernels.fill(x, 1.5f);
    kernels.scale(x, -2);
    EXPECT_TRUE(same_values(x, HostMatrix{{-3, -3, -3}, {-3, -3, -3}}));
    EXPECT_TRUE(x.gaps_are_untouched());
  }
}

TEST_P(Elementwise, UploadsAndDownloads) {
  const std::array<float, 4> host{1, 2, 3, 4};
  const HostMatrix device_matrix(2, 2);
  kernels.upload(host.data(), device_matrix);
  EXPECT_TRUE(same_values(device_matrix, HostMatrix{{1, 2}, {3, 4}}));
  std::array<float, 4> back{};
  kernels.download(device_matrix, back.data());
  EXPECT_EQ(back, host);
}

TEST(BackendName, IsThatOfItsFolder) {
  EXPECT_EQ(to_string(Backend::reference), "reference");
  EXPECT_EQ(to_string(Backend::cpu), "cpu");
  EXPECT_EQ(to_string(Backend::cuda), "cuda");
}

}  // namespace
}  // namespace kumihimo::testing

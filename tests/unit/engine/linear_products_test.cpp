#include "engine/linear_products.hpp"

#include <cmath>
#include <gtest/gtest.h>
#include <limits>

#include "support/matrices.hpp"

namespace kumihimo {
namespace {

using testing::HostMatrix;
using testing::same_values;

constexpr LinearId first{0, LinearRole::qkv};

/// Products of two layers with 1 x 4 inputs and 2 x 4 weights, all ones unless set.
class Fp8Products : public ::testing::Test {
 protected:
  LinearProducts products(Fp8Options options, std::vector<bool> bf16_layers = {false, false}) {
    return LinearProducts(*kernels, memory, workspace, Precision::fp8, options, 2,
                          std::move(bf16_layers));
  }
  void forward(LinearProducts& products, LinearId id = first) { products.forward(id, x, w, {}, y); }
  /// What a step with one product leaves.
  void step(LinearProducts& products, double largest) {
    x.set(0, 0, largest);
    forward(products);
    products.end_step();
  }
  static const Fp8Tensor& input(const LinearProducts& products, LinearId id = first) {
    return products.tensor(id, Fp8Operand::input);
  }

  void SetUp() override {
    for (std::int64_t col = 0; col < 4; ++col) {
      x.set(0, col, 1);
      w.set(0, col, 1);
      w.set(1, col, 1);
    }
  }

  DeviceMemory memory{make_host_memory()};
  Workspace workspace{memory};
  std::unique_ptr<Kernels> kernels = make_reference_kernels(workspace);
  HostMatrix x{1, 4}, w{2, 4}, y{1, 2};
};

TEST_F(Fp8Products, TheFirstStepUsesTheTensorsOwnMaximum) {
  LinearProducts delayed = products({});
  x.set(0, 0, 1000);  // beyond E4M3's 448, were it not scaled: by 2^-2, 448 / 1000 < 1/2
  forward(delayed);
  EXPECT_FLOAT_EQ(static_cast<float>(y.at(0, 0)), 4 * 256 + 3);  // 1000 / 4 rounds to 256
  delayed.end_step();
  EXPECT_EQ(input(delayed).last_counts.overflowed, 0);
  EXPECT_EQ(input(delayed).last_counts.elements, 4);
}

TEST_F(Fp8Products, ScalesArePowersOfTwo) {
  LinearProducts delayed = products({});
  step(delayed, 3);
  EXPECT_EQ(input(delayed).scale, 128);  // 448 / 3 = 149.3
  step(delayed, 1000);
  EXPECT_EQ(input(delayed).scale, 0.25);  // 448 / 1000 = 0.448
  x.set(0, 0, 448);
  LinearProducts exact = products({});
  step(exact, 448);
  EXPECT_EQ(input(exact).scale, 1);
}

TEST_F(Fp8Products, DelayedScalingLooksBackOverItsHistory) {
  LinearProducts delayed = products({.amax_history = 2});
  step(delayed, 448);
  step(delayed, 1);
  EXPECT_EQ(input(delayed).scale, 1) << "448 is still within two steps";
  step(delayed, 1);
  EXPECT_EQ(input(delayed).scale, 256) << "448 / 1, rounded down to a power of two";
  EXPECT_EQ(input(delayed).history, (std::deque<float>{1, 1}));
}

TEST_F(Fp8Products, AStepOfLargerNumbersOverflowsOnceUnderDelayedScaling) {
  LinearProducts delayed = products({}), current = products({.scaling = Fp8Scaling::current});
  step(delayed, 1);
  step(current, 1);
  x.set(0, 0, 100);  // at scale 256: 25,600 > 448
  forward(delayed);
  forward(current);
  delayed.end_step();
  current.end_step();
  EXPECT_EQ(input(delayed).last_counts.overflowed, 1);
  EXPECT_EQ(input(current).last_counts.overflowed, 0);
  forward(delayed);
  delayed.end_step();
  EXPECT_EQ(input(delayed).last_counts.overflowed, 0);
}

TEST_F(Fp8Products, UnderflowIsCounted) {
  LinearProducts current = products({.scaling = Fp8Scaling::current});
  x.set(0, 0, 448);
  x.set(0, 1, std::exp2(-12));  // below half of E4M3's smallest, 2^-9, at scale 1
  x.set(0, 2, 0);               // was zero before
  forward(current);
  current.end_step();
  EXPECT_EQ(input(current).last_counts.underflowed, 1);
}

TEST_F(Fp8Products, AMaximumThatIsNoNumberStays) {
  LinearProducts delayed = products({});
  x.set(0, 0, std::numeric_limits<double>::quiet_NaN());
  forward(delayed);
  x.set(0, 0, 1);
  forward(delayed);
  delayed.end_step();
  EXPECT_TRUE(std::isnan(input(delayed).history[0]));
  EXPECT_EQ(input(delayed).scale, 1);
  step(delayed, 1);
  EXPECT_EQ(input(delayed).history[0], 1) << "of its own step alone";
}

TEST_F(Fp8Products, LayersMayStayOutOfFp8) {
  LinearProducts edges = products({}, {true, false});
  x.set(0, 0, 1.03);  // E4M3 has 1 and 1.125
  forward(edges, {0, LinearRole::qkv});
  EXPECT_FLOAT_EQ(static_cast<float>(y.at(0, 0)), 4.03f);
  forward(edges, {1, LinearRole::qkv});
  EXPECT_EQ(y.at(0, 0), 4);
  edges.end_step();
  EXPECT_EQ(input(edges, {0, LinearRole::qkv}).last_counts.elements, 0);
  EXPECT_EQ(input(edges, {1, LinearRole::qkv}).last_counts.elements, 4);
}

TEST_F(Fp8Products, GradientsUseTheirOwnFormat) {
  LinearProducts current = products({.scaling = Fp8Scaling::current});
  y.set(0, 0, 1);
  y.set(0, 1, 1.125);  // E5M2 has 1 and 1.25: a tie, to even
  const Workspace::Scope scope(workspace);
  const OutputGradient d_y = current.output_gradient(first, y, GradientOf::both);
  HostMatrix d_x(1, 4), d_w(2, 4);
  current.input_gradient(first, d_y, w, d_x);
  EXPECT_EQ(d_x.at(0, 0), 2);
  current.weight_gradient(first, d_y, x, d_w, Accumulate::no);
  EXPECT_TRUE(same_values(d_w, HostMatrix{{1, 1, 1, 1}, {1, 1, 1, 1}}));
  current.end_step();
  // Both products read one cast.
  EXPECT_EQ(current.tensor(first, Fp8Operand::output_gradient).last_counts.elements, 2);
  EXPECT_EQ(current.tensor(first, Fp8Operand::weight).last_counts.elements, 8);
}

TEST_F(Fp8Products, HistoriesAreRestored) {
  LinearProducts saved = products({}), restored = products({});
  step(saved, 3);
  step(saved, 7);
  restored.set_histories(saved.histories());
  EXPECT_EQ(restored.histories(), saved.histories());
  EXPECT_EQ(input(restored).scale, input(saved).scale);
  EXPECT_TRUE(input(restored).has_scale);
}

}  // namespace
}  // namespace kumihimo

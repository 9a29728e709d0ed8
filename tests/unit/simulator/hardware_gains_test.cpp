#include "simulator/hardware_gains.hpp"

#include <algorithm>
#include <gtest/gtest.h>

#include "simulator/predict.hpp"
#include "support/round_machine.hpp"

namespace kumihimo {
namespace {

using testing::ideal_profile;
using testing::round_cluster;
using testing::small_job;

struct Example {
  TrainingJob job = small_job();
  ParallelLayout layout;
  Cluster cluster = round_cluster();
  StackProfile profile = ideal_profile();

  std::vector<HardwareGain> gains() const {
    return hardware_gains(job, layout, *make_schedule(job, layout), cluster, profile, step_s());
  }
  double step_s() const { return predict(job, layout, cluster, profile).step_s; }
};

double gain_of_twice(const std::vector<HardwareGain>& gains, HardwareFigure figure) {
  const auto found = std::ranges::find(gains, figure, &HardwareGain::figure);
  EXPECT_NE(found, gains.end()) << label(figure);
  return found == gains.end() ? 0 : found->twice;
}

TEST(HardwareGains, AreOfWhatTheLayoutMayUse) {
  Example example;
  example.cluster.devices_per_node = 4;
  const auto figures = [&] {
    std::vector<HardwareFigure> result;
    for (const HardwareGain& gain : example.gains()) result.push_back(gain.figure);
    return result;
  };
  using enum HardwareFigure;
  EXPECT_EQ(figures(), (std::vector{arithmetic, memory_bandwidth}));
  example.layout.data_parallel = 4;
  EXPECT_EQ(figures(), (std::vector{arithmetic, memory_bandwidth, intra_node}));
  example.layout.data_parallel = 8;
  example.layout.offload.optimizer = true;
  EXPECT_EQ(figures(),
            (std::vector{arithmetic, memory_bandwidth, intra_node, inter_node, host_link}));
}

TEST(HardwareGains, WhatATenthGivesIsTheShareThatDoublingHalves) {
  // Without overlap a figure's part of the step is in inverse proportion to it: of a share f of the
  // step, twice as much leaves half, and 1.1 times as much 1 / 1.1.
  Example example;
  example.layout.data_parallel = 2;
  example.layout.overlap_data_parallel = false;
  const std::vector<HardwareGain> gains = example.gains();
  double shares = 0;
  for (const HardwareGain& gain : gains) {
    const double share = 2 * (1 - 1 / (1 + gain.twice));
    EXPECT_NEAR(gain.a_tenth, 1 / (1 - share * (1 - 1 / 1.1)) - 1, 1e-9) << label(gain.figure);
    shares += share;
  }
  EXPECT_GT(gain_of_twice(gains, HardwareFigure::arithmetic), 0.1);
  EXPECT_GT(shares, 0.5);
  EXPECT_LE(shares, 1 + 1e-9);
}

TEST(HardwareGains, ALinkGivesTheMoreTheSlowerItIs) {
  Example example;
  example.cluster.devices_per_node = 2;
  example.layout.tensor_parallel = 2;
  const double fast = gain_of_twice(example.gains(), HardwareFigure::intra_node);
  example.cluster.intra_node.bandwidth /= 10;
  EXPECT_GT(gain_of_twice(example.gains(), HardwareFigure::intra_node), 2 * fast);
  EXPECT_GT(fast, 0);
}

TEST(HardwareGains, TwiceOfEverythingIsAboutHalfTheStep) {
  Example example;
  example.layout.data_parallel = 2;
  const double before = example.step_s();
  for (const HardwareFigure figure :
       {HardwareFigure::arithmetic, HardwareFigure::memory_bandwidth, HardwareFigure::intra_node,
        HardwareFigure::inter_node, HardwareFigure::host_link}) {
    example.cluster = with_more(example.cluster, figure, 2);
  }
  EXPECT_LT(example.step_s(), 0.6 * before);
  EXPECT_EQ(example.cluster.device.peak(Precision::bf16),
            2 * round_cluster().device.peak(Precision::bf16));
  EXPECT_EQ(example.cluster.nic_bandwidth, 2 * round_cluster().nic_bandwidth);
}

}  // namespace
}  // namespace kumihimo

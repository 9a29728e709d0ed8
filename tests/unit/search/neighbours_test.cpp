#include "search/neighbours.hpp"

#include <gmock/gmock.h>

#include "example.hpp"
#include "layout/canonical.hpp"
#include "layout/layout_text.hpp"
#include "layout/validate.hpp"

namespace kumihimo {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<Neighbour> around(const char* layout, const SearchRequest& request) {
  return neighbours(*parse_layout(layout), request);
}

/// Values that `knob` takes among `all`, as "1 4".
std::string values(const std::vector<Neighbour>& all, const char* knob) {
  std::string text;
  for (const Neighbour& neighbour : all) {
    if (neighbour.knob == knob) text += (text.empty() ? "" : " ") + neighbour.to;
  }
  return text;
}

const Neighbour& find(const std::vector<Neighbour>& all, const char* knob, const char* to) {
  const auto found =
      std::ranges::find_if(all, [&](const Neighbour& n) { return n.knob == knob && n.to == to; });
  KUMIHIMO_CHECK(found != all.end());
  return *found;
}

TEST(Neighbours, ShardingGroupsAreLargerSmallerOrAll) {
  const SearchRequest request = testing::llama_13b_on_64_a100();
  EXPECT_EQ(values(around("tp=2 dp=32 zero=3", request), "zero-group"), "16");
  EXPECT_EQ(values(around("tp=2 dp=32 zero=3 zero-group=16", request), "zero-group"), "8 0");
  EXPECT_EQ(values(around("tp=2 dp=32 zero=3 zero-group=2", request), "zero-group"), "4");
  EXPECT_EQ(values(around("tp=2 dp=32 zero=0", request), "zero-group"), "");
}

/// Another pipeline is split as the stack splits it: by blocks, 40 layers, embedding and head are
/// 42 pieces over 8 stages, 6 on the first two.
TEST(Neighbours, AnotherPipelineIsSplitAsTheStackDoes) {
  SearchRequest request = testing::llama_13b_on_64_a100();
  request.profile.defaults.layer_balance = LayerBalance::blocks;
  const auto all = around("tp=2 pp=4 dp=8 layers=10/11/10/9", request);
  EXPECT_EQ(find(all, "pp", "8").layout.layer_split, (std::vector{5, 6, 5, 5, 5, 5, 5, 4}));
  EXPECT_EQ(find(all, "schedule", "gpipe").layout.layer_split, (std::vector{10, 11, 10, 9}));
}

TEST(Neighbours, ChangeOneKnobAtATime) {
  const SearchRequest request = testing::llama_13b_on_64_a100();
  const auto all = around("tp=2 pp=2 dp=16 micro-batch=2 zero=1", request);
  EXPECT_EQ(values(all, "tp"), "1 4");
  EXPECT_EQ(values(all, "pp"), "1 4");
  EXPECT_EQ(values(all, "cp"), "2");
  EXPECT_EQ(values(all, "micro-batch"), "1 4");
  EXPECT_EQ(values(all, "schedule"), "gpipe interleaved vpp=2 zb-h1");
  EXPECT_EQ(values(all, "recompute"), "selective full");
  EXPECT_EQ(values(all, "sp"), "true");
  EXPECT_EQ(values(all, "zero"), "0 2");
  EXPECT_EQ(values(all, "attention"), "flash1 flash3");
  EXPECT_EQ(values(all, "norm"), "unfused");
  EXPECT_EQ(values(all, "precision"), "fp32 tf32 fp16");  // an A100 has no fp8
  EXPECT_EQ(values(all, "gradient-dtype"), "bf16");
  EXPECT_EQ(find(all, "tp", "4").layout.data_parallel, 8);
  EXPECT_EQ(find(all, "pp", "1").layout.data_parallel, 32);
}

TEST(Neighbours, ArePredictedOrSayWhyNot) {
  const SearchRequest request = testing::llama_13b_on_64_a100();
  const auto all = around("tp=2 pp=2 dp=16 micro-batch=2 zero=1", request);
  for (const Neighbour& neighbour : all) {
    SCOPED_TRACE(neighbour.knob + " " + neighbour.to);
    EXPECT_EQ(neighbour.layout, canonical(neighbour.layout));
    const bool valid = is_valid(neighbour.layout, request.job, request.cluster, request.devices);
    ASSERT_EQ(neighbour.prediction.has_value(), valid);
    EXPECT_EQ(neighbour.reason.empty(), neighbour.fits);
    if (!valid) continue;
    EXPECT_EQ(neighbour.fits, fits(*neighbour.prediction, request));
    EXPECT_DOUBLE_EQ(
        neighbour.prediction->step_s,
        predict(request.job, neighbour.layout, request.cluster, request.profile).step_s);
  }
  EXPECT_THAT(find(all, "attention", "flash3").reason, HasSubstr("Hopper"));
}

// Neighbours share schedules while they are judged; each must get its own.
TEST(Neighbours, ArePredictedLikeAnyLayoutAndTellHowFarTheyAre) {
  const SearchRequest request = testing::llama_13b_on_64_a100();
  std::vector<std::int64_t> told;
  std::int64_t all = 0;
  const auto found = neighbours(*parse_layout("tp=2 pp=4 dp=8 micro-batch=2 zero=1"), request,
                                [&](std::int64_t done, std::int64_t total) {
                                  told.push_back(done);
                                  all = total;
                                });
  for (const Neighbour& neighbour : found) {
    if (!neighbour.prediction) continue;
    const Prediction alone =
        predict(request.job, neighbour.layout, request.cluster, request.profile);
    EXPECT_EQ(neighbour.prediction->step_s, alone.step_s) << neighbour.knob << " " << neighbour.to;
    EXPECT_EQ(neighbour.prediction->peak_memory_bytes, alone.peak_memory_bytes);
  }
  EXPECT_EQ(all, std::ssize(found));
  ASSERT_EQ(told.size(), found.size());
  EXPECT_TRUE(std::ranges::is_sorted(told));
  EXPECT_EQ(told.back(), all);
}

TEST(Neighbours, SayHowMuchMemoryWouldBeNeeded) {
  const SearchRequest request = testing::llama_13b_on_64_a100();
  // 13e9 parameters x 18 bytes of states are 234 GB without ZeRO.
  const auto all = around("tp=1 pp=1 dp=64 micro-batch=1 zero=1", request);
  const Neighbour& plain = find(all, "zero", "0");
  EXPECT_FALSE(plain.fits);
  EXPECT_THAT(plain.reason, HasSubstr("of 80.0 GiB"));
  EXPECT_THAT(plain.reason, HasSubstr("optimizer"));
}

TEST(Neighbours, LeaveOutKnobsWithoutEffect) {
  const SearchRequest request = testing::llama_13b_on_64_a100();
  const auto all = around("tp=1 pp=1 dp=64 micro-batch=1 zero=1", request);
  EXPECT_THAT(values(all, "sp"), IsEmpty());
  EXPECT_THAT(values(all, "schedule"), IsEmpty());
  EXPECT_THAT(values(all, "overlap-tp"), IsEmpty());
}

TEST(Neighbours, InterleavedStepsItsVirtualStages) {
  const SearchRequest request = testing::llama_13b_on_64_a100();
  const auto all = around("tp=1 pp=4 dp=16 vpp=5 zero=1", request);
  EXPECT_EQ(values(all, "schedule"), "gpipe 1f1b interleaved vpp=4 interleaved vpp=6 zb-h1");
}

TEST(Neighbours, DropALayerSplitThatNoLongerSuits) {
  const SearchRequest request = testing::llama_13b_on_64_a100();
  const auto all = around("tp=1 pp=2 dp=32 zero=1 layers=21/19", request);
  EXPECT_THAT(find(all, "pp", "4").layout.layer_split, IsEmpty());
  EXPECT_EQ(find(all, "recompute", "full").layout.layer_split, (std::vector{21, 19}));
}

}  // namespace
}  // namespace kumihimo

#include "layout/layout_text.hpp"

#include <gtest/gtest.h>
#include <random>

#include "layout/names.hpp"

namespace kumihimo {
namespace {

TEST(ParseLayout, ReadsEverySetting) {
  const auto layout = parse_layout(
      "tp=8 pp=4 dp=2 cp=2 micro-batch=3 schedule=interleaved vpp=2 recompute=full sp=true zero=1 "
      "zero-group=2 attention=flash1 norm=unfused precision=fp16 gradient-dtype=fp16 "
      "overlap-dp=false overlap-tp=true offload=optimizer+weights layers=4/5/5/5/5/5/5/4");
  ASSERT_TRUE(layout) << to_string(layout.errors());
  ParallelLayout expected;
  expected.tensor_parallel = 8;
  expected.pipeline_parallel = 4;
  expected.data_parallel = 2;
  expected.context_parallel = 2;
  expected.micro_batch_size = 3;
  expected.schedule = ScheduleKind::interleaved;
  expected.virtual_stages_per_rank = 2;
  expected.recompute = Recompute::full;
  expected.sequence_parallel = true;
  expected.zero_stage = 1;
  expected.zero_group = 2;
  expected.attention = AttentionKernel::flash1;
  expected.norm = NormKernel::unfused;
  expected.precision = Precision::fp16;
  expected.gradient_dtype = Precision::fp16;
  expected.overlap_data_parallel = false;
  expected.overlap_tensor_parallel = true;
  expected.offload = {.optimizer = true, .activations = false, .weights = true};
  expected.layer_split = {4, 5, 5, 5, 5, 5, 5, 4};
  EXPECT_EQ(*layout, expected);
}

TEST(ParseLayout, TakesCommasAndSpacesAndDefaults) {
  const auto layout = parse_layout("  tp=2,pp=2, dp=16\n");
  ASSERT_TRUE(layout);
  ParallelLayout expected;
  expected.tensor_parallel = 2;
  expected.pipeline_parallel = 2;
  expected.data_parallel = 16;
  EXPECT_EQ(*layout, expected);
  EXPECT_EQ(*parse_layout(""), ParallelLayout{});
}

TEST(ParseLayout, VirtualStagesImplyInterleavingUnlessAScheduleIsNamed) {
  EXPECT_EQ(parse_layout("pp=4 vpp=2")->schedule, ScheduleKind::interleaved);
  EXPECT_EQ(parse_layout("pp=4 vpp=2 schedule=1f1b")->schedule,
            ScheduleKind::one_forward_one_backward);
}

TEST(ParseLayout, SpacesAroundAnEqualsSignAreNoKey) {
  const Errors errors = parse_layout("pp = 8").errors();
  ASSERT_EQ(errors.size(), 3u);
  EXPECT_EQ(errors[1].where, "layout");
  EXPECT_EQ(errors[1].what, "\"=\" is not of the form key=value");
}

TEST(ParseLayout, CollectsEveryFault) {
  const auto layout = parse_layout(
      "tp=0 pp=x dp=99999999999999999999 cp=-2 micro-batch=1.5 sp=maybe zero=4 "
      "recompute=sometimes offload=optimizer+sofa layers=3//a tpp=2 tp=4 vpp= alone");
  ASSERT_FALSE(layout);
  const Errors& errors = layout.errors();
  ASSERT_EQ(errors.size(), 15u) << to_string(errors);
  EXPECT_EQ(errors[0].where, "layout: tp");
  EXPECT_EQ(errors[0].what, "is \"0\"");
  EXPECT_EQ(errors[0].fix, "give a whole number from 1 to 32768");
  EXPECT_EQ(errors[1].what, "is \"x\"");
  EXPECT_EQ(errors[2].what, "is \"99999999999999999999\"");
  EXPECT_EQ(errors[3].what, "is \"-2\"");
  EXPECT_EQ(errors[4].what, "is \"1.5\"");
  EXPECT_EQ(errors[5].fix, "give true or false");
  EXPECT_EQ(errors[6].fix, "give a whole number from 0 to 3");
  EXPECT_EQ(errors[7].where, "layout: recompute");
  EXPECT_EQ(errors[8].what, "\"sofa\" is unknown");
  EXPECT_EQ(errors[9].what, "is \"\"");
  EXPECT_EQ(errors[10].what, "is \"a\"");
  EXPECT_EQ(errors[11].where, "layout: tpp");
  EXPECT_EQ(errors[12].what, "is given twice");
  EXPECT_EQ(errors[13].where, "layout: vpp");
  EXPECT_EQ(errors[14].what, "\"alone\" is not of the form key=value");
}

TEST(ParseLayout, SuggestsTheNearestKeyAndValue) {
  const auto layout = parse_layout("micro-bach=1 attention=flash22");
  ASSERT_FALSE(layout);
  ASSERT_EQ(layout.errors().size(), 2u);
  EXPECT_NE(layout.errors()[0].fix.find("\"micro-batch\""), std::string::npos);
  EXPECT_NE(layout.errors()[1].fix.find("\"flash2\""), std::string::npos);
}

TEST(ParseLayout, KnowsHowOthersSpellASetting) {
  const auto fault = parse_layout("tp=2 mb=1 sequence-parallel=true");
  ASSERT_FALSE(fault);
  ASSERT_EQ(fault.errors().size(), 2u);
  EXPECT_EQ(fault.errors()[0].fix, "write \"micro-batch\"");
  EXPECT_EQ(fault.errors()[1].fix, "write \"sp\"");
}

TEST(ParseLayout, RefusesAnAbsurdlyLongText) {
  EXPECT_FALSE(parse_layout(std::string(1 << 20, ' ')));
}

TEST(ToText, NamesWhatDecidesALayoutAndOtherwiseWhatDiffers) {
  EXPECT_EQ(to_text(ParallelLayout{}),
            "tp=1 pp=1 dp=1 micro-batch=1 schedule=1f1b recompute=none sp=false zero=0 "
            "attention=flash2 norm=fused precision=bf16");
  ParallelLayout layout;
  layout.overlap_data_parallel = false;
  layout.layer_split = {3, 4};
  EXPECT_EQ(to_text(layout),
            "tp=1 pp=1 dp=1 micro-batch=1 schedule=1f1b recompute=none sp=false zero=0 "
            "attention=flash2 norm=fused precision=bf16 overlap-dp=false layers=3/4");
}

TEST(ToText, IsReadBack) {
  std::mt19937 random(1);
  const auto pick = [&](int smallest, int largest) {
    return std::uniform_int_distribution<int>(smallest, largest)(random);
  };
  for (int repeat = 0; repeat < 500; ++repeat) {
    ParallelLayout layout;
    layout.tensor_parallel = pick(1, 64);
    layout.pipeline_parallel = pick(1, 64);
    layout.data_parallel = pick(1, 32768);
    layout.context_parallel = pick(1, 8);
    layout.micro_batch_size = pick(1, 16);
    layout.schedule = static_cast<ScheduleKind>(pick(0, 3));
    layout.virtual_stages_per_rank = pick(1, 4);
    layout.recompute = static_cast<Recompute>(pick(0, 2));
    layout.sequence_parallel = pick(0, 1);
    layout.zero_stage = pick(0, 3);
    layout.zero_group = pick(0, 8);
    layout.attention = static_cast<AttentionKernel>(pick(0, 4));
    layout.norm = static_cast<NormKernel>(pick(0, 1));
    layout.precision = static_cast<Precision>(pick(0, 4));
    layout.gradient_dtype = static_cast<Precision>(pick(0, 4));
    layout.overlap_data_parallel = pick(0, 1);
    layout.overlap_tensor_parallel = pick(0, 1);
    layout.offload = {pick(0, 1) == 1, pick(0, 1) == 1, pick(0, 1) == 1};
    for (int stage = pick(0, 5); stage > 0; --stage) layout.layer_split.push_back(pick(0, 20));
    const auto read = parse_layout(to_text(layout));
    ASSERT_TRUE(read) << to_text(layout) << '\n' << to_string(read.errors());
    ASSERT_EQ(*read, layout) << to_text(layout);
  }
}

TEST(ShortText, FitsATable) {
  ParallelLayout layout;
  layout.tensor_parallel = 2;
  layout.pipeline_parallel = 2;
  layout.data_parallel = 16;
  EXPECT_EQ(short_text(layout), "tp 2 · pp 2 · dp 16 · mb 1");
  layout.context_parallel = 4;
  layout.virtual_stages_per_rank = 3;
  EXPECT_EQ(short_text(layout), "tp 2 · pp 2 · dp 16 · mb 1 · cp 4 · vpp 3");
}

template <class Enum>
void expect_names_read_back(std::size_t count) {
  ASSERT_EQ(names_of<Enum>().size(), count);
  for (std::size_t index = 0; index < count; ++index) {
    const auto value = static_cast<Enum>(index);  // rows stand in the order of the values
    EXPECT_EQ(*parse_name<Enum>(to_string(value), "--flag"), value);
    EXPECT_EQ(names_of<Enum>()[index], to_string(value));
  }
}

TEST(Names, OfEveryEnumReadBack) {
  expect_names_read_back<Recompute>(3);
  expect_names_read_back<AttentionKernel>(5);
  expect_names_read_back<NormKernel>(2);
  expect_names_read_back<ScheduleKind>(4);
  expect_names_read_back<Precision>(5);
}

TEST(Names, AreThoseOfTheField) {
  EXPECT_EQ(to_string(Recompute::selective), "selective");
  EXPECT_EQ(to_string(AttentionKernel::fused_softmax), "fused-softmax");
  EXPECT_EQ(to_string(ScheduleKind::one_forward_one_backward), "1f1b");
  EXPECT_EQ(to_string(ScheduleKind::zb_h1), "zb-h1");
}

TEST(Names, RefuseAnUnknownOneWithTheNearest) {
  const auto schedule = parse_name<ScheduleKind>("interleafed", "--schedule");
  ASSERT_FALSE(schedule);
  EXPECT_EQ(schedule.errors()[0].where, "--schedule");
  EXPECT_EQ(schedule.errors()[0].what, "\"interleafed\" is unknown");
  EXPECT_NE(schedule.errors()[0].fix.find("did you mean \"interleaved\"?"), std::string::npos);
}

}  // namespace
}  // namespace kumihimo

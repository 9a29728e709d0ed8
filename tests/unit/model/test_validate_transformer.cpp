#include <gtest/gtest.h>
#include <limits>

#include "model/validate_transformer.hpp"

namespace kumihimo {
namespace {

TransformerShape tiny() {
  TransformerShape shape;
  shape.layers = 4;
  shape.hidden = 256;
  shape.heads = 4;
  shape.kv_heads = 4;
  shape.head_dim = 64;
  shape.ffn_hidden = 688;
  shape.vocab = 256;
  shape.max_positions = 1024;
  return shape;
}

std::string faults_of(const TransformerShape& shape) { return to_string(validate(shape, "m")); }

TEST(ValidateTransformer, AcceptsASoundShape) { EXPECT_EQ(faults_of(tiny()), ""); }

TEST(ValidateTransformer, FindsEveryNumberOutOfRangeAtOnce) {
  const Errors faults = validate(TransformerShape{}, "m");
  // The eight sizes but head_dim, which 0 hidden and 0 heads leave open, and kv_heads, which follow
  // heads.
  ASSERT_EQ(faults.size(), 6u) << to_string(faults);
  EXPECT_EQ(faults[0].where, "m: layers");
  EXPECT_EQ(faults[0].what, "is 0");
  EXPECT_EQ(faults[0].fix, "give a whole number from 1 to 10000");
}

TEST(ValidateTransformer, RefusesEachAbsurdNumber) {
  const std::int64_t absurd = std::numeric_limits<std::int64_t>::max();
  for (std::int64_t TransformerShape::*field :
       {&TransformerShape::layers, &TransformerShape::hidden, &TransformerShape::heads,
        &TransformerShape::kv_heads, &TransformerShape::head_dim, &TransformerShape::ffn_hidden,
        &TransformerShape::vocab, &TransformerShape::max_positions}) {
    for (const std::int64_t value : {absurd, std::int64_t{-1}, -absurd - 1}) {
      TransformerShape shape = tiny();
      shape.*field = value;
      EXPECT_NE(faults_of(shape).find("is " + std::to_string(value)), std::string::npos) << value;
    }
  }
}

TEST(ValidateTransformer, RefusesHeadsThatDoNotFit) {
  TransformerShape shape = tiny();
  shape.kv_heads = 3;
  EXPECT_EQ(faults_of(shape),
            "m: kv_heads: is 3, which does not divide heads 4; give a divisor of 4\n");
  shape = tiny();
  shape.heads = shape.kv_heads = 3;
  shape.head_dim = 0;
  EXPECT_EQ(faults_of(shape),
            "m: heads: is 3, which does not divide hidden 256; give a divisor of 256, or state "
            "head_dim\n");
}

TEST(ValidateTransformer, RotaryHeadsAreEven) {
  TransformerShape shape = tiny();
  shape.head_dim = 63;
  EXPECT_NE(faults_of(shape).find("heads of 63 elements"), std::string::npos);
  shape.positions = Positions::learned;
  EXPECT_EQ(faults_of(shape), "");
}

TEST(ValidateTransformer, RefusesNotANumber) {
  TransformerShape shape = tiny();
  shape.norm_epsilon = std::numeric_limits<double>::quiet_NaN();
  shape.rope_theta = std::numeric_limits<double>::infinity();
  const Errors faults = validate(shape, "m");
  ASSERT_EQ(faults.size(), 2u);
  EXPECT_EQ(faults[0].where, "m: norm_epsilon");
  EXPECT_EQ(faults[1].where, "m: rope_theta");
}

TEST(ValidateTransformer, RefusesWhatWouldOverflowACount) {
  TransformerShape shape = tiny();
  shape.layers = 10'000;
  shape.hidden = 1'048'576;
  shape.heads = shape.kv_heads = 65'536;
  shape.head_dim = 1'048'576;
  shape.ffn_hidden = 16'777'216;
  shape.vocab = 100'000'000;
  shape.max_positions = 1'000'000'000;
  const Errors faults = validate(shape, "m");
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_NE(faults[0].what.find("parameters"), std::string::npos);
}

TEST(ValidateTransformer, NamesFlagsWithoutAPlace) {
  TransformerShape shape = tiny();
  shape.heads = shape.kv_heads = 0;
  const Errors faults = validate(shape, "", {.heads = "--heads"});
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_EQ(faults[0].where, "--heads");
}

}  // namespace
}  // namespace kumihimo

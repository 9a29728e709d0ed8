// How a unit's elements are divided over the data-parallel ranks.

#include "engine/unit_shard.hpp"

#include <gtest/gtest.h>
#include <vector>

namespace kumihimo {
namespace {

ParameterUnit unit_of(const std::vector<std::int64_t>& sizes) {
  ParameterUnit unit;
  for (const std::int64_t size : sizes) {
    Parameter p;
    p.offset = unit.elements;
    p.cols = size;
    unit.parameters.push_back(p);
    unit.elements += size;
  }
  return unit;
}

/// How often the ranks together hold each element of the unit.
std::vector<int> times_held(const ParameterUnit& unit, int zero_stage, int ranks, auto&& pieces) {
  std::vector<int> times(static_cast<std::size_t>(unit.elements), 0);
  for (int rank = 0; rank < ranks; ++rank) {
    const UnitShard shard = shard_of(unit, zero_stage, ranks, rank);
    for (const OwnedPiece& piece : pieces(unit, shard)) {
      const std::int64_t first = piece.parameter->offset + piece.first;
      EXPECT_EQ(first - piece.offset, shard.begin) << "offsets count from the first owned element";
      for (std::int64_t i = 0; i < piece.count; ++i) ++times[static_cast<std::size_t>(first + i)];
    }
  }
  return times;
}

TEST(UnitShard, RanksTogetherOwnAndSaveEveryElementOnce) {
  for (const int ranks : {1, 2, 3, 8, 40}) {  // of 40, the last own nothing
    const ParameterUnit unit = unit_of({5, 1, 17, 4});
    const std::vector<int> once(static_cast<std::size_t>(unit.elements), 1);
    for (const int zero_stage : {1, 2, 3}) {
      EXPECT_EQ(times_held(unit, zero_stage, ranks, owned_pieces), once) << ranks;
      EXPECT_EQ(times_held(unit, zero_stage, ranks, pieces_to_save), once) << ranks;
    }
    EXPECT_EQ(times_held(unit, 0, ranks, pieces_to_save), once) << ranks;
    const std::vector<int> by_all(static_cast<std::size_t>(unit.elements), ranks);
    EXPECT_EQ(times_held(unit, 0, ranks, owned_pieces), by_all) << ranks;
  }
}

TEST(UnitShard, IsPaddedToAMultipleOfTheRanksUnlessEachOwnsAll) {
  const ParameterUnit unit = unit_of({10, 17});
  const UnitShard sharded = shard_of(unit, 1, 4, 3);
  EXPECT_EQ(sharded.size, 7);
  EXPECT_EQ(sharded.whole, 28);
  EXPECT_EQ(sharded.owned, 7);
  EXPECT_EQ(sharded.begin, 21);
  EXPECT_EQ(sharded.end, 27);
  const UnitShard replicated = shard_of(unit, 0, 4, 3);
  EXPECT_EQ(replicated.whole, 27);
  EXPECT_EQ(replicated.owned, 27);
  EXPECT_EQ(replicated.begin, 0);
}

TEST(UnitShard, WhatAnotherRankStandsForIsOwnedButNotSaved) {
  ParameterUnit unit = unit_of({6, 6});
  unit.parameters[0].counted = false;
  const UnitShard shard = shard_of(unit, 1, 1, 0);
  EXPECT_EQ(owned_pieces(unit, shard).size(), 2u);
  ASSERT_EQ(pieces_to_save(unit, shard).size(), 1u);
  EXPECT_EQ(pieces_to_save(unit, shard)[0].parameter, &unit.parameters[1]);
}

}  // namespace
}  // namespace kumihimo

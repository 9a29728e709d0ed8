#include "engine/unit_shard.hpp"

#include <algorithm>

#include "base/ceil_divide.hpp"

namespace kumihimo {
namespace {

/// `owned_from`: the element of the unit at which what the rank owns starts.
std::vector<OwnedPiece> pieces(const ParameterUnit& unit, std::int64_t begin, std::int64_t end,
                               std::int64_t owned_from) {
  std::vector<OwnedPiece> result;
  for (const Parameter& p : unit.parameters) {
    const std::int64_t first = std::max(begin, p.offset);
    const std::int64_t last = std::min(end, p.offset + p.elements());
    if (first < last) result.push_back({&p, first - p.offset, last - first, first - owned_from});
  }
  return result;
}

}  // namespace

UnitShard shard_of(const ParameterUnit& unit, int zero_stage, int data_ranks, int data_rank) {
  UnitShard shard{.elements = unit.elements, .size = ceil_divide(unit.elements, data_ranks)};
  shard.part_begin = std::min(shard.elements, shard.size * data_rank);
  shard.part_end = std::min(shard.elements, shard.part_begin + shard.size);
  const bool owns_all = zero_stage == 0;
  shard.whole = owns_all ? shard.elements : shard.size * data_ranks;
  shard.owned = owns_all ? shard.elements : shard.size;
  shard.begin = owns_all ? 0 : shard.part_begin;
  shard.end = owns_all ? shard.elements : shard.part_end;
  return shard;
}

std::vector<OwnedPiece> owned_pieces(const ParameterUnit& unit, const UnitShard& shard) {
  return pieces(unit, shard.begin, shard.end, shard.begin);
}

std::vector<OwnedPiece> pieces_to_save(const ParameterUnit& unit, const UnitShard& shard) {
  std::vector<OwnedPiece> result = pieces(unit, shard.part_begin, shard.part_end, shard.begin);
  std::erase_if(result, [](const OwnedPiece& piece) { return !piece.parameter->counted; });
  return result;
}

}  // namespace kumihimo

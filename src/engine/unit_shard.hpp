#pragma once

#include <cstdint>
#include <vector>

#include "engine/parameter_units.hpp"

namespace kumihimo {

/// A run of consecutive elements of one parameter that this rank owns.
struct OwnedPiece {
  const Parameter* parameter = nullptr;
  std::int64_t first = 0;  ///< element of the parameter's part on this rank, row by row
  std::int64_t count = 0;
  std::int64_t offset = 0;  ///< from the start of what this rank owns of the unit
};

/// How the elements of a unit are divided over the data-parallel ranks: padded to a multiple of
/// them, of which rank r has the r-th part. A rank owns its part, or under ZeRO-0 the whole, as
/// every other rank does.
struct UnitShard {
  std::int64_t elements = 0;                  ///< of the unit
  std::int64_t size = 0;                      ///< of a rank's part, padding included
  std::int64_t whole = 0;                     ///< of all that is kept where a rank keeps all
  std::int64_t part_begin = 0, part_end = 0;  ///< this rank's part of the elements, no padding
  std::int64_t owned = 0;                     ///< padding included
  std::int64_t begin = 0, end = 0;            ///< of the elements that are owned, no padding
};
UnitShard shard_of(const ParameterUnit& unit, int zero_stage, int data_ranks, int data_rank);

/// All that a rank owns of a unit.
std::vector<OwnedPiece> owned_pieces(const ParameterUnit& unit, const UnitShard& shard);
/// Pieces such that those of all ranks together hold every element of the model once.
std::vector<OwnedPiece> pieces_to_save(const ParameterUnit& unit, const UnitShard& shard);

}  // namespace kumihimo

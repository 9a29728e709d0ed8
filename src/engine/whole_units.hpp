#pragma once

#include <optional>
#include <span>
#include <vector>

#include "comm/world.hpp"
#include "engine/parameter_units.hpp"
#include "engine/unit_shard.hpp"
#include "tensor/device_memory.hpp"

namespace kumihimo {

/// A buffer for the whole of a unit that is kept in shards.
struct WholeUnit {
  Buffer memory;
  Matrix flat;    ///< [1, elements], padding included
  int unit = -1;  ///< whose values it holds, or is about to hold; -1: none's
  std::optional<CommunicationStream::Ticket> ticket;  ///< of what is under way in it
};

/// Whole units that come and go: layers take two buffers in turn, one in use while the other is
/// filled or drained; every other unit has one of its own.
class WholeUnits {
 public:
  WholeUnits(const std::vector<ParameterUnit>& units, const std::vector<UnitShard>& shards,
             DType dtype, DeviceMemory& memory);

  /// The buffer that has the unit, or where it is to come.
  WholeUnit& buffer_of(int unit);
  /// The unit is in use, in its buffer: the other of two is the next to be taken.
  void in_use(const WholeUnit& whole);
  std::span<WholeUnit> all() { return buffers_; }

 private:
  std::vector<WholeUnit> buffers_;   ///< the layers' two first, empty where there is no layer
  std::vector<std::size_t> places_;  ///< by unit: of its buffer, or of the layers' first
  std::size_t current_ = 0;          ///< of the layers' two, the one used last
};

}  // namespace kumihimo

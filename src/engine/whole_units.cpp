#include "engine/whole_units.hpp"

#include <cstddef>

namespace kumihimo {

WholeUnits::WholeUnits(const std::vector<ParameterUnit>& units,
                       const std::vector<UnitShard>& shards, DType dtype, DeviceMemory& memory)
    : buffers_(2), places_(units.size(), 0) {
  for (std::size_t i = 0; i < units.size(); ++i) {
    const auto fill = [&](WholeUnit& whole) {
      whole.memory =
          Buffer(memory, MemoryCategory::communication, shards[i].whole * bytes_of(dtype));
      whole.flat = matrix_at(whole.memory.data(), 1, shards[i].whole, dtype);
    };
    if (units[i].kind != UnitKind::layer) {
      places_[i] = buffers_.size();
      fill(buffers_.emplace_back());
    } else if (buffers_[0].memory.size() == 0) {  // layers are all of one size
      fill(buffers_[0]);
      fill(buffers_[1]);
    }
  }
}

WholeUnit& WholeUnits::buffer_of(int unit) {
  const std::size_t place = places_[static_cast<std::size_t>(unit)];
  if (place > 0) return buffers_[place];
  for (std::size_t turn = 0; turn < 2; ++turn) {
    if (buffers_[turn].unit == unit) return buffers_[turn];
  }
  return buffers_[1 - current_];
}

void WholeUnits::in_use(const WholeUnit& whole) {
  for (std::size_t turn = 0; turn < 2; ++turn) {
    if (&whole == &buffers_[turn]) current_ = turn;
  }
}

}  // namespace kumihimo

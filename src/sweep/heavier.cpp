#include "sweep/heavier.hpp"

#include <algorithm>

#include "base/check.hpp"

namespace kumihimo {

const MemoryUse& fullest_rank(const Prediction& prediction) {
  KUMIHIMO_CHECK(!prediction.memory.empty());
  return *std::ranges::max_element(prediction.memory, {}, &MemoryUse::total);
}

bool at_least_as_heavy(const MemoryUse& heavy, const MemoryUse& light) {
  return heavy.weights >= light.weights && heavy.gradients >= light.gradients &&
         heavy.optimizer >= light.optimizer && heavy.activations >= light.activations &&
         heavy.communication >= light.communication && heavy.workspace >= light.workspace &&
         heavy.context >= light.context;
}

}  // namespace kumihimo

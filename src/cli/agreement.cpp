#include "cli/agreement.hpp"

#include <numeric>
#include <vector>

namespace kumihimo {

Agreement::Agreement(World& world) : group_(group_of_all(world)) {}

double Agreement::highest(double value) { return reduced(value, Reduction::max); }

double Agreement::sum(double value) { return reduced(value, Reduction::sum); }

double Agreement::reduced(double value, Reduction reduction) {
  group_->all_reduce(matrix_at(&value, 1, 1, DType::fp64), reduction);
  return value;
}

std::unique_ptr<ProcessGroup> group_of_all(World& world) {
  std::vector<int> ranks(static_cast<std::size_t>(world.size()));
  std::iota(ranks.begin(), ranks.end(), 0);
  return world.make_group(ranks);
}

}  // namespace kumihimo

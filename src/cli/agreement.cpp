#include "cli/agreement.hpp"

#include <numeric>
#include <vector>

#include "cli/terminal.hpp"

namespace kumihimo {

Agreement::Agreement(World& world) : group_(group_of_all(world)) {}

double Agreement::highest(double value) { return reduced(value, Reduction::max); }

double Agreement::sum(double value) { return reduced(value, Reduction::sum); }

double Agreement::reduced(double value, Reduction reduction) {
  group_->all_reduce(matrix_at(&value, 1, 1, DType::fp64), reduction);
  return value;
}

bool refused_by_any(Agreement& agreement, World& world, const Errors& faults) {
  const double none = world.size();
  const double first = agreement.lowest(faults.empty() ? none : world.rank());
  if (first == world.rank()) print_errors(faults);
  return first < none;
}

std::unique_ptr<ProcessGroup> group_of_all(World& world) {
  std::vector<int> ranks(static_cast<std::size_t>(world.size()));
  std::iota(ranks.begin(), ranks.end(), 0);
  return world.make_group(ranks);
}

}  // namespace kumihimo

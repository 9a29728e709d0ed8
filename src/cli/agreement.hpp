#pragma once

#include <memory>

#include "base/error.hpp"
#include "comm/world.hpp"

namespace kumihimo {

/// Small numbers that all ranks of a world agree on, between steps. Made, and called, by all ranks
/// in the same order.
class Agreement {
 public:
  explicit Agreement(World& world);

  double highest(double value);
  double lowest(double value) { return -highest(-value); }
  double sum(double value);
  bool any(bool value) { return highest(value ? 1 : 0) > 0; }
  void barrier() { group_->barrier(); }

 private:
  double reduced(double value, Reduction reduction);

  std::unique_ptr<ProcessGroup> group_;
};

/// Whether any rank found a fault; the first that did prints its own, which are mostly everybody's.
bool refused_by_any(Agreement& agreement, World& world, const Errors& faults);

/// The group of all ranks. Called by all.
std::unique_ptr<ProcessGroup> group_of_all(World& world);

}  // namespace kumihimo

#pragma once

#include <memory>

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

/// The group of all ranks. Called by all.
std::unique_ptr<ProcessGroup> group_of_all(World& world);

}  // namespace kumihimo

#pragma once

#include <cstdint>
#include <vector>

#include "engine/offloaded_states.hpp"
#include "engine/training_options.hpp"
#include "tensor/kernels.hpp"

namespace kumihimo {

/// The optimizer's update of what a rank owns. It is decided when a step has all its gradients, and
/// done later, a portion at a time and in their order: what lies between two portions, such as the
/// forward pass of a layer that has been updated, hides the copies of offloaded states.
class PendingUpdate {
 public:
  /// `offloaded`: has the states, in as many portions; null: they are on the device.
  PendingUpdate(const OptimizerOptions& optimizer, std::size_t units, std::int64_t portions,
                OffloadedStates* offloaded, Kernels& kernels);

  /// Part of a unit, to be updated with that portion. For once, before all other functions.
  void add(int unit, std::int64_t portion, const OptimizerPiece& piece);

  /// From now on the update of all units is pending; gradients are multiplied by `gradient_scale`.
  /// Requires that none is.
  void decide(std::int64_t step, double learning_rate, double gradient_scale);
  /// Whether something of a unit has yet to be updated: its gradients are needed until then.
  bool is_pending(int unit) const {
    return next_ <= last_portions_[static_cast<std::size_t>(unit)];
  }
  /// Has the device do what is pending up to a unit's last portion.
  void complete(int unit) { complete_through(last_portions_[static_cast<std::size_t>(unit)]); }
  void complete() { complete_through(std::ssize(portions_) - 1); }

 private:
  void complete_through(std::int64_t portion);
  void update(std::int64_t portion);

  OptimizerOptions optimizer_;
  OffloadedStates* offloaded_;
  Kernels& kernels_;
  std::vector<std::vector<OptimizerPiece>> portions_;
  std::vector<std::int64_t> last_portions_;  ///< by unit; -1 where this rank owns nothing of it
  std::int64_t next_;                        ///< the first portion that is pending
  AdamW adamw_{};                            ///< of the update that is pending
  Sgd sgd_{};
};

}  // namespace kumihimo

#include "engine/pending_update.hpp"

#include <algorithm>
#include <cmath>

namespace kumihimo {

PendingUpdate::PendingUpdate(const OptimizerOptions& optimizer, std::size_t units,
                             std::int64_t portions, OffloadedStates* offloaded, Kernels& kernels)
    : optimizer_(optimizer),
      offloaded_(offloaded),
      kernels_(kernels),
      portions_(static_cast<std::size_t>(portions)),
      last_portions_(units, -1),
      next_(portions) {}

void PendingUpdate::add(int unit, std::int64_t portion, const OptimizerPiece& piece) {
  portions_[static_cast<std::size_t>(portion)].push_back(piece);
  std::int64_t& last = last_portions_[static_cast<std::size_t>(unit)];
  last = std::max(last, portion);
}

void PendingUpdate::decide(std::int64_t step, double learning_rate, double gradient_scale) {
  KUMIHIMO_CHECK(next_ == std::ssize(portions_));
  next_ = 0;
  const double count = static_cast<double>(step + 1);
  adamw_ = {.learning_rate = static_cast<float>(learning_rate),
            .beta1 = static_cast<float>(optimizer_.beta1),
            .beta2 = static_cast<float>(optimizer_.beta2),
            .epsilon = static_cast<float>(optimizer_.epsilon),
            .gradient_scale = static_cast<float>(gradient_scale),
            .correction1 = static_cast<float>(1 - std::pow(optimizer_.beta1, count)),
            .correction2 = static_cast<float>(1 - std::pow(optimizer_.beta2, count))};
  sgd_ = {.learning_rate = static_cast<float>(learning_rate),
          .momentum = static_cast<float>(optimizer_.momentum),
          .gradient_scale = static_cast<float>(gradient_scale)};
}

void PendingUpdate::complete_through(std::int64_t portion) {
  const auto is_empty = [this] { return portions_[static_cast<std::size_t>(next_)].empty(); };
  // What pads the shards may fill a portion: it stays zero, and nobody's completion leads to it.
  for (; next_ < std::ssize(portions_) && (next_ <= portion || is_empty()); ++next_) {
    if (is_empty()) continue;
    if (offloaded_ != nullptr) {
      offloaded_->update(next_, [this] { update(next_); });
    } else {
      update(next_);
    }
  }
}

void PendingUpdate::update(std::int64_t portion) {
  const std::vector<OptimizerPiece>& pieces = portions_[static_cast<std::size_t>(portion)];
  if (optimizer_.kind == OptimizerKind::adamw) {
    kernels_.adamw(adamw_, pieces);
  } else {
    kernels_.sgd(sgd_, pieces);
  }
}

}  // namespace kumihimo

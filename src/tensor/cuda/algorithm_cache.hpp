#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cublasLt.h>
#include <map>
#include <mutex>
#include <optional>

namespace kumihimo::cuda {

/// Everything about a matrix product that decides which algorithm is fast, or possible.
using ProductKey = std::array<std::int64_t, 19>;

struct ProductAlgorithm {
  cublasLtMatmulAlgo_t algorithm{};
  std::size_t workspace_bytes = 0;
};

/// Which algorithm is used for each product, once for all ranks of a process on GPUs of one kind:
/// what one has timed the others need not, and ranks that do the same work do it with the same
/// bits. For all threads.
class AlgorithmCache {
 public:
  std::optional<ProductAlgorithm> find(const ProductKey& key) const {
    const std::lock_guard lock(mutex_);
    const auto found = algorithms_.find(key);
    return found == algorithms_.end() ? std::nullopt : std::optional(found->second);
  }
  /// The first to come decides; returns what holds.
  ProductAlgorithm keep(const ProductKey& key, const ProductAlgorithm& algorithm) {
    const std::lock_guard lock(mutex_);
    return algorithms_.try_emplace(key, algorithm).first->second;
  }

 private:
  mutable std::mutex mutex_;
  std::map<ProductKey, ProductAlgorithm> algorithms_;
};

}  // namespace kumihimo::cuda

#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "cluster/cluster.hpp"
#include "layout/parallel_layout.hpp"

namespace kumihimo {

/// No axis, micro-batch or number of virtual stages is larger: products of four of them fit 64
/// bits, products of two fit an int.
inline constexpr int max_degree = 32768;

/// Every reason why `layout` cannot train `job` on `devices` devices of `cluster`, each with its
/// values and a remedy; empty: it can (memory is judged elsewhere). Safe on any values of layout
/// and job; the model's shape itself is taken as valid. What only Kumihimo's own engine runs, such
/// as ZeRO-2 and 3 within a pipeline, is not refused.
Errors faults(const ParallelLayout& layout, const TrainingJob& job, const Cluster& cluster,
              std::int64_t devices);

/// The first of these reasons as a fixed phrase ("tp does not divide the attention heads"), or
/// nothing. Allocates nothing: for a search that judges millions of layouts and counts the reasons.
std::optional<std::string_view> first_fault(const ParallelLayout& layout, const TrainingJob& job,
                                            const Cluster& cluster, std::int64_t devices);

/// Every phrase that first_fault can give: for whoever translates them.
std::vector<std::string_view> fault_phrases();

inline bool is_valid(const ParallelLayout& layout, const TrainingJob& job, const Cluster& cluster,
                     std::int64_t devices) {
  return !first_fault(layout, job, cluster, devices);
}

}  // namespace kumihimo

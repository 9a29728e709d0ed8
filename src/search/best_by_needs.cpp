#include "search/best_by_needs.hpp"

#include <algorithm>

#include "layout/canonical.hpp"
#include "search/layout_index.hpp"
#include "search/layout_judge.hpp"
#include "search/layout_order.hpp"
#include "search/memory_limit.hpp"
#include "search/parallel.hpp"

namespace kumihimo {
namespace {

constexpr std::int64_t block_size = 512;

struct Candidate {
  double least_step_s = 0;
  std::int64_t index = 0;
  Needs needs = 0;

  auto operator<=>(const Candidate&) const = default;
};

/// Layouts of a block that fit.
std::vector<Candidate> candidates_of_block(const LayoutIndex& index, const NeedsOf& needs_of,
                                           const MemoryLimits& limits, std::int64_t first,
                                           std::int64_t last, LayoutJudge& judge) {
  std::vector<Candidate> found;
  for (std::int64_t number = first; number < last; ++number) {
    const LayoutIndex::Entry entry = index.at(number);
    if (!entry.wanted) continue;
    const ParallelLayout layout = canonical(entry.layout);
    if (judge.fault_of(layout) || index.is_twin(entry.layout, layout)) continue;
    const std::optional<Needs> needs = needs_of(layout);
    if (!needs) continue;
    const LayoutEstimate estimated = judge.estimate(layout, *entry.shape);
    if (!limits.allow(estimated.fullest.total(), estimated.host_bytes_of_node)) continue;
    found.push_back({estimated.least_step_s, number, *needs});
  }
  return found;
}

std::vector<Candidate> all_candidates(const SearchRequest& request, const LayoutIndex& index,
                                      const NeedsOf& needs_of) {
  const int threads = thread_count(request.threads);
  std::vector<LayoutJudge> judges(static_cast<std::size_t>(threads), LayoutJudge(request));
  const std::int64_t blocks = (index.size() + block_size - 1) / block_size;
  std::vector<std::vector<Candidate>> found(static_cast<std::size_t>(blocks));
  const MemoryLimits limits = memory_limits(request);
  for_each_in_parallel(blocks, threads, [&](int worker, std::int64_t block) {
    const std::int64_t first = block * block_size;
    found[static_cast<std::size_t>(block)] = candidates_of_block(
        index, needs_of, limits, first, std::min(first + block_size, index.size()),
        judges[static_cast<std::size_t>(worker)]);
  });
  std::vector<Candidate> all;
  for (const std::vector<Candidate>& block : found) {
    all.insert(all.end(), block.begin(), block.end());
  }
  std::ranges::sort(all);
  return all;
}

}  // namespace

BestByNeeds best_by_needs(const SearchRequest& request, int things, const NeedsOf& needs_of) {
  KUMIHIMO_CHECK(request_faults(request).empty());
  KUMIHIMO_CHECK(things >= 0 && things <= most_needs);
  const LayoutIndex index(request.space, request.job, request.devices);
  const Needs all = (Needs{1} << things) - 1;

  BestByNeeds result;
  result.best.assign(std::size_t{all} + 1, -1);
  std::vector<LayoutOrder> orders(result.best.size());
  for (const Candidate& candidate : all_candidates(request, index, needs_of)) {
    if (candidate.least_step_s > orders[candidate.needs].score) continue;
    RankedLayout ranked{canonical(index.at(candidate.index).layout), {}};
    ranked.prediction = predict(request.job, ranked.layout, request.cluster, request.profile);
    const LayoutOrder order(ranked.prediction.step_s, ranked.layout, candidate.index);
    const auto number = static_cast<std::int32_t>(result.layouts.size());
    bool used = false;
    // Every superset of the needs: add bits that are missing, in the usual way.
    const Needs missing = all & ~candidate.needs;
    for (Needs extra = missing;; extra = (extra - 1) & missing) {
      const std::size_t has = candidate.needs | extra;
      if (order < orders[has]) {
        orders[has] = order;
        result.best[has] = number;
        used = true;
      }
      if (extra == 0) break;
    }
    if (used) result.layouts.push_back(std::move(ranked));
  }
  return result;
}

}  // namespace kumihimo

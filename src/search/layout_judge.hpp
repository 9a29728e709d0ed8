#pragma once

#include <optional>
#include <string_view>

#include "search/layout_estimate.hpp"
#include "search/search.hpp"

namespace kumihimo {

/// Judges the layouts of a request one by one, without playing their schedules. For one thread:
/// it keeps the costs of a layer, which neighbouring layouts of a LayoutIndex share.
class LayoutJudge {
 public:
  explicit LayoutJudge(const SearchRequest& request) : request_(request) {}

  /// Why a canonical layout cannot run, as a fixed phrase; memory is not considered.
  std::optional<std::string_view> fault_of(const ParallelLayout& layout) const;

  /// Requires a canonical layout without fault; `shape` is that of its layers.
  LayoutEstimate estimate(const ParallelLayout& layout, const PipelineShape& shape);

 private:
  const SearchRequest& request_;
  std::optional<PieceCosts> pieces_;
  ParallelLayout pieces_of_;
};

}  // namespace kumihimo

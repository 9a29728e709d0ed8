#pragma once

#include <cstdint>
#include <vector>

#include "search/pipeline_shape.hpp"
#include "search/search_space.hpp"

namespace kumihimo {

/// Numbers the layouts of a space from 0. Knobs that decide the costs of a layer change slowest, so
/// that neighbouring numbers share them. Values that a list names twice count once.
class LayoutIndex {
 public:
  LayoutIndex(SearchSpace space, const TrainingJob& job, std::int64_t devices);

  std::int64_t size() const { return space_.size(); }

  struct Entry {
    /// With data parallelism filled in (1 where no whole number does) and the layer split.
    ParallelLayout layout;
    const PipelineShape* shape = nullptr;  ///< null where the stages outnumber the layers
    bool wanted = true;                    ///< false: not of the space, by its data parallelism
  };
  Entry at(std::int64_t index) const;

  /// Whether the space holds another spelling of `layout`, which is one of the space: the canonical
  /// one, or one that its lists name earlier. Of all spellings of a layout just one is no twin.
  /// `canonical_layout` is canonical(layout).
  bool is_twin(const ParallelLayout& layout, const ParallelLayout& canonical_layout) const;

 private:
  struct Pipeline {
    bool possible = false;
    std::vector<int> layer_split;
    PipelineShape shape;
  };

  SearchSpace space_;
  std::int64_t devices_;
  std::vector<Pipeline> pipelines_;  ///< [pipeline_parallel][schedule]
};

}  // namespace kumihimo

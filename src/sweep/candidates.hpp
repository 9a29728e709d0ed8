#pragma once

#include <functional>
#include <map>
#include <string_view>
#include <vector>

#include "search/search_space.hpp"
#include "sweep/trials.hpp"

namespace kumihimo {

struct CandidateList {
  std::vector<Candidate> candidates;
  std::int64_t considered = 0;
  std::map<std::string, std::int64_t> left_out;  ///< reason -> layouts
};

/// The layouts of a space that can train the job, each once. `also_refuse`: what else stands in the
/// way of a layout, as what the trainer lacks; nothing if nothing does.
CandidateList list_candidates(
    const SearchSpace& space, const TrainingJob& job, const Cluster& cluster, std::int64_t devices,
    const std::function<std::optional<std::string>(const ParallelLayout&)>& also_refuse);

/// The candidate that one valid layout is.
Candidate make_candidate(const TrainingJob& job, const ParallelLayout& layout,
                         const Cluster& cluster, std::int64_t devices);

/// What is known of a candidate before it runs, as a row of a run file that reads back to it.
RunRow run_row(const Candidate& candidate);

}  // namespace kumihimo

// Branch and bound over the whole space, a slice of it at a time so that memory stays small:
//
// 1. Judge every layout of the slice: impossible, a twin of another, too large for memory, or a
//    candidate with a lower bound of its score. This takes about a microsecond each.
// 2. Simulate the candidates, most promising first, until the next one's bound is worse than the
//    last of the best found so far: what remains cannot be among the best.
//
// Slices and batches have fixed sizes and their results are put together in the order of the
// layouts' numbers, so neither the best nor the counts depend on the number of threads.
#include "search/search.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <string_view>

#include "layout/canonical.hpp"
#include "search/layout_index.hpp"
#include "search/layout_judge.hpp"
#include "search/layout_order.hpp"
#include "search/memory_limit.hpp"
#include "search/parallel.hpp"

namespace kumihimo {
namespace {

constexpr std::int64_t slice_size = 1 << 18;
constexpr std::int64_t block_size = 512;
constexpr std::size_t batch_size = 16;

/// What a second of the step weighs: objectives are step times times this, the least is best.
double score_per_second(const ParallelLayout& layout, const SearchRequest& request) {
  // mfu = model FLOPs / (peak x step time).
  return request.objective == Objective::mfu ? request.cluster.device.peak(layout.precision) : 1;
}

/// A layout by number, with a lower bound of its score.
struct Candidate {
  double least_score = 0;
  std::int64_t index = 0;

  auto operator<=>(const Candidate&) const = default;
};

struct Simulated {
  double score = 0;
  std::int64_t index = 0;
  RankedLayout ranked;

  LayoutOrder order() const { return {score, ranked.layout, index}; }
};

/// A layout by number, with the share that it needs of the memory allowed.
struct Demand {
  double share = std::numeric_limits<double>::infinity();
  std::int64_t index = 0;

  auto operator<=>(const Demand&) const = default;
};

/// What judging some layouts gives.
struct Judgement {
  std::int64_t twins = 0, unfit = 0;
  std::map<std::string_view, std::int64_t> invalid;
  std::array<std::int64_t, number_of_memory_categories> unfit_categories{};
  std::int64_t unfit_host = 0;
  std::vector<Candidate> fitting;
  std::vector<Candidate> too_large;
  Demand smallest;  ///< of those that are too large

  void add(const Judgement& other) {
    twins += other.twins;
    unfit += other.unfit;
    for (const auto& [reason, count] : other.invalid) invalid[reason] += count;
    for (std::size_t i = 0; i < unfit_categories.size(); ++i) {
      unfit_categories[i] += other.unfit_categories[i];
    }
    unfit_host += other.unfit_host;
    fitting.insert(fitting.end(), other.fitting.begin(), other.fitting.end());
    too_large.insert(too_large.end(), other.too_large.begin(), other.too_large.end());
    smallest = std::min(smallest, other.smallest);
  }
};

/// Judges layouts one by one; one for each thread.
class Judge {
 public:
  Judge(const SearchRequest& request, const LayoutIndex& index)
      : request_(request), index_(index), limits_(memory_limits(request)), judge_(request) {}

  void judge(std::int64_t number, Judgement& judgement) {
    const LayoutIndex::Entry entry = index_.at(number);
    if (!entry.wanted) return;
    const ParallelLayout layout = canonical(entry.layout);
    if (index_.is_twin(entry.layout, layout)) {
      ++judgement.twins;
      return;
    }
    if (const auto fault = judge_.fault_of(layout)) {
      ++judgement.invalid[*fault];
      return;
    }
    const LayoutEstimate estimated = judge_.estimate(layout, *entry.shape);
    const Candidate candidate{estimated.least_step_s * score_per_second(layout, request_), number};
    const double device_bytes = estimated.fullest.total();
    if (limits_.allow(device_bytes, estimated.host_bytes_of_node)) {
      judgement.fitting.push_back(candidate);
      return;
    }
    ++judgement.unfit;
    if (device_bytes <= limits_.device_bytes) {
      ++judgement.unfit_host;
    } else {
      ++judgement.unfit_categories[largest_memory_category(estimated.fullest)];
    }
    judgement.too_large.push_back(candidate);
    const Demand demand{limits_.demand(device_bytes, estimated.host_bytes_of_node), number};
    judgement.smallest = std::min(judgement.smallest, demand);
  }

 private:
  const SearchRequest& request_;
  const LayoutIndex& index_;
  const MemoryLimits limits_;
  LayoutJudge judge_;
};

/// The best few of the layouts simulated so far.
class Ranking {
 public:
  explicit Ranking(int limit) : limit_(static_cast<std::size_t>(limit)) {}

  /// False: no layout whose score is at least `least_score` gets in, not even as an equal.
  bool can_use(double least_score) const {
    return best_.size() < limit_ || least_score <= best_.back().score;
  }

  void add(Simulated simulated) {
    const auto place = std::ranges::upper_bound(best_, simulated.order(), {}, &Simulated::order);
    best_.insert(place, std::move(simulated));
    if (best_.size() > limit_) best_.pop_back();
  }

  /// Whether the best here is better than the best there.
  bool leads(const Ranking& other) const {
    return !best_.empty() &&
           (other.best_.empty() || best_.front().score < other.best_.front().score);
  }

  std::vector<RankedLayout> take() {
    std::vector<RankedLayout> result;
    for (Simulated& simulated : best_) result.push_back(std::move(simulated.ranked));
    return result;
  }

 private:
  std::size_t limit_;
  std::vector<Simulated> best_;
};

class Searcher {
 public:
  Searcher(const SearchRequest& request, std::stop_token stop, const SearchProgress& progress)
      : request_(request),
        stop_(std::move(stop)),
        progress_(progress),
        index_(request.space, request.job, request.devices),
        threads_(thread_count(request.threads)),
        judges_(static_cast<std::size_t>(threads_), Judge(request, index_)),
        best_(request.limit) {}

  SearchResult search() {
    for (std::int64_t begin = 0; begin < index_.size() && !stop_.stop_requested();
         begin += slice_size) {
      const Judgement slice = judge(begin, std::min(begin + slice_size, index_.size()));
      report(0);
      count(slice);
      result_.simulated += simulate_best(slice.fitting, best_);
      simulate_best(slice.too_large, best_unfit_);
      smallest_unfit_ = std::min(smallest_unfit_, slice.smallest);
    }
    result_.complete = !stop_.stop_requested();
    result_.considered = result_.invalid + result_.unfit + result_.fitting;
    if (result_.complete) result_.pruned = result_.fitting - result_.simulated;
    if (best_unfit_.leads(best_)) result_.best_unfit = std::move(best_unfit_.take().front());
    if (result_.fitting == 0 && result_.unfit > 0) {
      result_.smallest_unfit = simulated(smallest_unfit_.index).ranked;
    }
    result_.best = best_.take();
    return std::move(result_);
  }

 private:
  /// Judges the layouts begin..end-1, or those that it comes to before a stop.
  Judgement judge(std::int64_t begin, std::int64_t end) {
    const std::int64_t blocks = (end - begin + block_size - 1) / block_size;
    std::vector<Judgement> judgements(static_cast<std::size_t>(blocks));
    for_each_in_parallel(blocks, threads_, [&](int worker, std::int64_t block) {
      if (stop_.stop_requested()) return;
      const std::int64_t first = begin + block * block_size;
      const std::int64_t last = std::min(first + block_size, end);
      Judge& own = judges_[static_cast<std::size_t>(worker)];
      Judgement& judgement = judgements[static_cast<std::size_t>(block)];
      for (std::int64_t number = first; number < last; ++number) own.judge(number, judgement);
      report(last - first);
    });
    Judgement all;
    for (const Judgement& judgement : judgements) all.add(judgement);
    return all;
  }

  void count(const Judgement& slice) {
    result_.twins += slice.twins;
    result_.unfit += slice.unfit;
    result_.fitting += static_cast<std::int64_t>(slice.fitting.size());
    for (const auto& [reason, layouts] : slice.invalid) {
      result_.invalid += layouts;
      result_.invalid_reasons[std::string(reason)] += layouts;
    }
    for (std::size_t i = 0; i < number_of_memory_categories; ++i) {
      if (slice.unfit_categories[i] == 0) continue;
      result_.unfit_categories[std::string(memory_category_name(i))] += slice.unfit_categories[i];
    }
    if (slice.unfit_host > 0) {
      result_.unfit_categories[std::string(host_memory_name)] += slice.unfit_host;
    }
  }

  /// Adds to `ranking` what of `candidates` belongs there. Returns how many were simulated. After a
  /// stop, no more than one batch: the most promising.
  std::int64_t simulate_best(std::vector<Candidate> candidates, Ranking& ranking) {
    std::erase_if(candidates, [&](const Candidate& candidate) {
      return !ranking.can_use(candidate.least_score);
    });
    std::ranges::sort(candidates);
    std::size_t done = 0;
    while (done < candidates.size() && ranking.can_use(candidates[done].least_score)) {
      if (stop_.stop_requested() && done > 0) break;
      std::vector<Simulated> batch(std::min(batch_size, candidates.size() - done));
      for_each_in_parallel(std::ssize(batch), threads_, [&](int, std::int64_t item) {
        const auto offset = static_cast<std::size_t>(item);
        batch[offset] = simulated(candidates[done + offset].index);
      });
      for (Simulated& one : batch) ranking.add(std::move(one));
      done += batch.size();
    }
    return static_cast<std::int64_t>(done);
  }

  Simulated simulated(std::int64_t number) const {
    Simulated result;
    result.index = number;
    result.ranked.layout = canonical(index_.at(number).layout);
    result.ranked.prediction =
        predict(request_.job, result.ranked.layout, request_.cluster, request_.profile);
    result.score =
        result.ranked.prediction.step_s * score_per_second(result.ranked.layout, request_);
    return result;
  }

  void report(std::int64_t layouts) {
    judged_ += layouts;
    if (!progress_) return;
    // A thread that finds another one reporting goes on: a later report will say as much.
    const std::unique_lock lock(progress_mutex_, std::try_to_lock);
    if (lock) progress_(judged_, index_.size());
  }

  const SearchRequest& request_;
  const std::stop_token stop_;
  const SearchProgress& progress_;
  const LayoutIndex index_;
  const int threads_;
  std::vector<Judge> judges_;
  Ranking best_;
  Ranking best_unfit_{1};
  Demand smallest_unfit_;
  SearchResult result_;
  std::atomic<std::int64_t> judged_{0};
  std::mutex progress_mutex_;
};

}  // namespace

SearchResult search(const SearchRequest& request, std::stop_token stop,
                    const SearchProgress& progress) {
  KUMIHIMO_CHECK(request_faults(request).empty());
  return Searcher(request, std::move(stop), progress).search();
}

}  // namespace kumihimo

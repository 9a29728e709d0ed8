// Pruning, slices and threads change nothing: a search gives what predicting every layout gives.

#include <algorithm>
#include <gtest/gtest.h>
#include <map>
#include <set>
#include <tuple>

#include "layout/layout_text.hpp"
#include "search/pipeline_shape.hpp"
#include "search_cases.hpp"

namespace kumihimo {
namespace {

using testing::SearchCases;

/// Every distinct layout of a space, by brute force.
std::vector<ParallelLayout> all_layouts(const SearchRequest& request) {
  const SearchSpace& space = request.space;
  std::vector<ParallelLayout> layouts{ParallelLayout{}};
  const auto spread = [&layouts](const auto& values, auto set) {
    std::vector<ParallelLayout> next;
    for (const ParallelLayout& layout : layouts) {
      for (const auto value : values) {
        next.push_back(layout);
        set(next.back(), value);
      }
    }
    layouts = std::move(next);
  };
  const auto knob = [&](const auto& values, auto ParallelLayout::*member) {
    spread(values, [member](ParallelLayout& l, auto value) { l.*member = value; });
  };
  knob(space.tensor_parallel, &ParallelLayout::tensor_parallel);
  knob(space.pipeline_parallel, &ParallelLayout::pipeline_parallel);
  knob(space.context_parallel, &ParallelLayout::context_parallel);
  knob(space.micro_batch_size, &ParallelLayout::micro_batch_size);
  spread(space.schedules, [](ParallelLayout& l, ScheduleChoice choice) {
    l.schedule = choice.kind;
    l.virtual_stages_per_rank = choice.virtual_stages_per_rank;
  });
  knob(space.recompute, &ParallelLayout::recompute);
  knob(space.sequence_parallel, &ParallelLayout::sequence_parallel);
  knob(space.zero_stage, &ParallelLayout::zero_stage);
  knob(space.zero_group, &ParallelLayout::zero_group);
  knob(space.overlap_data_parallel, &ParallelLayout::overlap_data_parallel);
  knob(space.overlap_tensor_parallel, &ParallelLayout::overlap_tensor_parallel);
  knob(space.offload, &ParallelLayout::offload);

  std::map<std::string, ParallelLayout> distinct;
  for (ParallelLayout& layout : layouts) {
    const std::int64_t replica = std::int64_t{layout.model_parallel()} * layout.context_parallel;
    layout.data_parallel =
        request.devices % replica == 0 ? static_cast<int>(request.devices / replica) : 1;
    layout = canonical(layout);
    layout.layer_split = layer_split_of_space(layout, request.job, request.space.layer_balance);
    distinct.emplace(to_text(layout), layout);
  }
  std::vector<ParallelLayout> result;
  for (const auto& [text, layout] : distinct) result.push_back(layout);
  return result;
}

struct Expectation {
  std::vector<double> step_s;  ///< of the fitting layouts, best first
  std::map<std::string, double> step_of;
  std::int64_t considered = 0, invalid = 0, unfit = 0, fitting = 0;
  double best_unfit_score = std::numeric_limits<double>::infinity();
  double best_score = std::numeric_limits<double>::infinity();
};

double score(const Prediction& prediction, Objective objective) {
  return objective == Objective::mfu ? -prediction.mfu : prediction.step_s;
}

Expectation brute_force(const SearchRequest& request) {
  Expectation expected;
  std::vector<std::pair<double, double>> scored;
  for (const ParallelLayout& layout : all_layouts(request)) {
    ++expected.considered;
    if (!is_valid(layout, request.job, request.cluster, request.devices)) {
      ++expected.invalid;
      continue;
    }
    const Prediction prediction = predict(request.job, layout, request.cluster, request.profile);
    const double value = score(prediction, request.objective);
    if (prediction.fits_probability < request.min_fits_probability ||
        prediction.peak_memory_bytes > request.max_memory_bytes) {
      ++expected.unfit;
      expected.best_unfit_score = std::min(expected.best_unfit_score, value);
      continue;
    }
    ++expected.fitting;
    expected.best_score = std::min(expected.best_score, value);
    scored.emplace_back(value, prediction.step_s);
    expected.step_of[to_text(layout)] = prediction.step_s;
  }
  std::ranges::sort(scored);
  for (const auto& [value, step_s] : scored) expected.step_s.push_back(step_s);
  return expected;
}

TEST(SearchOptimum, IsWhatPredictingEveryLayoutGives) {
  SearchCases cases(11);
  std::int64_t fitting = 0, pruned = 0, unfit = 0;
  for (int i = 0; i < 60; ++i) {
    SearchRequest request = cases.request();
    if (cases.flip()) request.max_memory_bytes = cases.between(1, 30) * GiB;
    const Expectation expected = brute_force(request);
    const SearchResult result = search(request);
    SCOPED_TRACE(i);

    ASSERT_TRUE(result.complete);
    EXPECT_EQ(result.considered, expected.considered);
    EXPECT_EQ(result.considered + result.twins, request.space.size());
    EXPECT_EQ(result.invalid, expected.invalid);
    EXPECT_EQ(result.unfit, expected.unfit);
    EXPECT_EQ(result.fitting, expected.fitting);
    EXPECT_EQ(result.simulated + result.pruned, result.fitting);
    const auto sum = [](const std::map<std::string, std::int64_t>& counts) {
      std::int64_t total = 0;
      for (const auto& [name, count] : counts) total += count;
      return total;
    };
    EXPECT_EQ(sum(result.invalid_reasons), result.invalid);
    EXPECT_EQ(sum(result.unfit_categories), result.unfit);

    ASSERT_EQ(result.best.size(),
              std::min(expected.step_s.size(), static_cast<std::size_t>(request.limit)));
    std::set<std::string> seen;
    for (std::size_t place = 0; place < result.best.size(); ++place) {
      const RankedLayout& ranked = result.best[place];
      const std::string text = to_text(ranked.layout);
      EXPECT_TRUE(seen.insert(text).second) << text << " is listed twice";
      ASSERT_TRUE(expected.step_of.contains(text)) << text;
      EXPECT_DOUBLE_EQ(ranked.prediction.step_s, expected.step_of.at(text));
      EXPECT_NEAR(ranked.prediction.step_s, expected.step_s[place], 1e-12 * expected.step_s[place]);
    }

    EXPECT_EQ(result.best_unfit.has_value(), expected.best_unfit_score < expected.best_score);
    if (result.best_unfit) {
      EXPECT_DOUBLE_EQ(score(result.best_unfit->prediction, request.objective),
                       expected.best_unfit_score);
      EXPECT_FALSE(fits(result.best_unfit->prediction, request));
    }
    EXPECT_EQ(result.smallest_unfit.has_value(), expected.fitting == 0 && expected.unfit > 0);
    fitting += result.fitting;
    pruned += result.pruned;
    unfit += result.unfit;
  }
  // The cases are about something.
  EXPECT_GT(fitting, 1000);
  EXPECT_GT(unfit, 1000);
  EXPECT_GT(pruned, fitting / 4);
}

/// Everything of a result but the clock.
std::string text(const SearchResult& result) {
  std::string all = std::to_string(result.considered) + " " + std::to_string(result.twins) + " " +
                    std::to_string(result.unfit) + " " + std::to_string(result.fitting) + " " +
                    std::to_string(result.simulated) + " " + std::to_string(result.pruned) + "\n";
  for (const auto& [reason, count] : result.invalid_reasons) {
    all += reason + " " + std::to_string(count) + "\n";
  }
  for (const auto& [category, count] : result.unfit_categories) {
    all += category + " " + std::to_string(count) + "\n";
  }
  const auto add = [&all](const RankedLayout& ranked) {
    all += to_text(ranked.layout) + " " + std::to_string(ranked.prediction.step_s) + "\n";
  };
  for (const RankedLayout& ranked : result.best) add(ranked);
  if (result.best_unfit) add(*result.best_unfit);
  if (result.smallest_unfit) add(*result.smallest_unfit);
  return all;
}

TEST(SearchOptimum, DoesNotDependOnTheNumberOfThreads) {
  SearchCases cases(12);
  for (int i = 0; i < 20; ++i) {
    SearchRequest request = cases.request();
    const std::string alone = text(search(request));
    for (const int threads : {2, 3, 16}) {
      request.threads = threads;
      ASSERT_EQ(text(search(request)), alone) << threads << " threads";
    }
  }
}

TEST(SearchOptimum, MoreMemoryNeverFitsFewerLayouts) {
  SearchCases cases(13);
  bool grew = false;
  for (int i = 0; i < 25; ++i) {
    SearchRequest request = cases.request();
    std::int64_t fitting = 0;
    double best = std::numeric_limits<double>::infinity();
    for (const double memory_gib : {0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 512.0}) {
      request.cluster.device.memory = static_cast<Bytes>(memory_gib * GiB);
      const SearchResult result = search(request);
      ASSERT_GE(result.fitting, fitting);
      grew = grew || (fitting > 0 && result.fitting > fitting);
      fitting = result.fitting;
      if (result.best.empty()) continue;
      const double value = score(result.best.front().prediction, request.objective);
      ASSERT_LE(value, best);
      best = value;
    }
  }
  EXPECT_TRUE(grew);
}

TEST(SearchOptimum, FasterLinksNeverSlowALayout) {
  SearchCases cases(14);
  int faster = 0;
  for (int i = 0; i < 1500; ++i) {
    SearchRequest request = cases.request();
    const ParallelLayout layout = cases.layout(request);
    SCOPED_TRACE(to_text(layout));
    const auto step_s = [&](const Cluster& cluster) {
      return predict(request.job, layout, cluster, request.profile).step_s;
    };
    const double before = step_s(request.cluster);
    const std::pair<const char*, double*> rates[] = {
        {"intra-node", &request.cluster.intra_node.bandwidth},
        {"inter-node", &request.cluster.inter_node.bandwidth},
        {"host link", &request.cluster.host_link_bandwidth}};
    for (const auto& [name, bandwidth] : rates) {
      const double usual = *bandwidth;
      *bandwidth *= cases.between(1, 10);
      const double after = step_s(request.cluster);
      ASSERT_LE(after, before * (1 + 1e-12)) << name;
      faster += after < before * 0.999;
      *bandwidth = usual;
    }
  }
  EXPECT_GT(faster, 500);
}

}  // namespace
}  // namespace kumihimo

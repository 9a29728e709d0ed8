#include "search/search.hpp"

#include <gmock/gmock.h>

#include "example.hpp"
#include "layout/canonical.hpp"
#include "layout/layout_text.hpp"

namespace kumihimo {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using testing::llama_13b_on_64_a100;

TEST(Search, RanksBestFirstAndFits) {
  const SearchRequest request = llama_13b_on_64_a100();
  const SearchResult result = search(request);
  ASSERT_TRUE(result.complete);
  ASSERT_EQ(std::ssize(result.best), request.limit);
  for (std::size_t place = 0; place < result.best.size(); ++place) {
    const auto& [layout, prediction] = result.best[place];
    EXPECT_EQ(layout, canonical(layout));
    EXPECT_EQ(layout.devices(), 64);
    EXPECT_TRUE(fits(prediction, request));
    EXPECT_GE(prediction.fits_probability, 0.5);
    if (place > 0) {
      EXPECT_LE(prediction.mfu, result.best[place - 1].prediction.mfu);
    }
  }
  EXPECT_EQ(result.considered + result.twins, request.space.size());
  EXPECT_GT(result.pruned, result.simulated);
}

TEST(Search, ListsAreConstraints) {
  SearchRequest request = llama_13b_on_64_a100();
  request.space.tensor_parallel = {2, 4};
  request.space.recompute = {Recompute::full};
  request.space.zero_stage = {1};
  request.limit = 1000;
  const SearchResult result = search(request);
  ASSERT_GT(result.best.size(), 50U);
  for (const auto& [layout, prediction] : result.best) {
    EXPECT_TRUE(layout.tensor_parallel == 2 || layout.tensor_parallel == 4);
    EXPECT_EQ(layout.recompute, Recompute::full);
    // One replica has nothing to share: ZeRO has no effect there.
    EXPECT_EQ(layout.zero_stage, layout.data_parallel > 1 ? 1 : 0);
  }
}

TEST(Search, ValuesThatAListNamesTwiceCountOnce) {
  SearchRequest request = llama_13b_on_64_a100();
  const SearchResult once = search(request);
  request.space.micro_batch_size = {1, 1, 2, 2, 4, 8, 16, 1};
  const SearchResult twice = search(request);
  EXPECT_EQ(twice.considered, once.considered);
  EXPECT_EQ(to_text(twice.best.front().layout), to_text(once.best.front().layout));
}

TEST(Search, ImpossibleValuesChangeNothing) {
  SearchRequest request = llama_13b_on_64_a100();
  request.space.recompute = {Recompute::none};
  request.space.zero_stage = {1};
  request.space.schedules.resize(2);
  request.space.zero_group = {0, 1, 2, 4, 8, 16, 32, 64};
  const SearchResult possible = search(request);
  for (int group = 1; group <= 700; ++group) request.space.zero_group.push_back(group);
  ASSERT_GT(request.space.size(), 300'000);  // the possible ones are far apart
  const SearchResult all = search(request);
  EXPECT_EQ(all.fitting, possible.fitting);
  EXPECT_EQ(all.unfit, possible.unfit);
  EXPECT_EQ(all.unfit_categories, possible.unfit_categories);
  EXPECT_GT(all.invalid, possible.invalid);
  ASSERT_EQ(all.best.size(), possible.best.size());
  for (std::size_t place = 0; place < all.best.size(); ++place) {
    EXPECT_EQ(to_text(all.best[place].layout), to_text(possible.best[place].layout));
  }
}

TEST(Search, MaxMemoryLeavesRoom) {
  SearchRequest request = llama_13b_on_64_a100();
  request.max_memory_bytes = 40 * GiB;
  const SearchResult result = search(request);
  ASSERT_FALSE(result.best.empty());
  for (const auto& ranked : result.best) {
    EXPECT_LE(ranked.prediction.peak_memory_bytes, 40 * GiB);
  }
}

TEST(Search, DemandsTheProbabilityToFit) {
  SearchRequest request = llama_13b_on_64_a100();
  request.limit = 500;
  request.min_fits_probability = 0;
  const std::int64_t any = search(request).fitting;
  request.min_fits_probability = 0.5;
  const std::int64_t likely = search(request).fitting;
  request.min_fits_probability = 0.99;
  const SearchResult safe = search(request);
  EXPECT_GT(any, likely);
  EXPECT_GT(likely, safe.fitting);
  for (const auto& ranked : safe.best) EXPECT_GE(ranked.prediction.fits_probability, 0.99);
  EXPECT_EQ(any, safe.fitting + safe.unfit);
}

TEST(Search, NamesWhatIsInTheWayWhenNothingFits) {
  SearchRequest request = llama_13b_on_64_a100();
  request.cluster.device.memory = static_cast<Bytes>(1 * GiB);
  const SearchResult result = search(request);
  EXPECT_TRUE(result.best.empty());
  EXPECT_EQ(result.fitting, 0);
  ASSERT_TRUE(result.best_unfit && result.smallest_unfit);
  EXPECT_GT(result.smallest_unfit->prediction.peak_memory_bytes, 1 * GiB);
  EXPECT_LT(result.smallest_unfit->prediction.peak_memory_bytes,
            result.best_unfit->prediction.peak_memory_bytes);
  EXPECT_LT(result.best_unfit->prediction.step_s, result.smallest_unfit->prediction.step_s);
}

TEST(Search, OffloadedStatesFitTheirHosts) {
  SearchRequest request = llama_13b_on_64_a100();
  request.space.tensor_parallel = {1};
  request.space.pipeline_parallel = {1};
  request.space.zero_stage = {0};
  request.space.recompute = {Recompute::full};
  request.space.micro_batch_size = {1};
  request.space.offload = {{.optimizer = true}};
  const SearchResult result = search(request);
  ASSERT_EQ(result.fitting, 1);
  // Moments and master weights of 13,015,864,320 parameters for each of 8 devices.
  const double host = 8 * 12 * 13'015'864'320.0;
  EXPECT_DOUBLE_EQ(result.best.front().prediction.host_bytes_of_node, host);

  request.cluster.host_memory = static_cast<Bytes>(host);
  EXPECT_EQ(search(request).fitting, 1);
  request.cluster.host_memory = static_cast<Bytes>(host) - 1;
  const SearchResult too_small = search(request);
  EXPECT_EQ(too_small.fitting, 0);
  EXPECT_EQ(too_small.unfit_categories.at("host memory"), 1);
  ASSERT_TRUE(too_small.smallest_unfit);
  EXPECT_FALSE(fits(too_small.smallest_unfit->prediction, request));
}

TEST(Search, CountsWhyLayoutsAreImpossible) {
  SearchRequest request = llama_13b_on_64_a100();
  request.space = SearchSpace{};
  request.space.tensor_parallel = {1, 3, 16};  // 3 does not divide 64 devices, 16 not 40 heads
  request.space.pipeline_parallel = {1, 64};   // 64 stages for 40 layers
  const SearchResult result = search(request);
  EXPECT_EQ(result.considered, 6);
  EXPECT_EQ(result.invalid, 5);
  EXPECT_EQ(result.invalid_reasons.at("tp x pp x dp x cp is not the number of devices"), 3);
  EXPECT_EQ(result.invalid_reasons.at("tp does not divide the attention heads"), 1);
  EXPECT_EQ(result.invalid_reasons.at("more stages than layers"), 1);
}

TEST(Search, LeavesOutSchedulesTooLongToPlay) {
  SearchRequest request = llama_13b_on_64_a100();
  request.job.global_batch_size = std::int64_t{1} << 30;
  request.space = SearchSpace{};
  request.space.pipeline_parallel = {32};  // 2^30 / 2 micro-batches over 32 stages
  EXPECT_EQ(search(request).invalid_reasons.at("too many micro-batches to simulate"), 1);
}

TEST(Search, MfuAndTimeDifferWherePeaksDo) {
  SearchRequest request = llama_13b_on_64_a100();
  // fp32 runs slowly, but closer to its low peak.
  request.space.precision = {Precision::bf16, Precision::fp32};
  request.profile.matmul_fp32 = 0.99;
  request.limit = 1;
  EXPECT_EQ(search(request).best.front().layout.precision, Precision::fp32);
  for (const Objective objective : {Objective::step_time, Objective::cost, Objective::total_time}) {
    request.objective = objective;
    EXPECT_EQ(search(request).best.front().layout.precision, Precision::bf16);
  }
}

TEST(Search, StopsWithTheBestSoFar) {
  SearchRequest request = llama_13b_on_64_a100();
  std::stop_source stop;
  std::int64_t reported = 0;
  const SearchResult result = search(request, stop.get_token(), [&](std::int64_t done, auto) {
    reported = done;
    if (done >= 4000) stop.request_stop();
  });
  EXPECT_FALSE(result.complete);
  EXPECT_GE(reported, 4000);
  EXPECT_LT(result.considered + result.twins, request.space.size());
  EXPECT_EQ(result.considered, result.invalid + result.unfit + result.fitting);
  ASSERT_FALSE(result.best.empty());
  EXPECT_TRUE(fits(result.best.front().prediction, request));
}

TEST(Search, StoppedBeforehandReturnsNothing) {
  std::stop_source stop;
  stop.request_stop();
  const SearchResult result = search(llama_13b_on_64_a100(), stop.get_token());
  EXPECT_FALSE(result.complete);
  EXPECT_EQ(result.considered, 0);
  EXPECT_TRUE(result.best.empty());
}

TEST(Search, ReportsProgressToTheEnd) {
  SearchRequest request = llama_13b_on_64_a100();
  std::int64_t last = 0, total = 0;
  search(request, {}, [&](std::int64_t done, std::int64_t all) {
    EXPECT_GE(done, last);
    last = done;
    total = all;
  });
  EXPECT_EQ(total, request.space.size());
  EXPECT_EQ(last, total);
}

TEST(Search, ExceptionsOfTheProgressCallReachTheCaller) {
  SearchRequest request = llama_13b_on_64_a100();
  request.threads = 3;
  EXPECT_THROW(search(request, {}, [](auto, auto) { throw std::runtime_error("closed"); }),
               std::runtime_error);
}

TEST(Search, LeavesOutUnwantedDataParallelism) {
  SearchRequest request = llama_13b_on_64_a100();
  request.space.schedules = {ScheduleChoice{}};
  request.limit = 10'000;
  std::map<int, std::int64_t> layouts;
  const SearchResult all = search(request);
  for (const RankedLayout& ranked : all.best) ++layouts[ranked.layout.data_parallel];
  ASSERT_GT(layouts[16], 0);
  ASSERT_GT(layouts[32], 0);

  request.space.data_parallel = {16, 32};
  const SearchResult some = search(request);
  EXPECT_EQ(std::ssize(some.best), layouts[16] + layouts[32]);
  for (const RankedLayout& ranked : some.best) {
    EXPECT_THAT(ranked.layout.data_parallel, AnyOf(16, 32));
  }
  EXPECT_LT(some.considered, all.considered);
  EXPECT_EQ(some.considered, some.fitting + some.unfit + some.invalid);
}

TEST(RequestFaults, AreAllNamed) {
  SearchRequest request = llama_13b_on_64_a100();
  EXPECT_TRUE(request_faults(request).empty());
  request.space.tensor_parallel = {0};
  request.space.pipeline_parallel = {};
  request.space.data_parallel = {-4};
  request.space.zero_stage = {-1};
  request.space.schedules = {{ScheduleKind::interleaved, 1 << 20}};
  request.limit = 0;
  request.min_fits_probability = std::numeric_limits<double>::quiet_NaN();
  request.max_memory_bytes = -1;
  request.threads = -2;
  const std::string text = to_string(request_faults(request));
  for (const char* where :
       {"search: tp", "search: pp", "search: dp", "search: zero", "search: vpp", "search: limit",
        "search: probability", "search: memory limit", "search: threads"}) {
    EXPECT_THAT(text, HasSubstr(where));
  }
}

TEST(RequestFaults, RefuseAnEndlessSpace) {
  SearchRequest request = llama_13b_on_64_a100();
  request.space.pipeline_parallel.assign(32768, 1);
  request.space.tensor_parallel.assign(32768, 1);
  EXPECT_THAT(to_string(request_faults(request)), HasSubstr("search: space"));
}

TEST(Prices, FollowFromThroughput) {
  Prediction prediction;
  prediction.tokens_per_s_per_device = 2500;
  Cluster cluster;
  EXPECT_FALSE(cost_per_trillion_tokens(prediction, cluster));
  cluster.price_per_device_hour = Money{3.6, Currency::eur};
  const auto cost = cost_per_trillion_tokens(prediction, cluster);
  ASSERT_TRUE(cost);
  EXPECT_DOUBLE_EQ(cost->amount, 1e12 / 2500 / 3600 * 3.6);
  EXPECT_EQ(cost->currency, Currency::eur);
  EXPECT_DOUBLE_EQ(training_seconds(prediction, 1e12, 64), 1e12 / (2500.0 * 64));
}

TEST(LargestMemory, IsTheLargestOfTheFullestRank) {
  Prediction prediction;
  prediction.memory.resize(2);
  prediction.memory[0].weights = 50;
  prediction.memory[1].weights = 20;
  prediction.memory[1].activations = 40;
  const LargestMemory category = largest_memory_category(prediction);
  EXPECT_EQ(category.name, "activations");
  EXPECT_EQ(category.bytes, 40);
}

}  // namespace
}  // namespace kumihimo

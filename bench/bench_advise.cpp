// Question: how long does a user wait for advice, and for a report? The targets: twelve options on
// llama-65b within 5 s on two cores (every set of them, order, shares, trials); a page of 2,000
// trials within 2 s.

#include <benchmark/benchmark.h>

#include "advise/advice.hpp"
#include "advise/upgrades_file.hpp"
#include "cluster/cluster_file.hpp"
#include "cost/stack_profile_file.hpp"
#include "layout/layout_text.hpp"
#include "model/model_catalog.hpp"
#include "report/report_content.hpp"
#include "search/pipeline_shape.hpp"

namespace kumihimo {
namespace {

/// The founding study's start. Twelve options: the catalog's but four, with a price each, so that
/// machines combine.
AdviceRequest twelve_options() {
  AdviceRequest request;
  request.job.model = *read_model("llama-65b");
  request.job.seq_length = 2048;
  request.job.global_batch_size = 2048;
  request.cluster = *read_cluster("a100-80gb-sxm");
  request.profile = *read_stack_profile("megatron-2023-a100");
  request.devices = 128;
  request.current = *parse_layout(
      "tp=8 pp=8 dp=2 micro-batch=1 recompute=full attention=flash1 norm=unfused zero=1 "
      "gradient-dtype=bf16");
  request.current.layer_split =
      layer_split_of_space(request.current, request.job, request.profile.defaults.layer_balance);
  request.options = parse_upgrades("leave_out = [\"flash3\", \"fp8\", \"h200\", \"b200\"]", "bench",
                                   *default_upgrades())
                        ->options;
  request.prices.engineer_day = Money{800};
  request.prices.device_hour = Money{1.8};
  request.tokens = 1.4e12;
  return request;
}

void advise_on_twelve_options(benchmark::State& state) {
  const AdviceRequest request = twelve_options();
  for (auto _ : state) benchmark::DoNotOptimize(advise(request));
  state.counters["options"] = static_cast<double>(request.options.size());
}
BENCHMARK(advise_on_twelve_options)->Unit(benchmark::kSecond)->UseRealTime();

void page_of_2000_trials(benchmark::State& state) {
  ReportContent content;
  content.title = "bench";
  for (int i = 0; i < 2000; ++i) {
    ReportRow row;
    row.kind = FigureKind::measured;
    row.study = "a study of a usual name";
    row.model = "llama-65b";
    row.gpus = 128;
    row.tp = 1 << i % 4;
    row.pp = 1 << i % 5;
    row.schedule = "1f1b";
    row.recompute = "none";
    row.mfu = 0.3 + i * 1e-4;
    row.step_s = 100 - i * 0.01;
    row.predicted_step_s = 101 - i * 0.01;
    row.layout = "tp=2 pp=4 dp=16 micro-batch=1 schedule=1f1b recompute=none sp=true zero=1";
    content.rows.push_back(row);
  }
  std::size_t bytes = 0;
  for (auto _ : state) bytes = report_html(content).size();
  state.counters["bytes"] = static_cast<double>(bytes);
}
BENCHMARK(page_of_2000_trials)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace kumihimo

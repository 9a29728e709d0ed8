#include "cli/train_json.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/planner_json.hpp"
#include "cli/training_names.hpp"
#include "tensor/gpu.hpp"

namespace kumihimo {
namespace {

using Json = nlohmann::ordered_json;

/// "tensor communication" as a member's name: "tensor_communication_s".
std::string member_of(Activity activity) {
  std::string name(to_string(activity));
  std::ranges::replace_if(
      name, [](char c) { return c == ' ' || c == '-'; }, '_');
  return name + "_s";
}

Json times_json(const StepTimes& times) {
  Json json = Json::object();
  for (const Activity activity : all_activities) json[member_of(activity)] = times[activity];
  return json;
}

Json memory_json(const MemoryByCategory& memory) {
  Json json = Json::object();
  for (const MemoryCategory category : all_memory_categories) {
    json[std::string(to_string(category)) + "_bytes"] = memory[category];
  }
  return json;
}

std::string_view clock_name(const RankSetup& setup) {
  return setup.emulated() ? "emulated" : "measured";
}

void add_figures(Json& json, const StepFigures& figures) {
  json["tokens_per_s"] = figures.tokens_per_s;
  json["mfu"] = figures.mfu;
  json["mfu_causal"] = figures.mfu_causal;
  json["hfu"] = figures.hfu;
}

void add_times(Json& json, const StepTimes& times) {
  json["communication_exposed_s"] = exposed_communication_s(times);
  json["communication_overlapped_s"] = times.overlapped_s;
  json["bubble_s"] = times[Activity::pipeline_wait];
  json["data_s"] = times[Activity::data_loading];
  json["time"] = times_json(times);
}

Json optimizer_json(const OptimizerOptions& optimizer) {
  return {{"kind", name_of(optimizer.kind)}, {"beta1", optimizer.beta1},
          {"beta2", optimizer.beta2},        {"epsilon", optimizer.epsilon},
          {"momentum", optimizer.momentum},  {"weight_decay", optimizer.weight_decay},
          {"clip_norm", optimizer.clip_norm}};
}

Json learning_rate_json(const LearningRate& rate) {
  return {{"shape", name_of(rate.shape)},        {"peak", rate.peak},
          {"minimum_share", rate.minimum_share}, {"warmup_steps", rate.warmup_steps},
          {"total_steps", rate.total_steps},     {"decay_share", rate.decay_share}};
}

Json fp8_json(const TrainingOptions& options) {
  if (options.layout.precision != Precision::fp8) return nullptr;
  return {{"scaling", name_of(options.fp8.scaling)},
          {"amax_history", options.fp8.amax_history},
          {"edges_in_bf16", options.fp8.edges_in_bf16}};
}

}  // namespace

Json training_options_json(const TrainingOptions& options) {
  return {{"model", model_json(options.job.model)},
          {"seq_length", options.job.seq_length},
          {"global_batch_size", options.job.global_batch_size},
          {"layout", layout_json(options.layout)},
          {"optimizer", optimizer_json(options.optimizer)},
          {"learning_rate", learning_rate_json(options.learning_rate)},
          {"fp8", fp8_json(options)},
          {"backend", to_string(options.backend)},
          {"threads_per_rank", options.threads_per_rank},
          {"device_memory_bytes", options.device_memory},
          {"seed", options.seed},
          {"shuffle", options.shuffle}};
}

Json train_step_json(const StepReport& report, const TrainingRun& run, const RankSetup& setup) {
  Json json{{"schema", "kumihimo.train-step/1"}, {"clock", clock_name(setup)},
            {"step", report.step + 1},           {"loss", report.loss},
            {"grad_norm", report.gradient_norm}, {"learning_rate", report.learning_rate},
            {"step_time_s", report.step_time_s}};
  add_figures(json, figures_of(work_of_step(run.request.options), report.step_time_s,
                               setup.peak.flop_per_s()));
  add_times(json, report.mean_times);
  Json ranks = Json::array();
  for (const StepTimes& times : report.rank_times) {
    ranks.push_back(times_json(times));
    ranks.back()["communication_overlapped_s"] = times.overlapped_s;
  }
  json["rank_times"] = std::move(ranks);
  json["peak_memory_bytes"] = report.peak_memory_total;
  json["peak_memory"] = memory_json(report.peak_memory);
  json["offloaded_bytes"] = report.offloaded_memory;
  return json;
}

Json train_json(const StepStatistics& statistics, const TrainingRun& run, const RankSetup& setup,
                const MemoryPrediction& predicted, const TrainingEnd& end) {
  const TrainingRequest& request = run.request;
  Json json{
      {"schema", "kumihimo.train/1"},
      {"clock", clock_name(setup)},
      {"options", training_options_json(request.options)},
      {"data", run.tokens->description()},
      {"ranks", {{"kind", setup.backend}, {"count", setup.ranks}, {"kernels", setup.kernels}}},
      {"cluster", nullptr},
      {"peak_flop_per_s", setup.peak.flop_per_s()},
      {"peak",
       {{"core_flop_per_s", setup.peak.core_flop_per_s},
        {"cores", setup.peak.cores},
        {"measured", setup.peak.measured},
        {"stated_flop_per_s", nullptr}}},
      {"gpu", nullptr},
      {"complete", statistics.last().step + 1 == request.steps},
      {"interrupted", end.interrupted},
      {"failure", nullptr},
      {"saved", nullptr},
      {"steps", statistics.last().step + 1},
      {"timed_steps", statistics.timed_steps()},
      {"loss_first", statistics.first().loss},
      {"loss_last", statistics.last().loss}};
  if (setup.peak.stated_flop_per_s > 0) {
    json["peak"]["stated_flop_per_s"] = setup.peak.stated_flop_per_s;
    json["peak"]["stated_by"] = setup.peak.stated_by;
  }
  if (setup.gpu != nullptr) {
    const GpuFacts& facts = setup.gpu->facts();
    json["gpu"] = {{"name", facts.name},
                   {"compute_capability", facts.major * 10 + facts.minor},
                   {"memory_bytes", facts.memory},
                   {"memory_in_use_bytes", setup.gpu->memory_in_use()}};
  }
  if (end.failure) json["failure"] = *end.failure;
  if (end.saved) json["saved"] = end.saved->string();
  if (request.cluster) json["cluster"] = cluster_json(*request.cluster);
  if (statistics.timed_steps() > 0) {
    const double median = statistics.median_step_time_s();
    json["step_time_s"] = {{"median", median},
                           {"lower_quartile", statistics.step_time_quantile_s(0.25)},
                           {"upper_quartile", statistics.step_time_quantile_s(0.75)}};
    add_figures(json, figures_of(work_of_step(request.options), median, setup.peak.flop_per_s()));
    if (setup.peak.stated_flop_per_s > 0) {
      json["mfu_of_stated"] =
          figures_of(work_of_step(request.options), median, setup.peak.all_stated_flop_per_s()).mfu;
    }
    add_times(json, statistics.mean_times());
  } else {  // all steps were warm-up
    for (const char* figure :
         {"step_time_s", "tokens_per_s", "mfu", "mfu_causal", "hfu", "communication_exposed_s",
          "communication_overlapped_s", "bubble_s", "data_s", "time"}) {
      json[figure] = nullptr;
    }
  }
  json["peak_memory_bytes"] = statistics.last().peak_memory_total;
  json["peak_memory"] = memory_json(statistics.last().peak_memory);
  json["offloaded_bytes"] = statistics.last().offloaded_memory;
  json["predicted_memory"] = memory_json(predicted.bytes);
  json["predicted_offloaded_bytes"] = predicted.offloaded;
  json["predicted_by"] = predicted.profile;
  return json;
}

}  // namespace kumihimo

#include "cli/planner_json.hpp"

#include <nlohmann/json.hpp>

#include "layout/layout_text.hpp"
#include "layout/names.hpp"
#include "model/parameters.hpp"

namespace kumihimo {

using Json = nlohmann::ordered_json;

Json model_json(const TransformerShape& model) {
  return {{"name", model.name},
          {"parameters", count_parameters(model).total(model.layers)},
          {"layers", model.layers},
          {"hidden", model.hidden},
          {"heads", model.heads},
          {"kv_heads", model.kv_heads},
          {"head_dim", model.head_dim},
          {"ffn_hidden", model.ffn_hidden},
          {"vocab", model.vocab},
          {"max_positions", model.max_positions},
          {"tied_embeddings", model.tied_embeddings}};
}

Json cluster_json(const Cluster& cluster) {
  Json peak = Json::object(), achievable = Json::object();
  for (const Precision precision : all_precisions) {
    if (!cluster.device.supports(precision)) continue;
    const std::string name(to_string(precision));
    peak[name] = cluster.device.peak(precision);
    achievable[name] = cluster.device.achievable(precision);
  }
  Json json{{"name", cluster.name},
            {"description", cluster.description},
            {"device", cluster.device.name},
            {"architecture", cluster.device.architecture},
            {"memory_bytes", cluster.device.memory},
            {"memory_bandwidth_bytes_per_s", cluster.device.memory_bandwidth},
            {"warp_mma", cluster.device.warp_mma},
            {"peak_flop_per_s", std::move(peak)},
            {"achievable_flop_per_s", std::move(achievable)},
            {"devices_per_node", cluster.devices_per_node},
            {"nodes", cluster.nodes},
            {"intra_node_bytes_per_s", cluster.intra_node.bandwidth},
            {"intra_node_mesh", cluster.intra_node_mesh},
            {"inter_node_bytes_per_s", cluster.inter_node.bandwidth},
            {"price_per_device_hour", nullptr},
            {"currency", nullptr}};
  if (const auto& price = cluster.price_per_device_hour) {
    json["price_per_device_hour"] = price->amount;
    json["currency"] = to_string(price->currency);
  }
  return json;
}

Json range_json(const std::optional<FittedRange>& range) {
  if (!range) return nullptr;
  const auto span = [](const Interval& s) { return Json{{"least", s.least}, {"most", s.most}}; };
  Json precisions = Json::array();
  for (const Precision precision : range->precisions) precisions.push_back(to_string(precision));
  return {{"layer_parameters", span(range->layer_parameters)},
          {"devices", span(range->devices)},
          {"seq_length", span(range->seq_length)},
          {"device_names", range->device_names},
          {"precisions", std::move(precisions)}};
}

Json stack_json(const StackProfile& profile) {
  Json evidence = Json::array();
  for (const FitEvidence& fit : profile.evidence) {
    evidence.push_back({{"source", fit.source},
                        {"runs", fit.runs},
                        {"mape", fit.mape},
                        {"median_error", fit.median_error},
                        {"held_out", fit.held_out}});
  }
  return {{"name", profile.name},
          {"description", profile.description},
          {"origin", profile.origin},
          {"cluster", profile.cluster},
          {"time_residual", profile.time_residual},
          {"memory_residual", profile.memory_residual},
          {"range", range_json(profile.range)},
          {"evidence", std::move(evidence)}};
}

Json job_json(const PlannedJob& planned) {
  return {{"model", model_json(planned.job.model)},
          {"cluster", cluster_json(planned.cluster)},
          {"stack", stack_json(planned.profile)},
          {"gpus", planned.devices},
          {"seq_length", planned.job.seq_length},
          {"global_batch_size", planned.job.global_batch_size},
          {"assumptions", planned.assumptions}};
}

Json group_json(const RunGroup& group) {
  return {{"file", group.file},
          {"sheet", group.sheet},
          {"model", group.model},
          {"gpus", group.gpus},
          {"seq_length", group.seq_length},
          {"global_batch_size", group.global_batch_size}};
}

Json layout_json(const ParallelLayout& layout) {
  Json offload = Json::array();
  if (layout.offload.optimizer) offload.push_back("optimizer");
  if (layout.offload.activations) offload.push_back("activations");
  if (layout.offload.weights) offload.push_back("weights");
  return {{"text", to_text(layout)},
          {"tp", layout.tensor_parallel},
          {"pp", layout.pipeline_parallel},
          {"dp", layout.data_parallel},
          {"cp", layout.context_parallel},
          {"micro_batch", layout.micro_batch_size},
          {"schedule", to_string(layout.schedule)},
          {"vpp", layout.virtual_stages_per_rank},
          {"recompute", to_string(layout.recompute)},
          {"sequence_parallel", layout.sequence_parallel},
          {"zero_stage", layout.zero_stage},
          {"zero_group", layout.zero_group},
          {"attention", to_string(layout.attention)},
          {"norm", to_string(layout.norm)},
          {"precision", to_string(layout.precision)},
          {"gradient_dtype", to_string(layout.gradient_dtype)},
          {"overlap_data_parallel", layout.overlap_data_parallel},
          {"overlap_tensor_parallel", layout.overlap_tensor_parallel},
          {"offload", std::move(offload)},
          {"layer_split", layout.layer_split}};
}

Json memory_json(const MemoryUse& use) {
  return {{"total_bytes", use.total()},
          {"weights_bytes", use.weights},
          {"gradients_bytes", use.gradients},
          {"optimizer_bytes", use.optimizer},
          {"activations_bytes", use.activations},
          {"workspace_bytes", use.workspace},
          {"communication_bytes", use.communication},
          {"context_bytes", use.context},
          {"host_bytes", use.host}};
}

Json prediction_json(const Prediction& prediction) {
  return {{"step_time_s", prediction.step_s},
          {"error_band", prediction.error_band},
          {"mfu", prediction.mfu},
          {"mfu_causal", prediction.mfu_causal},
          {"hfu", prediction.hfu},
          {"tokens_per_s_per_gpu", prediction.tokens_per_s_per_device},
          {"bubble_fraction", prediction.bubble_fraction},
          {"communication_fraction", prediction.communication_fraction},
          {"memory_bytes", prediction.peak_memory_bytes},
          {"fits_probability", prediction.fits_probability},
          {"host_bytes_of_node", prediction.host_bytes_of_node}};
}

namespace {

Json ranked_json(const RankedLayout& ranked, const Plan& plan) {
  Json json{{"layout", layout_json(ranked.layout)},
            {"predicted", prediction_json(ranked.prediction)}};
  if (plan.tokens) {
    json["training_s"] = training_seconds(ranked.prediction, *plan.tokens, plan.planned.devices);
  }
  const auto cost = cost_per_trillion_tokens(ranked.prediction, plan.planned.cluster);
  if (cost) json["cost_per_trillion_tokens"] = cost->amount;
  return json;
}

Json counts_json(const SearchResult& result) {
  return {{"considered", result.considered}, {"fitting", result.fitting},
          {"unfit", result.unfit},           {"unfit_by_category", result.unfit_categories},
          {"invalid", result.invalid},       {"invalid_by_reason", result.invalid_reasons}};
}

}  // namespace

Json plan_json(const Plan& plan) {
  Json best = Json::array();
  for (const RankedLayout& ranked : plan.result.best) best.push_back(ranked_json(ranked, plan));
  Json json{{"schema", "kumihimo.plan/1"},      {"kind", "predicted"},
            {"complete", plan.result.complete}, {"job", job_json(plan.planned)},
            {"best", std::move(best)},          {"best_unfit", nullptr},
            {"smallest_unfit", nullptr},        {"counts", counts_json(plan.result)}};
  if (plan.result.best_unfit) json["best_unfit"] = ranked_json(*plan.result.best_unfit, plan);
  if (plan.result.smallest_unfit) {
    json["smallest_unfit"] = ranked_json(*plan.result.smallest_unfit, plan);
  }
  return json;
}

}  // namespace kumihimo

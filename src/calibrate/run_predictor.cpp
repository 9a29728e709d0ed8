#include "calibrate/run_predictor.hpp"

#include <map>

#include "cluster/cluster_file.hpp"
#include "cluster/topology.hpp"
#include "cost/peak_memory.hpp"
#include "layout/layer_split.hpp"
#include "layout/validate.hpp"
#include "search/search_space.hpp"

namespace kumihimo {

namespace {

/// The catalog's cluster with the nodes and the network that a run states.
Cluster as_stated(Cluster cluster, const MeasuredRun& run) {
  if (run.gpus_per_node > 0) cluster.devices_per_node = run.gpus_per_node;
  if (run.inter_node_bandwidth) {
    cluster.inter_node.bandwidth = *run.inter_node_bandwidth;
    cluster.nics_per_node = cluster.devices_per_node;
    cluster.nic_bandwidth = *run.inter_node_bandwidth;
  }
  return cluster;
}

/// What the framework does on the run's device: without what that does not support.
FrameworkDefaults defaults_there(const PredictableRun& run, FrameworkDefaults defaults) {
  const MeasuredRun& measured = run.run;
  const Device& device = run.cluster.device;
  defaults.precision = default_precision(device, defaults);
  const Precision precision =
      measured.stated.precision ? measured.layout.precision : defaults.precision;
  defaults.attention = default_attention(device, defaults, precision, measured.job.model.head_dim);
  defaults.gradient_dtype = default_gradient_dtype(precision, defaults);
  return defaults;
}

}  // namespace

std::vector<PredictableRun> prepare_runs(std::vector<MeasuredRun> runs,
                                         const FrameworkDefaults& defaults) {
  std::map<std::string, Expected<Cluster>> clusters;
  std::vector<PredictableRun> prepared;
  prepared.reserve(runs.size());
  for (MeasuredRun& measured : runs) {
    PredictableRun run{.run = std::move(measured)};
    run.reason = run.run.skip_reason;
    if (run.usable() && run.run.cluster) {
      run.cluster = *run.run.cluster;
    } else if (run.usable()) {
      auto [found, inserted] = clusters.try_emplace(run.run.gpu_type, Error{"", "", ""});
      if (inserted) found->second = read_cluster(run.run.gpu_type);
      if (!found->second) {
        run.reason = "no cluster in the catalog for gpu_type " + run.run.gpu_type;
      } else {
        run.cluster = as_stated(*found->second, run.run);
      }
    }
    run.run =
        complete_run(std::move(run.run), run.usable() ? defaults_there(run, defaults) : defaults);
    if (run.usable()) {
      run.cluster.nodes = static_cast<int>(nodes_of(run.run.gpus, run.cluster));
      if (defaults.layer_balance != LayerBalance::layers && run.run.layout.layer_split.empty()) {
        run.run.layout.layer_split = default_layer_split(defaults.layer_balance, run.run.job.model,
                                                         run.run.layout.virtual_stages());
      }
      const std::vector<Error> wrong =
          faults(run.run.layout, run.run.job, run.cluster, run.run.gpus);
      if (!wrong.empty()) run.reason = wrong.front().what;
    }
    if (run.usable()) {
      auto schedule = make_schedule(run.run.job, run.run.layout);
      if (schedule) {
        run.schedule = std::move(*schedule);
      } else {
        run.reason = schedule.errors().front().what;
      }
    }
    prepared.push_back(std::move(run));
  }
  return prepared;
}

Prediction predict(const PredictableRun& run, const StackProfile& profile) {
  const PieceCosts pieces = piece_costs(run.run.job, run.run.layout, run.cluster, profile);
  return predict(pieces, run.schedule, run.run.job, run.run.layout, run.cluster, profile);
}

StepCost step_cost(const PredictableRun& run, const StackProfile& profile) {
  const TrainingJob& job = run.run.job;
  const ParallelLayout& layout = run.run.layout;
  return step_cost(piece_costs(job, layout, run.cluster, profile), job, layout, run.cluster,
                   profile);
}

double predict_peak_memory(const PredictableRun& run, const StackProfile& profile) {
  const ParallelLayout& layout = run.run.layout;
  const StepCost step = step_cost(run, profile);
  return fullest(peak_memory(step, held_bytes(step, layout), layout, profile)).total();
}

}  // namespace kumihimo

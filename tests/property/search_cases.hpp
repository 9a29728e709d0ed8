#pragma once

#include <cmath>
#include <random>
#include <vector>

#include "layout/canonical.hpp"
#include "layout/validate.hpp"
#include "search/search.hpp"

namespace kumihimo::testing {

/// Random machines, models and layouts: small enough to predict thousands, odd enough to meet
/// splits and groups that do not divide. The same numbers in every run.
class SearchCases {
 public:
  explicit SearchCases(unsigned seed) : random_(seed) {}

  int from_to(int smallest, int largest) {
    return std::uniform_int_distribution<int>(smallest, largest)(random_);
  }
  double between(double smallest, double largest) {
    return std::uniform_real_distribution<double>(smallest, largest)(random_);
  }
  bool flip() { return from_to(0, 1) == 1; }
  template <class T>
  T one_of(const std::vector<T>& values) {
    return values[static_cast<std::size_t>(from_to(0, static_cast<int>(values.size()) - 1))];
  }
  /// A random part of `values`, at least one of them.
  template <class T>
  std::vector<T> some_of(const std::vector<T>& values) {
    std::vector<T> result;
    for (const T value : values) {
      if (from_to(0, 2) > 0) result.push_back(value);
    }
    if (result.empty()) result.push_back(values.front());
    return result;
  }

  Cluster cluster() {
    Cluster cluster;
    cluster.name = "random";
    cluster.device.name = "random";
    cluster.device.architecture = "ampere";
    cluster.device.memory = static_cast<Bytes>(std::exp(between(-1.5, 2.5)) * GiB);
    cluster.device.memory_bandwidth = between(2e11, 4e12);
    const double peak = between(2e13, 1e15);
    cluster.device.peak_flop_per_s = {peak / 16, peak / 2, peak, peak, 2 * peak};
    cluster.devices_per_node = one_of<int>({1, 2, 3, 4, 8, 16});
    cluster.nodes = 8;
    cluster.intra_node = {between(1e10, 1e12), between(0, 1e-5)};
    cluster.inter_node = {between(1e9, 1e11), between(0, 3e-5)};
    cluster.host_memory = Bytes{1} << 40;
    cluster.host_link_bandwidth = between(1e10, 4e11);
    cluster.price_per_device_hour = Money{between(0.5, 10)};
    return cluster;
  }

  StackProfile profile() {
    StackProfile profile;
    profile.point_to_point_overlap = between(0, 1);
    profile.data_parallel_overlap = between(0, 1);
    profile.launch_s = between(0, 2e-5);
    profile.step_s = between(0, 5e-2);
    profile.context_gib = between(0, 1);
    profile.memory_residual = between(0.01, 0.2);
    profile.defaults.layer_balance = static_cast<LayerBalance>(from_to(0, 2));
    profile.defaults.scatter_gather_boundary = flip();
    profile.defaults.vocab_parallel_loss = flip();
    profile.defaults.offloaded_update_behind_forward = flip();
    profile.defaults.weight_gathering_behind_forward = flip();
    return profile;
  }

  TrainingJob job() {
    TrainingJob job;
    TransformerShape& model = job.model;
    model.name = "random";
    model.layers = from_to(1, 30);
    model.heads = one_of<int>({4, 6, 8, 16});
    model.kv_heads = flip() ? model.heads : 2;
    model.head_dim = one_of<int>({32, 64, 128});
    model.hidden = model.heads * model.head_dim;
    model.ffn_hidden = 4 * model.hidden;
    model.vocab = from_to(1000, 130000);
    model.max_positions = 8192;
    model.tied_embeddings = flip();
    job.seq_length = one_of<int>({256, 1024, 4096});
    job.global_batch_size = one_of<int>({12, 16, 64, 96});
    job.vocab_multiple = one_of<int>({1, 128});
    return job;
  }

  /// A job on a machine, with random parts of generous lists.
  SearchRequest request() {
    SearchRequest request;
    request.job = job();
    request.cluster = cluster();
    request.profile = profile();
    request.devices = one_of<int>({1, 4, 6, 8, 16, 24});
    SearchSpace& space = request.space;
    space.tensor_parallel = some_of<int>({1, 2, 4, 8});
    space.pipeline_parallel = some_of<int>({1, 2, 3, 4, 6, 8});
    space.context_parallel = some_of<int>({1, 2});
    space.micro_batch_size = some_of<int>({1, 2, 3, 4});
    space.schedules = some_of<ScheduleChoice>({{ScheduleKind::one_forward_one_backward, 1},
                                               {ScheduleKind::interleaved, 1},
                                               {ScheduleKind::interleaved, 2},
                                               {ScheduleKind::interleaved, 3},
                                               {ScheduleKind::gpipe, 1},
                                               {ScheduleKind::zb_h1, 1}});
    space.recompute = some_of<Recompute>({Recompute::none, Recompute::selective, Recompute::full});
    space.sequence_parallel = some_of<bool>({false, true});
    space.zero_stage = some_of<int>({0, 1, 2, 3});
    space.zero_group = some_of<int>({0, 2, 4});
    space.overlap_data_parallel = some_of<bool>({true, false});
    space.overlap_tensor_parallel = some_of<bool>({false, true});
    space.offload = some_of<Offload>({{}, {.optimizer = true}, {.activations = true}});
    space.layer_balance = request.profile.defaults.layer_balance;
    request.objective = flip() ? Objective::mfu : Objective::step_time;
    request.limit = from_to(1, 12);
    request.min_fits_probability = one_of<double>({0, 0.5, 0.9});
    request.threads = 1;
    return request;
  }

  /// A valid layout of the request's space in canonical spelling, or one device's.
  ParallelLayout layout(const SearchRequest& request) {
    const SearchSpace& space = request.space;
    for (int attempt = 0; attempt < 200; ++attempt) {
      ParallelLayout layout;
      layout.tensor_parallel = one_of(space.tensor_parallel);
      layout.pipeline_parallel = one_of(space.pipeline_parallel);
      layout.context_parallel = one_of(space.context_parallel);
      layout.data_parallel = static_cast<int>(std::max<std::int64_t>(
          1, request.devices / (layout.model_parallel() * layout.context_parallel)));
      layout.micro_batch_size = one_of(space.micro_batch_size);
      const ScheduleChoice schedule = one_of(space.schedules);
      layout.schedule = schedule.kind;
      layout.virtual_stages_per_rank = schedule.virtual_stages_per_rank;
      layout.recompute = one_of(space.recompute);
      layout.sequence_parallel = one_of(space.sequence_parallel);
      layout.zero_stage = one_of(space.zero_stage);
      layout.zero_group = one_of(space.zero_group);
      layout.overlap_data_parallel = one_of(space.overlap_data_parallel);
      layout.overlap_tensor_parallel = one_of(space.overlap_tensor_parallel);
      layout.offload = one_of(space.offload);
      layout = canonical(layout);
      if (is_valid(layout, request.job, request.cluster, layout.devices())) return layout;
    }
    return {};
  }

 private:
  std::mt19937 random_;
};

}  // namespace kumihimo::testing

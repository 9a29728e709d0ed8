#include "search/neighbours.hpp"

#include <algorithm>
#include <fmt/format.h>

#include "layout/canonical.hpp"
#include "layout/names.hpp"
#include "layout/validate.hpp"
#include "search/pipeline_shape.hpp"

namespace kumihimo {
namespace {

/// The nearest divisors of `whole` below and above `own`.
std::vector<int> nearest_divisors(std::int64_t whole, int own) {
  std::vector<int> result;
  for (int lower = own - 1; lower >= 1; --lower) {
    if (whole % lower != 0) continue;
    result.push_back(lower);
    break;
  }
  const std::int64_t last = std::min<std::int64_t>(whole, max_degree);
  for (std::int64_t higher = own + 1; higher <= last; ++higher) {
    if (whole % higher != 0) continue;
    result.push_back(static_cast<int>(higher));
    break;
  }
  return result;
}

/// own - 1 and own + 1, where they are from `least` to `most`.
std::vector<int> next_to(int own, int least, int most) {
  std::vector<int> result;
  if (own - 1 >= least) result.push_back(own - 1);
  if (own + 1 <= most) result.push_back(own + 1);
  return result;
}

/// "needs 93.1 GiB of 80.0 GiB, 61.0 GiB of them activations".
std::string memory_reason(const Prediction& prediction, const SearchRequest& request) {
  const double device = static_cast<double>(request.cluster.device.memory);
  const double allowed = std::min(device, request.max_memory_bytes);
  const LargestMemory largest = largest_memory_category(prediction);
  const std::string needs =
      fmt::format("needs {} of {}, {} of them {}", format_bytes(prediction.peak_memory_bytes),
                  format_bytes(allowed), format_bytes(largest.bytes), largest.name);
  if (prediction.peak_memory_bytes > allowed) return needs;
  if (!fits_host(prediction, request.cluster)) {
    return fmt::format("needs {} of the {} of a node's host memory",
                       format_bytes(prediction.host_bytes_of_node),
                       format_bytes(static_cast<double>(request.cluster.host_memory)));
  }
  return fmt::format("{}: fits with a probability of {:.0f} %", needs,
                     100 * prediction.fits_probability);
}

/// What a schedule is made from.
struct SchedulePlan {
  ScheduleKind kind;
  int pipeline_parallel;
  int virtual_stages_per_rank;
  std::int64_t num_micro_batches;

  bool operator==(const SchedulePlan&) const = default;
};

class Neighbourhood {
 public:
  Neighbourhood(const ParallelLayout& layout, const SearchRequest& request)
      : layout_(layout), canonical_layout_(canonical(layout)), request_(request) {}

  std::vector<Neighbour> find(const SearchProgress& progress) {
    add_degrees();
    add_schedules();
    add_states();
    add_kernels();
    for (std::size_t i = 0; i < found_.size(); ++i) {
      judge(found_[i]);
      if (progress) progress(static_cast<std::int64_t>(i + 1), std::ssize(found_));
    }
    return std::move(found_);
  }

 private:
  template <class Change>
  void add(std::string knob, std::string from, std::string to, Change change) {
    Neighbour neighbour{std::move(knob), std::move(from), std::move(to), layout_};
    change(neighbour.layout);
    neighbour.layout = canonical(neighbour.layout);
    if (neighbour.layout == canonical_layout_) return;
    found_.push_back(std::move(neighbour));
  }

  /// A neighbour whose `knob` has that value.
  template <class Value>
  void set(const char* name, Value ParallelLayout::*knob, Value value) {
    const auto text = [](Value shown) {
      if constexpr (std::is_same_v<Value, bool>) {
        return std::string(shown ? "true" : "false");
      } else if constexpr (std::is_enum_v<Value>) {
        return std::string(to_string(shown));
      } else {
        return std::to_string(shown);
      }
    };
    if (layout_.*knob == value) return;
    add(name, text(layout_.*knob), text(value), [&](ParallelLayout& l) { l.*knob = value; });
  }

  void add_degrees() {
    const std::int64_t replica = std::int64_t{layout_.model_parallel()} * layout_.context_parallel;
    const auto degree = [&](const char* name, int ParallelLayout::*knob) {
      const int own = layout_.*knob;
      const std::int64_t others = replica / own;  // of the axes that stay as they are
      for (const int value : nearest_divisors(request_.devices / others, own)) {
        add(name, std::to_string(own), std::to_string(value), [&](ParallelLayout& l) {
          l.*knob = value;
          l.data_parallel = static_cast<int>(
              std::min<std::int64_t>(request_.devices / (others * value), max_degree + 1));
          // A group of the states' shards need not divide the other number of replicas.
          if (l.zero_group > 0 &&
              std::int64_t{l.data_parallel} * l.context_parallel % l.zero_group != 0) {
            l.zero_group = 0;
          }
          resplit(l);
        });
      }
    };
    degree("tp", &ParallelLayout::tensor_parallel);
    degree("pp", &ParallelLayout::pipeline_parallel);
    degree("cp", &ParallelLayout::context_parallel);
    const std::int64_t sequences = request_.job.global_batch_size / layout_.data_parallel;
    for (const int value : nearest_divisors(sequences, layout_.micro_batch_size)) {
      set("micro-batch", &ParallelLayout::micro_batch_size, value);
    }
  }

  void add_schedules() {
    const auto schedule = [&](ScheduleKind kind, int virtual_stages) {
      const auto text = [](ScheduleKind shown, int stages) {
        return shown == ScheduleKind::interleaved ? fmt::format("interleaved vpp={}", stages)
                                                  : std::string(to_string(shown));
      };
      add("schedule", text(layout_.schedule, layout_.virtual_stages_per_rank),
          text(kind, virtual_stages), [&](ParallelLayout& l) {
            l.schedule = kind;
            l.virtual_stages_per_rank = virtual_stages;
            resplit(l);
          });
    };
    for (const ScheduleKind kind : {ScheduleKind::gpipe, ScheduleKind::one_forward_one_backward,
                                    ScheduleKind::interleaved, ScheduleKind::zb_h1}) {
      if (kind != ScheduleKind::interleaved) {
        schedule(kind, 1);
      } else if (layout_.schedule != kind) {
        schedule(kind, 2);
      } else {
        for (const int stages : next_to(layout_.virtual_stages_per_rank, 2, max_degree)) {
          schedule(kind, stages);
        }
      }
    }
  }

  void add_states() {
    for (const auto& row : NameTable<Recompute>::rows) {
      set("recompute", &ParallelLayout::recompute, row.value);
    }
    set("sp", &ParallelLayout::sequence_parallel, !layout_.sequence_parallel);
    for (const int stage : next_to(layout_.zero_stage, 0, 3)) {
      set("zero", &ParallelLayout::zero_stage, stage);
    }
    const int replicas = layout_.data_parallel * layout_.context_parallel;
    const int group = layout_.zero_group > 0 ? layout_.zero_group : replicas;
    for (const int ranks : nearest_divisors(replicas, group)) {
      if (ranks == 1) continue;  // which is ZeRO stage 0
      set("zero-group", &ParallelLayout::zero_group, ranks == replicas ? 0 : ranks);
    }
  }

  void add_kernels() {
    const int kernel = static_cast<int>(layout_.attention);
    const int kernels = static_cast<int>(NameTable<AttentionKernel>::rows.size());
    for (const int other : next_to(kernel, 0, kernels - 1)) {
      set("attention", &ParallelLayout::attention, static_cast<AttentionKernel>(other));
    }
    for (const auto& row : NameTable<NormKernel>::rows) {
      set("norm", &ParallelLayout::norm, row.value);
    }
    for (const Precision precision : all_precisions) {
      if (!request_.cluster.device.supports(precision) || precision == layout_.precision) continue;
      add("precision", std::string(to_string(layout_.precision)), std::string(to_string(precision)),
          [&](ParallelLayout& l) {
            l.precision = precision;
            // Narrow gradients are of the layers' own type.
            if (l.gradient_dtype != Precision::fp32) l.gradient_dtype = stored_as(precision);
          });
    }
    const Precision stored = stored_as(layout_.precision);
    set("gradient-dtype", &ParallelLayout::gradient_dtype,
        layout_.gradient_dtype == Precision::fp32 ? stored : Precision::fp32);
    set("overlap-dp", &ParallelLayout::overlap_data_parallel, !layout_.overlap_data_parallel);
    set("overlap-tp", &ParallelLayout::overlap_tensor_parallel, !layout_.overlap_tensor_parallel);
    const auto offload = [&](const char* what, bool Offload::*part) {
      const auto text = [what](bool on) { return on ? std::string(what) : std::string("none"); };
      const bool own = layout_.offload.*part;
      add("offload", text(own), text(!own), [&](ParallelLayout& l) { l.offload.*part = !own; });
    };
    offload("optimizer", &Offload::optimizer);
    offload("activations", &Offload::activations);
    offload("weights", &Offload::weights);
  }

  void resplit(ParallelLayout& layout) const {
    const bool same_stages = layout.pipeline_parallel == layout_.pipeline_parallel &&
                             layout.virtual_stages_per_rank == layout_.virtual_stages_per_rank;
    if (same_stages) return;
    layout.layer_split =
        layer_split_of_space(layout, request_.job, request_.profile.defaults.layer_balance);
  }

  /// Most neighbours have the schedule of the one before.
  const Schedule& schedule_of(const ParallelLayout& layout) {
    const SchedulePlan plan{layout.schedule, layout.pipeline_parallel,
                            layout.virtual_stages_per_rank,
                            num_micro_batches(request_.job, layout)};
    if (plan != plan_) {
      schedule_ = {};  // two of millions of passes might not fit
      schedule_ = *make_schedule(request_.job, layout);
      plan_ = plan;
    }
    return schedule_;
  }

  void judge(Neighbour& neighbour) {
    const ParallelLayout& layout = neighbour.layout;
    for (const Error& error : faults(layout, request_.job, request_.cluster, request_.devices)) {
      if (!neighbour.reason.empty()) neighbour.reason += "; ";
      neighbour.reason += error.what;
      if (!error.fix.empty()) neighbour.reason += ": " + error.fix;
    }
    if (!neighbour.reason.empty()) return;
    if (num_actions(request_.job, layout) > max_schedule_actions) {
      neighbour.reason = "too many micro-batches to simulate";
      return;
    }
    const PieceCosts pieces = piece_costs(request_.job, layout, request_.cluster, request_.profile);
    neighbour.prediction = predict(pieces, schedule_of(layout), request_.job, layout,
                                   request_.cluster, request_.profile);
    neighbour.fits = fits(*neighbour.prediction, request_);
    if (!neighbour.fits) neighbour.reason = memory_reason(*neighbour.prediction, request_);
  }

  const ParallelLayout& layout_;
  const ParallelLayout canonical_layout_;
  const SearchRequest& request_;
  std::vector<Neighbour> found_;
  SchedulePlan plan_{};  ///< of schedule_
  Schedule schedule_;
};

}  // namespace

std::vector<Neighbour> neighbours(const ParallelLayout& layout, const SearchRequest& request,
                                  const SearchProgress& progress) {
  KUMIHIMO_CHECK(is_valid(layout, request.job, request.cluster, request.devices));
  return Neighbourhood(layout, request).find(progress);
}

}  // namespace kumihimo

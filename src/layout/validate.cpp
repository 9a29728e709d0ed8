#include "layout/validate.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <limits>
#include <numeric>
#include <span>

#include "layout/attention_support.hpp"
#include "layout/names.hpp"

namespace kumihimo {
namespace {

// Every rule stands once, as rule(holds, phrase, make_error). A judge decides what becomes of a
// broken one: all are described, or the first is named and the rest is skipped.
struct AllFaults {
  Errors errors;

  template <class MakeError>
  void rule(bool holds, std::string_view /*phrase*/, MakeError make_error) {
    if (!holds) errors.push_back(make_error());
  }
  bool settled() const { return false; }
};

struct FirstFault {
  std::optional<std::string_view> phrase;

  template <class MakeError>
  void rule(bool holds, std::string_view broken, MakeError /*make_error*/) {
    if (!holds && !phrase) phrase = broken;
  }
  bool settled() const { return phrase.has_value(); }
};

/// Takes no rule as broken or kept: lists what there is.
struct EveryPhrase {
  std::vector<std::string_view> phrases;

  template <class MakeError>
  void rule(bool /*holds*/, std::string_view phrase, MakeError /*make_error*/) {
    if (std::find(phrases.begin(), phrases.end(), phrase) == phrases.end()) {
      phrases.push_back(phrase);
    }
  }
  bool settled() const { return false; }
};

struct Subject {
  const ParallelLayout& layout;
  const TrainingJob& job;
  const Cluster& cluster;
  std::int64_t devices;
};

constexpr std::int64_t max_seq_length = std::int64_t{1} << 30;
constexpr std::int64_t max_global_batch_size = std::numeric_limits<int>::max();
constexpr std::int64_t max_devices = std::numeric_limits<int>::max();
constexpr std::int64_t max_vocab_multiple = 1 << 20;

bool in_range(std::int64_t value, std::int64_t largest) { return value >= 1 && value <= largest; }

/// Whether `whole` splits into `parts`. True when `parts` is nonsense, which other rules report.
bool splits(std::int64_t whole, std::int64_t parts) { return parts < 1 || whole % parts == 0; }

/// "1, 2, 4, 5, 8": the tensor-parallel degrees that anybody would try.
std::string small_divisors(std::int64_t number) {
  std::string text;
  for (std::int64_t divisor = 1; divisor <= std::min<std::int64_t>(number, 64); ++divisor) {
    if (number % divisor == 0) text += fmt::format("{}{}", text.empty() ? "" : ", ", divisor);
  }
  return text;
}

Error out_of_range(std::string where, std::int64_t value, std::int64_t largest) {
  return {std::move(where), fmt::format("is {}", value),
          fmt::format("give a whole number from 1 to {}", largest)};
}

template <class Judge>
void judge_job(const Subject& s, Judge& judge) {
  const TrainingJob& job = s.job;
  judge.rule(in_range(job.seq_length, max_seq_length), "sequence length out of range",
             [&] { return out_of_range("job: sequence length", job.seq_length, max_seq_length); });
  judge.rule(
      in_range(job.global_batch_size, max_global_batch_size), "global batch out of range", [&] {
        return out_of_range("job: global batch size", job.global_batch_size, max_global_batch_size);
      });
  judge.rule(
      in_range(job.vocab_multiple, max_vocab_multiple), "vocabulary multiple out of range", [&] {
        return out_of_range("job: vocabulary multiple", job.vocab_multiple, max_vocab_multiple);
      });
  judge.rule(in_range(s.devices, max_devices), "number of devices out of range",
             [&] { return out_of_range("job: devices", s.devices, max_devices); });
  judge.rule(job.model.positions != Positions::learned || job.seq_length <= job.model.max_positions,
             "sequence longer than the position table", [&] {
               return Error{"job: sequence length",
                            fmt::format("is {}, but the model's position table ends at {}",
                                        job.seq_length, job.model.max_positions),
                            fmt::format("give at most {}", job.model.max_positions)};
             });
}

template <class Judge>
void judge_degrees(const Subject& s, Judge& judge) {
  const ParallelLayout& l = s.layout;
  const auto degree = [&](const char* where, int value, std::string_view phrase) {
    judge.rule(in_range(value, max_degree), phrase,
               [&] { return out_of_range(where, value, max_degree); });
  };
  degree("layout: tp", l.tensor_parallel, "tp out of range");
  degree("layout: pp", l.pipeline_parallel, "pp out of range");
  degree("layout: dp", l.data_parallel, "dp out of range");
  degree("layout: cp", l.context_parallel, "cp out of range");
  degree("layout: micro-batch", l.micro_batch_size, "micro-batch out of range");
  degree("layout: vpp", l.virtual_stages_per_rank, "virtual stages out of range");
}

template <class Judge>
void judge_devices(const Subject& s, Judge& judge) {
  const ParallelLayout& l = s.layout;
  judge.rule(l.devices() == s.devices, "tp x pp x dp x cp is not the number of devices", [&] {
    const std::int64_t replica = l.devices() / l.data_parallel;
    const bool dp_mends = s.devices >= replica && splits(s.devices, replica);
    return Error{"layout: devices",
                 fmt::format("tp {} x pp {} x dp {} x cp {} is {} devices, not {}",
                             l.tensor_parallel, l.pipeline_parallel, l.data_parallel,
                             l.context_parallel, l.devices(), s.devices),
                 dp_mends
                     ? fmt::format("set dp={}", s.devices / replica)
                     : fmt::format("choose tp, pp and cp whose product divides {}", s.devices)};
  });
}

template <class Judge>
void judge_tensor_parallel(const Subject& s, Judge& judge) {
  const ParallelLayout& l = s.layout;
  const TransformerShape& model = s.job.model;
  const int tp = l.tensor_parallel;
  judge.rule(splits(model.heads, tp), "tp does not divide the attention heads", [&] {
    return Error{"layout: tp",
                 fmt::format("{} does not divide the {} attention heads", tp, model.heads),
                 "use one of " + small_divisors(model.heads)};
  });
  // Fewer key-value heads than ranks: each is held by tp / kv_heads ranks.
  judge.rule(splits(model.kv_heads, tp) || splits(tp, model.kv_heads),
             "tp and the key-value heads do not divide each other", [&] {
               return Error{"layout: tp",
                            fmt::format("{} neither divides nor is a multiple of the {} key-value "
                                        "heads",
                                        tp, model.kv_heads),
                            "use one of " + small_divisors(model.kv_heads)};
             });
  judge.rule(splits(model.ffn_hidden, tp), "tp does not divide the MLP width", [&] {
    return Error{"layout: tp",
                 fmt::format("{} does not divide the MLP width {}", tp, model.ffn_hidden),
                 "use one of " + small_divisors(model.ffn_hidden)};
  });
  judge.rule(!l.sequence_parallel || tp > 1, "sequence parallelism without tp", [&] {
    return Error{"layout: sp", "splits the sequence over the tensor-parallel ranks, but tp is 1",
                 "set sp=false, or tp=2 or more"};
  });
}

template <class Judge>
void judge_sequence(const Subject& s, Judge& judge) {
  const ParallelLayout& l = s.layout;
  const std::int64_t sequence = s.job.seq_length, cp = l.context_parallel;
  // Zig-zag: each rank takes one slice from the front and its mirror from the back, so that causal
  // attention gives all ranks the same work.
  judge.rule(cp == 1 || splits(sequence, 2 * cp), "2 x cp does not divide the sequence", [&] {
    return Error{"layout: cp",
                 fmt::format("{} needs 2 x {} equal slices of the sequence, which is {} long", cp,
                             cp, sequence),
                 fmt::format("use a sequence length that is a multiple of {}", 2 * cp)};
  });
  judge.rule(cp == 1 || is_flash(l.attention), "cp without flash attention", [&] {
    return Error{"layout: cp",
                 fmt::format("{} passes keys and values around a ring, which {} attention cannot "
                             "merge",
                             cp, to_string(l.attention)),
                 "set attention=flash2, or cp=1"};
  });
  const std::int64_t parts = cp * l.tensor_parallel;
  judge.rule(!l.sequence_parallel || splits(sequence, parts), "sp does not divide the sequence",
             [&] {
               return Error{"layout: sp",
                            fmt::format("needs a sequence that tp {} x cp {} = {} divides, not {}",
                                        l.tensor_parallel, cp, parts, sequence),
                            "set sp=false or change the sequence length"};
             });
}

template <class Judge>
void judge_batch(const Subject& s, Judge& judge) {
  const ParallelLayout& l = s.layout;
  const std::int64_t batch = s.job.global_batch_size;
  const std::int64_t sequences = std::int64_t{l.data_parallel} * l.micro_batch_size;
  judge.rule(splits(batch, sequences), "dp x micro-batch does not divide the global batch", [&] {
    return Error{"layout: micro-batch",
                 fmt::format("dp {} x micro-batch {} = {} does not divide the global batch of {}",
                             l.data_parallel, l.micro_batch_size, sequences, batch),
                 fmt::format("choose dp and micro-batch whose product divides {}", batch)};
  });
  const bool interleaved = l.schedule == ScheduleKind::interleaved;
  const std::int64_t micro_batches = batch / sequences;
  judge.rule(
      !interleaved || !splits(batch, sequences) || splits(micro_batches, l.pipeline_parallel),
      "pp does not divide the micro-batches of an interleaved schedule", [&] {
        return Error{"layout: schedule",
                     fmt::format("interleaved runs micro-batches in groups of pp {}, which "
                                 "does not divide {} micro-batches",
                                 l.pipeline_parallel, micro_batches),
                     "set schedule=1f1b vpp=1, or change dp or micro-batch"};
      });
}

template <class Judge>
void judge_stages(const Subject& s, Judge& judge) {
  const ParallelLayout& l = s.layout;
  const bool interleaved = l.schedule == ScheduleKind::interleaved;
  judge.rule(interleaved || l.virtual_stages_per_rank == 1, "virtual stages without interleaving",
             [&] {
               return Error{"layout: vpp",
                            fmt::format("is {}, but schedule {} gives each rank one stage",
                                        l.virtual_stages_per_rank, to_string(l.schedule)),
                            "set schedule=interleaved, or vpp=1"};
             });
  judge.rule(!interleaved || l.virtual_stages_per_rank >= 2, "interleaved without virtual stages",
             [&] {
               return Error{"layout: vpp",
                            fmt::format("is {}, but an interleaved schedule needs at least 2",
                                        l.virtual_stages_per_rank),
                            "set vpp=2, or schedule=1f1b"};
             });
  judge.rule(!interleaved || l.pipeline_parallel >= 2, "interleaved without a pipeline", [&] {
    return Error{"layout: pp", "is 1, but an interleaved schedule needs at least 2",
                 "set pp=2 or more, or schedule=1f1b vpp=1"};
  });

  const std::int64_t layers = s.job.model.layers;
  const std::vector<int>& split = l.layer_split;
  if (split.empty()) {
    judge.rule(l.virtual_stages() <= layers, "more stages than layers", [&] {
      return Error{"layout: pp",
                   fmt::format("pp {} x vpp {} = {} stages for {} layers", l.pipeline_parallel,
                               l.virtual_stages_per_rank, l.virtual_stages(), layers),
                   fmt::format("keep pp x vpp at or below {}", layers)};
    });
    return;
  }
  judge.rule(std::ssize(split) == l.virtual_stages(), "layer split of the wrong length", [&] {
    return Error{"layout: layers",
                 fmt::format("names {} stages, but pp {} x vpp {} is {}", split.size(),
                             l.pipeline_parallel, l.virtual_stages_per_rank, l.virtual_stages()),
                 fmt::format("give {} numbers", l.virtual_stages())};
  });
  const std::int64_t total = std::accumulate(split.begin(), split.end(), std::int64_t{0});
  judge.rule(total == layers, "layer split of the wrong sum", [&] {
    return Error{"layout: layers", fmt::format("add up to {}, but the model has {}", total, layers),
                 fmt::format("make them add up to {}", layers)};
  });
  judge.rule(std::ranges::all_of(split, [](int count) { return count >= 0; }),
             "negative number of layers", [&] {
               const auto negative =
                   std::ranges::find_if(split, [](int count) { return count < 0; });
               return Error{"layout: layers",
                            fmt::format("stage {} has {}", negative - split.begin(), *negative),
                            "give every stage at least one layer"};
             });
  // The first stage still holds the embedding and the last the head; any other would be empty.
  const auto inner = std::span(split).subspan(1, split.size() > 2 ? split.size() - 2 : 0);
  const auto empty = std::ranges::find(inner, 0);
  judge.rule(empty == inner.end(), "stage without layers", [&] {
    return Error{"layout: layers",
                 fmt::format("stage {} has none, and holds neither embedding nor head",
                             empty - inner.begin() + 1),
                 "only the first and the last stage may have 0"};
  });
}

template <class Judge>
void judge_states(const Subject& s, Judge& judge) {
  const ParallelLayout& l = s.layout;
  judge.rule(l.zero_stage >= 0 && l.zero_stage <= 3, "zero stage out of range", [&] {
    return Error{"layout: zero", fmt::format("is {}", l.zero_stage), "use 0, 1, 2 or 3"};
  });
  const std::int64_t replicas = std::int64_t{l.data_parallel} * l.context_parallel;
  judge.rule(l.zero_group >= 0 && splits(replicas, l.zero_group),
             "zero group does not divide dp x cp", [&] {
               return Error{"layout: zero-group",
                            fmt::format("{} does not divide dp {} x cp {} = {} ranks", l.zero_group,
                                        l.data_parallel, l.context_parallel, replicas),
                            fmt::format("use a divisor of {}, or 0 for all", replicas)};
             });
  const Precision stored = stored_as(l.precision);
  judge.rule(l.gradient_dtype == Precision::fp32 || l.gradient_dtype == stored,
             "gradient dtype does not go with the precision", [&] {
               return Error{"layout: gradient-dtype",
                            fmt::format("{} does not go with precision {}",
                                        to_string(l.gradient_dtype), to_string(l.precision)),
                            stored == Precision::fp32
                                ? "set gradient-dtype=fp32"
                                : fmt::format("set gradient-dtype=fp32 or {}", to_string(stored))};
             });
}

template <class Judge>
void judge_hardware(const Subject& s, Judge& judge) {
  const ParallelLayout& l = s.layout;
  const Device& device = s.cluster.device;
  judge.rule(device.supports(l.precision), "precision not supported by the device", [&] {
    std::string supported;
    for (const Precision precision : all_precisions) {
      if (!device.supports(precision)) continue;
      supported += fmt::format("{}{}", supported.empty() ? "" : ", ", to_string(precision));
    }
    return Error{
        "layout: precision",
        fmt::format("{} has no stated peak on {}", to_string(l.precision), device.name),
        supported.empty() ? "state device.peak in the cluster file" : "use one of " + supported};
  });
  const bool has = has_kernel(device, l.attention);
  judge.rule(has || l.attention != AttentionKernel::flash2, "flash2 on Volta", [&] {
    return Error{"layout: attention",
                 fmt::format("flash2 needs Ampere or later; {} is Volta", device.name),
                 "use flash1, fused-softmax or unfused"};
  });
  judge.rule(has || l.attention != AttentionKernel::flash3, "flash3 on a device other than Hopper",
             [&] {
               return Error{"layout: attention",
                            fmt::format("flash3 needs Hopper; the architecture of {} is \"{}\"",
                                        device.name, device.architecture),
                            "use flash2, or correct device.architecture in the cluster file"};
             });
  judge.rule(takes_precision(l.attention, l.precision), "flash3 in fp32 or tf32", [&] {
    return Error{
        "layout: attention",
        fmt::format("flash3 computes in fp16, bf16 or fp8, not in {}", to_string(l.precision)),
        "use another kernel, or precision=bf16"};
  });
  const std::int64_t head_dim = s.job.model.head_dim, widest = widest_head(device, l.attention);
  judge.rule(head_dim <= widest, "heads too wide for the flash kernel", [&] {
    const bool suits_flash2 = has_kernel(device, AttentionKernel::flash2) &&
                              head_dim <= widest_head(device, AttentionKernel::flash2);
    return Error{
        "layout: attention",
        fmt::format("{} takes heads of up to {} elements; the model's have {}",
                    to_string(l.attention), widest, head_dim),
        suits_flash2 ? "use flash2, fused-softmax or unfused" : "use fused-softmax or unfused"};
  });
  judge.rule(!l.offload.any() || (s.cluster.host_memory > 0 && s.cluster.host_link_bandwidth > 0),
             "offload without host memory or host link", [&] {
               return Error{"layout: offload",
                            fmt::format("cluster {} states no {}", s.cluster.name,
                                        s.cluster.host_memory > 0 ? "host link" : "host memory"),
                            "state both in the cluster file, or set offload=none"};
             });
}

template <class Judge>
void judge_all(const Subject& s, Judge& judge) {
  judge_job(s, judge);
  judge_degrees(s, judge);
  const ParallelLayout& l = s.layout;
  const bool countable =
      in_range(l.tensor_parallel, max_degree) && in_range(l.pipeline_parallel, max_degree) &&
      in_range(l.data_parallel, max_degree) && in_range(l.context_parallel, max_degree) &&
      in_range(l.micro_batch_size, max_degree) && in_range(l.virtual_stages_per_rank, max_degree);
  // The rules below multiply and divide by the degrees.
  if (countable) {
    if (!judge.settled()) judge_devices(s, judge);
    if (!judge.settled()) judge_tensor_parallel(s, judge);
    if (!judge.settled()) judge_sequence(s, judge);
    if (!judge.settled()) judge_batch(s, judge);
    if (!judge.settled()) judge_stages(s, judge);
    if (!judge.settled()) judge_states(s, judge);
  }
  if (!judge.settled()) judge_hardware(s, judge);
}

}  // namespace

Errors faults(const ParallelLayout& layout, const TrainingJob& job, const Cluster& cluster,
              std::int64_t devices) {
  AllFaults judge;
  judge_all({layout, job, cluster, devices}, judge);
  return std::move(judge.errors);
}

std::optional<std::string_view> first_fault(const ParallelLayout& layout, const TrainingJob& job,
                                            const Cluster& cluster, std::int64_t devices) {
  FirstFault judge;
  judge_all({layout, job, cluster, devices}, judge);
  return judge.phrase;
}

std::vector<std::string_view> fault_phrases() {
  EveryPhrase judge;
  const TrainingJob job;
  const Cluster cluster;
  const ParallelLayout even;
  const ParallelLayout split{.layer_split = {1}};  // has rules of its own
  judge_all({even, job, cluster, 1}, judge);
  judge_all({split, job, cluster, 1}, judge);
  return std::move(judge.phrases);
}

}  // namespace kumihimo

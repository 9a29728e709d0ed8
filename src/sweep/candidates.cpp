#include "sweep/candidates.hpp"

#include <fmt/format.h>

#include "layout/canonical.hpp"
#include "layout/names.hpp"
#include "layout/validate.hpp"
#include "search/layout_index.hpp"

namespace kumihimo {
namespace {

/// As docs/runs.md spells kernels; with these names the absence of "+ RMS kernel" states an unfused
/// norm.
std::string attention_cell(const ParallelLayout& layout) {
  std::string text;
  switch (layout.attention) {
    case AttentionKernel::unfused: text = "torch"; break;
    case AttentionKernel::fused_softmax: text = "fused"; break;
    case AttentionKernel::flash1: text = "flash_attention"; break;
    case AttentionKernel::flash2: text = "flash_attention2"; break;
    case AttentionKernel::flash3: text = "flash_attention3"; break;
  }
  return layout.norm == NormKernel::fused ? text + " + RMS kernel" : text;
}

std::string schedule_note(const ParallelLayout& layout) {
  switch (layout.schedule) {
    case ScheduleKind::gpipe: return "schedule GPipe";
    case ScheduleKind::one_forward_one_backward: return "schedule 1F1B";
    case ScheduleKind::interleaved: return "schedule 1F1B-I";
    case ScheduleKind::zb_h1: return "schedule ZB-H1";
  }
  return "";
}

}  // namespace

Candidate make_candidate(const TrainingJob& job, const ParallelLayout& layout,
                         const Cluster& cluster, std::int64_t devices) {
  Candidate candidate;
  MeasuredRun& run = candidate.run;
  run.gpu_type = cluster.name;
  run.gpus = static_cast<int>(devices);
  run.gpus_per_node = cluster.devices_per_node;
  run.job = job;
  run.layout = layout;
  run.stated = StatedSettings::all();
  candidate.cluster = cluster;
  auto schedule = make_schedule(job, layout);
  if (schedule) {
    candidate.schedule = std::move(*schedule);
  } else {
    candidate.reason = schedule.errors().front().what;
  }
  return candidate;
}

CandidateList list_candidates(
    const SearchSpace& space, const TrainingJob& job, const Cluster& cluster, std::int64_t devices,
    const std::function<std::optional<std::string>(const ParallelLayout&)>& also_refuse) {
  CandidateList list;
  const LayoutIndex index(space, job, devices);
  for (std::int64_t i = 0; i < index.size(); ++i) {
    const LayoutIndex::Entry entry = index.at(i);
    if (!entry.wanted) continue;
    const ParallelLayout layout = canonical(entry.layout);
    if (index.is_twin(entry.layout, layout)) continue;
    ++list.considered;
    if (const auto fault = first_fault(entry.layout, job, cluster, devices)) {
      ++list.left_out[std::string(*fault)];
      continue;
    }
    if (const auto refusal = also_refuse ? also_refuse(layout) : std::nullopt) {
      ++list.left_out[*refusal];
      continue;
    }
    Candidate candidate = make_candidate(job, layout, cluster, devices);
    if (candidate.usable()) {
      list.candidates.push_back(std::move(candidate));
    } else {
      ++list.left_out[candidate.reason];
    }
  }
  return list;
}

RunRow run_row(const Candidate& candidate) {
  const MeasuredRun& run = candidate.run;
  const ParallelLayout& layout = run.layout;
  const TransformerShape& model = run.job.model;
  RunRow row;
  const auto set = [&](RunColumn column, const auto& value) {
    row[column] = fmt::format("{}", value);
  };
  row[RunColumn::model_name] = model.name;
  set(RunColumn::hidden, model.hidden);
  set(RunColumn::layers, model.layers);
  set(RunColumn::heads, model.heads);
  set(RunColumn::kv_heads, model.kv_heads);
  set(RunColumn::ffn_hidden, model.ffn_hidden);
  set(RunColumn::vocab, model.vocab);
  set(RunColumn::seq_len, run.job.seq_length);
  set(RunColumn::global_batch, run.job.global_batch_size);
  set(RunColumn::gpus, run.gpus);
  row[RunColumn::gpu_type] = run.gpu_type;
  set(RunColumn::gpus_per_node, run.gpus_per_node);
  set(RunColumn::tp, layout.tensor_parallel);
  set(RunColumn::pp, layout.pipeline_parallel);
  set(RunColumn::dp, layout.data_parallel);
  set(RunColumn::cp, layout.context_parallel);
  set(RunColumn::vpp, layout.virtual_stages_per_rank);
  set(RunColumn::micro_batch, layout.micro_batch_size);
  set(RunColumn::recompute, to_string(layout.recompute));
  set(RunColumn::seq_parallel, layout.sequence_parallel ? 1 : 0);
  set(RunColumn::zero_stage, layout.zero_stage);
  set(RunColumn::precision, to_string(layout.precision));
  row[RunColumn::attention_kernel] = attention_cell(layout);
  row[RunColumn::notes] = schedule_note(layout);
  if (!layout.overlap_data_parallel) row[RunColumn::notes] += "; DDP=local";
  return row;
}

}  // namespace kumihimo

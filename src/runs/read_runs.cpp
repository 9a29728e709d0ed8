#include <cmath>
#include <fmt/format.h>
#include <utility>

#include "base/csv.hpp"
#include "base/files.hpp"
#include "layout/validate.hpp"
#include "model/validate_transformer.hpp"
#include "runs/measured_run.hpp"
#include "runs/model_family.hpp"
#include "runs/notes.hpp"
#include "runs/run_columns.hpp"
#include "runs/spellings.hpp"

namespace kumihimo {
namespace {

constexpr std::size_t max_file_bytes = std::size_t{64} << 20;
constexpr std::size_t max_rows = 200'000;

// Bounds of the cells; axes, micro-batch and virtual stages have the layout's max_degree.
constexpr std::int64_t max_hidden = 1'000'000, max_layers = 10'000, max_heads = 100'000,
                       max_ffn_hidden = 10'000'000, max_vocab = 100'000'000,
                       max_seq_len = 100'000'000, max_batch = 100'000'000, max_gpus = 1'000'000;
constexpr double least_time_s = 1e-9, most_time_s = 1e9;

/// Turns one row into a run. Every cell is read whatever the others hold, so that each malformed
/// one is reported; the first thing that cannot be predicted is the skip reason.
class RunBuilder {
 public:
  RunBuilder(const RowCells& cells, MeasuredRun& run) : cells_(cells), run_(run) {}

  void build() {
    run_.source = cells_.text(RunColumn::source);
    run_.id = cells_.written(RunColumn::table_or_row_id);
    run_.notes = cells_.text(RunColumn::notes);
    run_.gpu_type = cells_.text(RunColumn::gpu_type);
    notes_ = read_notes(run_.notes);
    run_.suspect = notes_.suspect;
    run_.assumptions = std::move(notes_.assumptions);
    skip(notes_.skip_reason);
    read_status();
    read_job();
    read_axes();
    read_schedule();
    read_memory_options();
    read_kernels();
    read_figures();
  }

 private:
  void skip(std::string reason) {
    if (run_.skip_reason.empty()) run_.skip_reason = std::move(reason);
  }
  void assume(std::string assumption) { run_.assumptions.push_back(std::move(assumption)); }

  /// The size of an axis; one where the cell is blank.
  int axis(RunColumn column) {
    return static_cast<int>(cells_.whole(column, 1, max_degree).value_or(1));
  }

  void read_status();
  void read_job();
  void read_axes();
  void read_schedule();
  void read_layer_split();
  void read_memory_options();
  void read_kernels();
  void read_figures();

  const RowCells& cells_;
  MeasuredRun& run_;
  NoteFacts notes_;
};

void RunBuilder::read_status() {
  const std::string status = lower_case(cells_.text(RunColumn::status));
  if (status == "ok")
    run_.status = RunStatus::ok;
  else if (status == "oom")
    run_.status = RunStatus::out_of_memory;
  else if (status == "error")
    run_.status = RunStatus::error;
  else
    cells_.refuse(RunColumn::status, "ok, oom or error");
}

void RunBuilder::read_job() {
  TransformerShape& model = run_.job.model;
  model.name = cells_.text(RunColumn::model_name);
  const auto hidden = cells_.whole(RunColumn::hidden, 1, max_hidden);
  const auto layers = cells_.whole(RunColumn::layers, 1, max_layers);
  const auto heads = cells_.whole(RunColumn::heads, 1, max_heads);
  const auto kv_heads = cells_.whole(RunColumn::kv_heads, 1, max_heads);
  const auto ffn_hidden = cells_.whole(RunColumn::ffn_hidden, 1, max_ffn_hidden);
  const auto vocab = cells_.whole(RunColumn::vocab, 1, max_vocab);
  const auto seq_len = cells_.whole(RunColumn::seq_len, 1, max_seq_len);
  const auto experts = cells_.whole(RunColumn::ep, 1, max_degree);
  const ModelFamily family = model_family(model.name);

  if (experts.value_or(1) > 1) skip(fmt::format("ep {}: mixture of experts", *experts));
  if (family == ModelFamily::mixture_of_experts)
    skip(fmt::format("model \"{}\": mixture of experts", model.name));

  std::vector<std::string_view> unstated;
  if (!hidden) unstated.push_back("hidden");
  if (!layers) unstated.push_back("layers");
  if (!heads) unstated.push_back("heads");
  if (!seq_len) unstated.push_back("seq_len");
  const bool four_times = family == ModelFamily::gpt || family == ModelFamily::mpt;
  if (!ffn_hidden && !four_times) unstated.push_back("ffn_hidden");
  if (!unstated.empty()) skip(fmt::format("{} not stated", fmt::join(unstated, ", ")));

  model.hidden = hidden.value_or(0);
  model.layers = layers.value_or(0);
  model.heads = heads.value_or(0);
  model.kv_heads = kv_heads.value_or(model.heads);
  model.ffn_hidden = ffn_hidden.value_or(four_times ? 4 * model.hidden : 0);
  model.max_positions = seq_len.value_or(0);
  run_.job.seq_length = seq_len.value_or(0);
  if (!unstated.empty()) return;

  if (!kv_heads) assume(fmt::format("kv_heads {}: as many as heads", model.heads));
  if (!ffn_hidden) assume(fmt::format("ffn_hidden {}: 4 x hidden", model.ffn_hidden));
  model.head_dim = model.hidden % model.heads == 0 ? model.hidden / model.heads : 0;
  apply_family_facts(model, run_.assumptions);
  model.vocab = vocab.value_or(usual_vocab(model));
  if (!vocab) assume(fmt::format("vocab {}: as usual for such models", model.vocab));
  const Errors faults = validate(model, "", {.max_positions = "seq_len"});
  if (!faults.empty()) skip(fmt::format("{} {}", faults.front().where, faults.front().what));
}

void RunBuilder::read_axes() {
  ParallelLayout& layout = run_.layout;
  layout.tensor_parallel = axis(RunColumn::tp);
  layout.pipeline_parallel = axis(RunColumn::pp);
  layout.context_parallel = axis(RunColumn::cp);
  const auto data_parallel = cells_.whole(RunColumn::dp, 1, max_degree);
  const auto gpus = cells_.whole(RunColumn::gpus, 1, max_gpus);
  const auto micro_batch = cells_.whole(RunColumn::micro_batch, 1, max_degree);
  const auto global_batch = cells_.whole(RunColumn::global_batch, 1, max_batch);
  run_.gpus_per_node =
      static_cast<int>(cells_.whole(RunColumn::gpus_per_node, 1, max_gpus).value_or(0));

  const std::int64_t model_ranks =
      std::int64_t{layout.tensor_parallel} * layout.pipeline_parallel * layout.context_parallel;
  if (data_parallel) {
    layout.data_parallel = static_cast<int>(*data_parallel);
  } else if (gpus && *gpus % model_ranks == 0) {
    layout.data_parallel = static_cast<int>(*gpus / model_ranks);
    assume(fmt::format("dp {}: gpus {} / {}", layout.data_parallel, *gpus, model_ranks));
  }
  if (!gpus) skip("gpus not stated");
  if (run_.gpu_type.empty()) skip("gpu_type not stated");
  run_.gpus = static_cast<int>(gpus.value_or(0));
  if (gpus && layout.devices() != *gpus)
    skip(fmt::format("tp {} x pp {} x dp {} x cp {} = {}, but gpus is {}", layout.tensor_parallel,
                     layout.pipeline_parallel, layout.data_parallel, layout.context_parallel,
                     layout.devices(), *gpus));

  run_.stated.micro_batch = micro_batch.has_value();
  layout.micro_batch_size = static_cast<int>(micro_batch.value_or(1));
  if (!micro_batch) assume("micro_batch 1: not stated");
  if (global_batch) {
    run_.job.global_batch_size = *global_batch;
  } else if (notes_.num_micro_batches && micro_batch) {
    const std::int64_t replicas_batch = *micro_batch * layout.data_parallel;
    if (replicas_batch <= max_batch / *notes_.num_micro_batches) {
      run_.job.global_batch_size = replicas_batch * *notes_.num_micro_batches;
      assume(fmt::format("global_batch {}: micro_batch {} x {} micro-batches (notes) x dp {}",
                         run_.job.global_batch_size, *micro_batch, *notes_.num_micro_batches,
                         layout.data_parallel));
    }
  }
  if (run_.job.global_batch_size == 0) skip("global_batch not stated");

  if (notes_.network_bandwidth > 0) {
    const int devices = notes_.network_is_per_device ? 1 : run_.gpus_per_node;
    if (devices > 0) run_.inter_node_bandwidth = notes_.network_bandwidth / devices;
  }
}

void RunBuilder::read_schedule() {
  ParallelLayout& layout = run_.layout;
  const bool one_layer_each = lower_case(cells_.text(RunColumn::vpp)).starts_with("max");
  run_.stated.virtual_stages = !cells_.text(RunColumn::vpp).empty();
  if (one_layer_each) {
    // Embedding and head count as layers where the notes say so.
    const std::int64_t layers = run_.job.model.layers + (notes_.one_layer_less_at_ends ? 2 : 0);
    const std::int64_t chunks = layers / layout.pipeline_parallel;
    if (chunks < 1 || layers % layout.pipeline_parallel != 0)
      skip(fmt::format("vpp of one layer per chunk: {} layers do not divide over pp {}", layers,
                       layout.pipeline_parallel));
    else
      layout.virtual_stages_per_rank = static_cast<int>(chunks);
  } else {
    layout.virtual_stages_per_rank =
        static_cast<int>(cells_.whole(RunColumn::vpp, 1, max_degree).value_or(1));
  }
  if (layout.pipeline_parallel == 1) layout.virtual_stages_per_rank = 1;

  const bool chunked = layout.virtual_stages_per_rank > 1;
  layout.schedule = chunked ? ScheduleKind::interleaved
                            : notes_.schedule.value_or(ScheduleKind::one_forward_one_backward);
  if (layout.pipeline_parallel == 1) layout.schedule = ScheduleKind::one_forward_one_backward;
  if (layout.schedule == ScheduleKind::interleaved && !chunked)
    skip("interleaved schedule, but the virtual stages are not stated");
  if (notes_.one_layer_less_at_ends) read_layer_split();
}

void RunBuilder::read_layer_split() {
  ParallelLayout& layout = run_.layout;
  const std::int64_t layers = run_.job.model.layers + 2;
  const std::int64_t stages = layout.virtual_stages();
  if (stages < 2 || run_.job.model.layers == 0) return;
  if (layers % stages != 0) {
    assume(fmt::format("layers split evenly: {} + 2 do not divide over {} stages",
                       run_.job.model.layers, stages));
    return;
  }
  layout.layer_split.assign(static_cast<std::size_t>(stages), static_cast<int>(layers / stages));
  --layout.layer_split.front();
  --layout.layer_split.back();
}

void RunBuilder::read_memory_options() {
  ParallelLayout& layout = run_.layout;
  const std::string_view recompute = cells_.text(RunColumn::recompute);
  if (const auto known = read_recompute(recompute)) {
    layout.recompute = *known;
    run_.stated.recompute = true;
  } else if (!recompute.empty()) {
    skip(fmt::format("recompute \"{}\" is not known (known: none, selective, full)", recompute));
  }

  const std::string_view zero = cells_.text(RunColumn::zero_stage);
  if (const auto known = read_zero_stage(zero)) {
    layout.zero_stage = known->stage;
    layout.zero_group = known->group;
    run_.stated.zero_stage = true;
  } else if (!zero.empty()) {
    cells_.refuse(RunColumn::zero_stage, "0 to 3, perhaps with \"(shard group N)\", or blank,");
  } else if (notes_.zero_stage) {
    layout.zero_stage = *notes_.zero_stage;
    run_.stated.zero_stage = true;
    assume(fmt::format("zero_stage {}: from the command line in the notes", layout.zero_stage));
  }

  auto sequence_parallel = cells_.flag(RunColumn::seq_parallel);
  if (!sequence_parallel) sequence_parallel = notes_.sequence_parallel;
  if (sequence_parallel) {
    layout.sequence_parallel = *sequence_parallel && layout.tensor_parallel > 1;
    run_.stated.sequence_parallel = true;
  }
  layout.offload = notes_.offload;
}

void RunBuilder::read_kernels() {
  ParallelLayout& layout = run_.layout;
  const std::string_view precision = cells_.text(RunColumn::precision);
  if (const auto known = read_precision(precision)) {
    layout.precision = *known;
    run_.stated.precision = true;
    if (lower_case(precision) == "amp") assume("precision amp: read as bf16");
  } else if (!precision.empty()) {
    skip(fmt::format("precision \"{}\" is not known (known: fp32, tf32, fp16, bf16, fp8 and amp)",
                     precision));
  }

  const std::string_view attention = cells_.text(RunColumn::attention_kernel);
  if (const auto known = read_attention(attention)) {
    layout.attention = known->attention;
    run_.stated.attention = true;
    if (known->norm) {
      layout.norm = *known->norm;
      run_.stated.norm = true;
    }
  } else if (!attention.empty()) {
    skip(
        fmt::format("attention_kernel \"{}\" is not known (known: torch, fused, flash, flash2, "
                    "flash3 and their spellings)",
                    attention));
  }
  if (notes_.norm && !run_.stated.norm) {
    layout.norm = *notes_.norm;
    run_.stated.norm = true;
  }
  run_.stated.gradient_dtype = notes_.gradient_dtype.has_value();
  layout.gradient_dtype = notes_.gradient_dtype.value_or(layout.gradient_dtype);
  run_.stated.overlap_data_parallel = notes_.overlap_data_parallel.has_value();
  layout.overlap_data_parallel =
      notes_.overlap_data_parallel.value_or(layout.overlap_data_parallel);
  run_.stated.overlap_tensor_parallel = notes_.overlap_tensor_parallel.has_value();
  layout.overlap_tensor_parallel =
      layout.tensor_parallel > 1 && notes_.overlap_tensor_parallel.value_or(false);
}

void RunBuilder::read_figures() {
  run_.step_time_s = cells_.number(RunColumn::step_time_s, least_time_s, most_time_s);
  run_.tokens_per_s_per_gpu = cells_.number(RunColumn::tokens_per_s_per_gpu, 0, 1e12);
  run_.tflops_per_gpu = cells_.number(RunColumn::tflops_per_gpu, 0, 1e6);
  run_.mfu = cells_.number(RunColumn::mfu, 0, 1);
  run_.hfu = cells_.number(RunColumn::hfu, 0, 1);
  run_.memory_gb = cells_.number(RunColumn::memory_gb, 0, 1e6);

  const double tokens_per_step =
      static_cast<double>(run_.job.global_batch_size) * static_cast<double>(run_.job.seq_length);
  const double tokens_per_s = run_.tokens_per_s_per_gpu.value_or(0) * run_.gpus;
  // Which of the two is right, a row does not tell.
  const auto doubt = [&](std::string_view what, double step_time_s) {
    if (!run_.suspect.empty() || std::abs(step_time_s / *run_.step_time_s - 1) <= 0.05) return;
    run_.suspect = fmt::format("step_time_s is {:g}, but {} gives {:.4g}", *run_.step_time_s, what,
                               step_time_s);
  };
  if (tokens_per_step > 0 && tokens_per_s > 0) {
    const double step_time_s = tokens_per_step / tokens_per_s;
    if (!run_.step_time_s && cells_.text(RunColumn::step_time_s).empty()) {
      run_.step_time_s = step_time_s;
      assume(fmt::format("step_time_s {:.4g}: from tokens_per_s_per_gpu", step_time_s));
    } else if (run_.step_time_s) {
      doubt("tokens_per_s_per_gpu", step_time_s);
    }
  }
  if (tokens_per_step > 0 && run_.step_time_s && notes_.printed_tokens_per_s) {
    doubt("the rate in its notes", tokens_per_step / *notes_.printed_tokens_per_s);
  }
  if (run_.status == RunStatus::ok && !run_.step_time_s && !run_.memory_gb)
    skip("no step time stated");
}

}  // namespace

Expected<std::vector<MeasuredRun>> parse_runs(std::string_view text, std::string_view where) {
  FaultList faults{std::string(where)};
  CsvReader reader(text);
  std::vector<std::string> fields;
  if (!reader.next(fields)) {
    if (reader.fault().empty())
      return Error{std::string(where), "is empty", "give the schema's header line and rows"};
    return Error{fmt::format("{}:{}", where, reader.line()), reader.fault(), "correct the line"};
  }
  const std::size_t width = fields.size();
  const ColumnMap columns = map_columns(fields, faults);
  if (!faults.empty()) return std::move(faults).finish();

  std::vector<MeasuredRun> runs;
  const std::string file = std::filesystem::path(where).filename().string();
  while (reader.next(fields)) {
    if (fields.size() != width) {
      faults.add({fmt::format("{}:{}", where, reader.line()),
                  fmt::format("has {} fields, but the header has {}", fields.size(), width),
                  "put text that holds commas in quotes"});
      continue;
    }
    if (runs.size() == max_rows) {
      faults.add({fmt::format("{}:{}", where, reader.line()), "is past the 200,000th row",
                  "split the file"});
      break;
    }
    MeasuredRun run;
    run.file = file;
    run.line = reader.line();
    RunBuilder(RowCells(columns, fields, run.line, faults), run).build();
    runs.push_back(std::move(run));
  }
  if (!reader.fault().empty())
    faults.add({fmt::format("{}:{}", where, reader.line()), reader.fault(), "correct the line"});
  if (!faults.empty()) return std::move(faults).finish();
  return runs;
}

Expected<std::vector<MeasuredRun>> read_runs(const std::filesystem::path& path) {
  const auto text = read_file(path, max_file_bytes);
  if (!text) return text.errors();
  return parse_runs(*text, path.string());
}

}  // namespace kumihimo

#include "cli/job_text.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/number_text.hpp"
#include "base/units.hpp"
#include "cli/step_error_text.hpp"
#include "cli/table.hpp"
#include "model/model_catalog.hpp"
#include "model/parameters.hpp"

namespace kumihimo {
namespace {

std::string shell_quoted(const std::string& word) {
  constexpr std::string_view plain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./,:=+%@";
  if (word.find_first_not_of(plain) == std::string::npos) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

}  // namespace

std::string model_text(const TransformerShape& model) {
  const double parameters = static_cast<double>(count_parameters(model).total(model.layers));
  return fmt::format("{}, {} parameters: {} layers, hidden {}, {} heads, vocabulary {}", model.name,
                     short_count(parameters), model.layers, model.hidden, model.heads,
                     grouped(model.vocab));
}

std::string batch_text(const TrainingJob& job) {
  const double tokens =
      static_cast<double>(job.global_batch_size) * static_cast<double>(job.seq_length);
  const auto plural = [](std::int64_t count) { return count == 1 ? "" : "s"; };
  return fmt::format("{} sequence{} of {} token{} a step ({} token{})",
                     grouped(job.global_batch_size), plural(job.global_batch_size),
                     grouped(job.seq_length), plural(job.seq_length), short_count(tokens),
                     plural(job.global_batch_size * job.seq_length));
}

std::string cluster_text(const Cluster& cluster) {
  const std::string of_a_pair =
      cluster.intra_node_mesh
          ? fmt::format(" ({} to each other)",
                        format_bytes_per_second(cluster.intra_node_bandwidth(2)))
          : "";
  return fmt::format("{}, {} a node, {} within{} and {} between nodes", cluster.device.name,
                     cluster.devices_per_node,
                     format_bytes_per_second(cluster.intra_node.bandwidth), of_a_pair,
                     format_bytes_per_second(cluster.inter_node.bandwidth));
}

std::string narrowed(Table& table, const std::vector<std::string>& titles,
                     const Terminal& terminal) {
  if (terminal.wrap_width == 0) return "";
  constexpr int indent = 2;
  const auto left_out = narrow(table, titles, terminal.wrap_width - indent);
  if (left_out.empty()) return "";
  return faint(fmt::format("  a wider terminal also shows {}", fmt::join(left_out, ", ")),
               terminal) +
         "\n";
}

std::string job_text(std::string_view title, const PlannedJob& planned, const Terminal& terminal) {
  Table facts{{{""}, {""}}, {}};
  facts.rows = {{"model", model_text(planned.job.model)},
                {"cluster", fmt::format("{}: {} × {}", planned.cluster.name,
                                        grouped(planned.devices), cluster_text(planned.cluster))},
                {"job", batch_text(planned.job)},
                {"stack", fmt::format("{} ({}); memory ± {:.0f} %, {}", planned.profile.name,
                                      planned.profile.origin, 100 * planned.profile.memory_residual,
                                      step_error_text(planned, Language::english))}};
  if (!planned.assumptions.empty()) {
    facts.rows.push_back({"assumed", fmt::format("{}", fmt::join(planned.assumptions, ", "))});
  }
  return bold(title, terminal) + "\n" + wrapped_text(facts, terminal.wrap_width) + "\n";
}

std::string job_flags_text(const Flags& flags) {
  Errors ignored;
  std::string text;
  for (const std::string_view flag :
       {std::string_view("--model"), std::string_view("--cluster"), std::string_view("--gpus"),
        std::string_view("--seq-length"), std::string_view("--global-batch-size"),
        std::string_view("--stack"), std::string_view("--price"), override_flags.vocab,
        override_flags.layers, override_flags.hidden, override_flags.heads, override_flags.kv_heads,
        override_flags.head_dim, override_flags.ffn_hidden}) {
    const auto value = flags.text(flag, ignored);
    if (value) text += fmt::format("{}{} {}", text.empty() ? "" : " ", flag, shell_quoted(*value));
  }
  return text;
}

}  // namespace kumihimo

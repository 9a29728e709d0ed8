#pragma once

#include <string>
#include <string_view>

#include "cli/flags.hpp"
#include "cli/job_options.hpp"
#include "cli/table.hpp"
#include "cli/terminal.hpp"

namespace kumihimo {

/// The lines above every prediction: model, cluster, job, profile with what it was fitted to and
/// its error band, and what was assumed.
std::string job_text(std::string_view title, const PlannedJob& planned, const Terminal& terminal);

/// "llama-13b, 13.0 B parameters: 40 layers, ...".
std::string model_text(const TransformerShape& model);

/// "2,048 sequences of 2,048 tokens a step (4.19 M tokens)".
std::string batch_text(const TrainingJob& job);

/// "A100-SXM4-80GB, 8 a node, ...": the cluster in half a line.
std::string cluster_text(const Cluster& cluster);

/// Leaves out columns of a table, in the order of `titles`, that a terminal is too narrow for; a
/// line that names them, or nothing.
std::string narrowed(Table& table, const std::vector<std::string>& titles,
                     const Terminal& terminal);

/// The job flags as the user gave them, quoted for a shell: "--model llama-13b --gpus 64".
std::string job_flags_text(const Flags& flags);

}  // namespace kumihimo

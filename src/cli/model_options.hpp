#pragma once

#include <optional>

#include "cli/flags.hpp"
#include "model/transformer.hpp"

namespace kumihimo {

void add_model_flag(Flags& flags);
/// The flags that change the model's shape, in a group of their own.
void add_model_change_flags(Flags& flags);

/// The model that --model names, changed; nothing if there is a fault.
std::optional<TransformerShape> read_model_flags(const Flags& flags, Errors& faults);

/// Positions of a learned table are all that the model has: notes a fault at --seq-length.
void judge_seq_length(const TransformerShape& model, std::int64_t seq_length, Errors& faults);

}  // namespace kumihimo

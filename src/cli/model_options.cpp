#include "cli/model_options.hpp"

#include <fmt/format.h>

#include "model/model_catalog.hpp"
#include "model/validate_transformer.hpp"

namespace kumihimo {
namespace {

ModelOverrides read_overrides(const Flags& flags, Errors& faults) {
  const auto whole = [&](std::string_view flag, std::int64_t most) {
    return flags.whole(flag, 1, most, faults);
  };
  ModelOverrides overrides;
  overrides.vocab = whole(override_flags.vocab, max_vocab);
  overrides.layers = whole(override_flags.layers, max_layers);
  overrides.hidden = whole(override_flags.hidden, max_hidden);
  overrides.heads = whole(override_flags.heads, max_heads);
  overrides.kv_heads = whole(override_flags.kv_heads, max_heads);
  overrides.head_dim = whole(override_flags.head_dim, max_head_dim);
  overrides.ffn_hidden = whole(override_flags.ffn_hidden, max_ffn_hidden);
  return overrides;
}

}  // namespace

void add_model_flag(Flags& flags) {
  flags.add_value("--model", "NAME|PATH", "model of the catalog, or a Hugging Face config.json");
}

void add_model_change_flags(Flags& flags) {
  flags.group("Changes to the model");
  flags.add_value(override_flags.vocab, "N", "vocabulary");
  flags.add_value(override_flags.layers, "N", "transformer layers");
  flags.add_value(override_flags.hidden, "N", "width of the residual stream");
  flags.add_value(override_flags.heads, "N", "attention heads");
  flags.add_value(override_flags.kv_heads, "N", "key/value heads");
  flags.add_value(override_flags.head_dim, "N", "width of a head");
  flags.add_value(override_flags.ffn_hidden, "N", "width inside the MLP");
}

std::optional<TransformerShape> read_model_flags(const Flags& flags, Errors& faults) {
  const auto name = flags.required_text(
      "--model", "name one of `kumihimo models`, or a Hugging Face config.json", faults);
  const ModelOverrides overrides = read_overrides(flags, faults);
  if (!name) return std::nullopt;
  Expected<TransformerShape> model = read_model(*name);
  if (model) model = apply_overrides(*std::move(model), overrides);
  collect(faults, model);
  return model ? std::optional(*model) : std::nullopt;
}

void judge_seq_length(const TransformerShape& model, std::int64_t seq_length, Errors& faults) {
  if (model.positions != Positions::learned || seq_length <= model.max_positions) return;
  faults.push_back({"--seq-length",
                    fmt::format("is {}, but {} has {} learned positions", seq_length, model.name,
                                model.max_positions),
                    fmt::format("give {} or less", model.max_positions)});
}

}  // namespace kumihimo

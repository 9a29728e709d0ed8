#include "engine/run_identity.hpp"

#include <array>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "model/transformer_names.hpp"

namespace kumihimo {
namespace {

using Json = nlohmann::json;

const char* name_of(OptimizerKind kind) { return kind == OptimizerKind::adamw ? "adamw" : "sgd"; }

/// All of the shape but its name, which is where it was read.
Json shape_identity(const TransformerShape& model) {
  return {{"layers", model.layers},
          {"hidden", model.hidden},
          {"heads", model.heads},
          {"kv_heads", model.kv_heads},
          {"head_dim", model.head_dim},
          {"ffn_hidden", model.ffn_hidden},
          {"vocab", model.vocab},
          {"max_positions", model.max_positions},
          {"tied_embeddings", model.tied_embeddings},
          {"qkv_bias", model.qkv_bias},
          {"output_bias", model.output_bias},
          {"mlp_bias", model.mlp_bias},
          {"qk_norm", model.qk_norm},
          {"norm", to_string(model.norm)},
          {"norm_bias", model.norm_bias},
          {"activation", to_string(model.activation)},
          {"positions", to_string(model.positions)},
          {"norm_epsilon", model.norm_epsilon},
          {"rope_theta", model.rope_theta}};
}

Json identity(const TrainingOptions& options, std::string_view data) {
  return {{"model", shape_identity(options.job.model)},
          {"data", data},
          {"seq_length", options.job.seq_length},
          {"global_batch_size", options.job.global_batch_size},
          {"seed", options.seed},
          {"shuffle", options.shuffle},
          {"optimizer", name_of(options.optimizer.kind)}};
}

struct Flag {
  const char* key;
  const char* flag;
};
constexpr std::array<Flag, 5> flags{{{"data", "--data"},
                                     {"seq_length", "--seq-length"},
                                     {"global_batch_size", "--global-batch-size"},
                                     {"seed", "--seed"},
                                     {"optimizer", "--optimizer"}}};

/// As JSON has it; text without its quotes.
std::string shown(const Json& value) {
  return value.is_string() ? value.get<std::string>()
                           : value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// A key that an identity lacks compares as null.
Json member(const Json& object, const std::string& key) {
  return object.is_object() && object.contains(key) ? object.at(key) : Json();
}

}  // namespace

std::string run_identity(const TrainingOptions& options, std::string_view data) {
  return identity(options, data).dump(-1, ' ', false, Json::error_handler_t::replace);
}

Errors identity_faults(std::string_view saved_text, std::string_view state,
                       const TrainingOptions& options, std::string_view data) {
  // As they read back from a file, so that equal numbers compare equal.
  const Json saved = Json::parse(saved_text, nullptr, false);
  const Json given = Json::parse(run_identity(options, data));
  const std::string anew = fmt::format("start anew from its weights with --init-from {}", state);
  Errors faults;
  for (const auto& [key, value] : given.at("model").items()) {
    const Json was = member(member(saved, "model"), key);
    if (was == value) continue;
    faults.push_back({"--model",
                      fmt::format("has {} {}, but {} was saved by a model with {}", key,
                                  shown(value), state, shown(was)),
                      "give the model that wrote it"});
  }
  for (const auto& [key, flag] : flags) {
    const Json was = member(saved, key);
    const Json& value = given.at(key);
    if (was == value) continue;
    const bool is_data =
        key == std::string_view("data");  // by its description, which no flag reads
    faults.push_back(
        {flag, fmt::format("is {}, but {} was saved with {}", shown(value), state, shown(was)),
         fmt::format(
             "give {}, or {}",
             is_data ? "the data that it was trained on" : fmt::format("{} {}", flag, shown(was)),
             anew)});
  }
  if (member(saved, "shuffle") != given.at("shuffle")) {
    faults.push_back(
        {"--no-shuffle",
         fmt::format("{}, but {} was saved with{} it",
                     options.shuffle ? "is not given" : "is given", state,
                     options.shuffle ? "" : "out"),
         fmt::format("{}, or {}", options.shuffle ? "give it" : "leave it out", anew)});
  }
  return faults;
}

}  // namespace kumihimo

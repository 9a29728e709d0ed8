#include "cli/training_run.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/train_json.hpp"
#include "data/data_identity.hpp"
#include "data/hash.hpp"

namespace kumihimo {
namespace {

Expected<std::unique_ptr<TokenSource>> open_data(const TrainingRequest& request) {
  const std::int64_t vocab = request.options.job.model.vocab;
  if (request.data == "synthetic") return synthetic_tokens(vocab, request.options.seed);
  if (!request.data.empty()) return open_tokens(request.data, vocab);
  std::unique_ptr<TokenSource> text = embedded_text();
  if (text->vocab() <= vocab) return text;
  return Error{"--data",
               "is missing, and the text that ships with the program has " +
                   std::to_string(text->vocab()) + " tokens, more than the vocabulary of " +
                   request.options.job.model.name,
               "give --vocab-size 256, or --data"};
}

/// The state that --resume names.
std::optional<ResumableState> open_resumed(const TrainingRun& run, Errors& faults) {
  const TrainingRequest& request = run.request;
  if (!request.resume) return std::nullopt;
  auto state = inspect_state(*request.resume, request.options, run.data, request.verify_state);
  collect(faults, state);
  if (!state) return std::nullopt;
  if (state->manifest.step >= request.steps) {
    faults.push_back({"--steps",
                      fmt::format("is {}, and {} is after step {}", request.steps,
                                  state->path.string(), state->manifest.step),
                      "give more"});
  }
  return std::optional(*std::move(state));
}

std::optional<TensorFiles> open_weights(const TrainingRequest& request, Errors& faults) {
  if (!request.weights) return std::nullopt;
  auto weights = inspect_weights(*request.weights, request.options);
  collect(faults, weights);
  return weights ? std::optional(*std::move(weights)) : std::nullopt;
}

/// A folder of states belongs to one run.
void judge_save(const TrainingRequest& request, Errors& faults) {
  if (!request.save || request.resume) return;
  if (const auto newest = newest_state(request.save->folder)) {
    faults.push_back({"--save", fmt::format("holds {} of an earlier run", newest->string()),
                      fmt::format("go on from it with --resume {}, or name another folder",
                                  request.save->folder.string())});
  }
}

}  // namespace

Expected<TrainingRun> open_training_run(const TrainingRequest& request) {
  auto tokens = open_data(request);
  if (!tokens) return tokens.errors();
  const TrainingOptions& options = request.options;
  const auto order = order_samples(**tokens, options.job.seq_length, options.seed, options.shuffle);
  if (!order) return order.errors();

  std::string data = data_identity(**tokens);
  TrainingRun run{request, *std::move(tokens), *order, std::move(data), std::nullopt, std::nullopt};
  Errors faults;
  judge_save(request, faults);
  run.state = open_resumed(run, faults);
  run.weights = open_weights(request, faults);
  if (!faults.empty()) return faults;
  return run;
}

ReadSamples sample_reader(const TrainingRun& run) {
  return [&run](std::int64_t first_sample, std::span<std::int32_t> inputs,
                std::span<std::int32_t> targets) {
    read_micro_batch(*run.tokens, run.order, first_sample, run.request.options.job.seq_length,
                     inputs, targets);
  };
}

std::int64_t fingerprint(const TrainingRun& run) {
  const TrainingRequest& request = run.request;
  const TransformerShape& model = request.options.job.model;
  const nlohmann::ordered_json everything{training_options_json(request.options),
                                          request.steps,
                                          run.data,
                                          run.first_step(),
                                          request.save ? request.save->every : 0,
                                          request.trace.has_value(),
                                          model.norm,
                                          model.activation,
                                          model.positions,
                                          model.norm_epsilon,
                                          model.rope_theta};
  std::uint64_t sum = 0;
  for (const char c : everything.dump()) sum = hash_pair(sum, static_cast<unsigned char>(c));
  constexpr int exact_bits = 52;
  return static_cast<std::int64_t>(sum >> (64 - exact_bits));
}

}  // namespace kumihimo

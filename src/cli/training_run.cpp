#include "cli/training_run.hpp"

#include <nlohmann/json.hpp>

#include "cli/train_json.hpp"
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

}  // namespace

Expected<TrainingRun> open_training_run(const TrainingRequest& request) {
  auto tokens = open_data(request);
  if (!tokens) return tokens.errors();
  const TrainingOptions& options = request.options;
  const auto order = order_samples(**tokens, options.job.seq_length, options.seed, options.shuffle);
  if (!order) return order.errors();
  return TrainingRun{request, *std::move(tokens), *order};
}

ReadSamples sample_reader(const TrainingRun& run) {
  return [&run](std::int64_t first_sample, std::span<std::int32_t> inputs,
                std::span<std::int32_t> targets) {
    read_micro_batch(*run.tokens, run.order, first_sample, run.request.options.job.seq_length,
                     inputs, targets);
  };
}

std::int64_t fingerprint(const TrainingRun& run) {
  const TransformerShape& model = run.request.options.job.model;
  const nlohmann::ordered_json everything{training_options_json(run.request.options),
                                          run.request.steps,
                                          run.tokens->tokens(),
                                          run.request.trace.has_value(),
                                          model.norm,
                                          model.activation,
                                          model.positions,
                                          model.norm_epsilon,
                                          model.rope_theta};
  std::uint64_t sum = 0;
  for (const char c : everything.dump()) sum = hash(sum, static_cast<unsigned char>(c));
  constexpr int exact_bits = 52;
  return static_cast<std::int64_t>(sum >> (64 - exact_bits));
}

}  // namespace kumihimo

#include "cli/advise_command.hpp"

#include <nlohmann/json.hpp>

#include "cli/advise_json.hpp"
#include "cli/advise_options.hpp"
#include "cli/advise_text.hpp"
#include "cli/json_text.hpp"
#include "cli/sensitivity_text.hpp"
#include "cli/terminal.hpp"

namespace kumihimo {
namespace {

constexpr std::string_view example =
    R"(  kumihimo advise --model llama-65b --cluster a100-80gb-sxm --gpus 128 --seq-length 2048 \
      --global-batch-size 2048 --vocab-size 128000 \
      --current "tp=8 pp=8 dp=2 micro-batch=1 recompute=full attention=flash1 norm=unfused"
      what to change first, by gain alone
  kumihimo advise --model llama-3-70b --cluster h100-80gb-sxm --gpus 512 \
      --current "tp=8 pp=8 micro-batch=1 recompute=full" --options upgrades.toml --tokens 1.4T
      by gain per cost, hardware included, with days, money and break-even)";

void add_flags(Flags& flags) {
  add_job_flags(flags);
  add_advise_flags(flags);
  flags.group("Output");
  flags.add_switch("--sensitivity",
                   "also say how the best layout changes with bandwidth, memory, devices, batch "
                   "and sequence length, once all steps are taken");
  add_language_flag(flags);
  flags.add_switch("--json", "print the document kumihimo.advise/1 of docs/json.md");
}

/// The search for the best layout where the advice ends: its machine, kernels and precision.
SearchRequest search_after(const AdviseQuestion& question, const Advice& advice) {
  const Outcome& last = advice.steps.empty() ? advice.start : advice.steps.back().after;
  const Machine& machine = advice.machines[last.machine];
  const ParallelLayout& layout = last.ranked.layout;
  SearchRequest request{.job = question.planned.job,
                        .cluster = machine.cluster,
                        .profile = machine.profile,
                        .devices = machine.devices,
                        .objective = Objective::step_time};
  request.space = default_space(request.job, request.cluster, request.devices, request.profile);
  request.space.attention = {layout.attention};
  request.space.norm = {layout.norm};
  request.space.precision = {layout.precision};
  request.space.gradient_dtype = {layout.gradient_dtype};
  return request;
}

std::string sensitivities_text(const std::vector<Sensitivity>& sensitivities, Language language,
                               const Terminal& terminal) {
  std::string text = "\n" + bold(message(language, "sensitivity.title"), terminal) + "\n";
  for (const Sensitivity& sensitivity : sensitivities) {
    for (const std::string& sentence : threshold_sentences(sensitivity, language)) {
      text += "  " + sentence + "\n";
    }
  }
  return text;
}

ExitCode run_advise(const Flags& flags, Errors faults) {
  const Language language = read_language(flags, faults);
  const auto question = read_advise_question(flags, faults);
  if (!question) return refuse(faults);
  const Advice advice = advise(question->request, question->blocked);
  std::vector<Sensitivity> sensitivities;
  if (flags.given("--sensitivity")) {
    sensitivities = all_sensitivities(search_after(*question, advice));
  }
  if (flags.given("--json")) {
    nlohmann::ordered_json document = advise_json(*question, advice, language);
    for (const Sensitivity& sensitivity : sensitivities) {
      document["sensitivity"].push_back(sensitivity_json(sensitivity, language));
    }
    return print(to_json_text(document));
  }
  const Terminal terminal = terminal_of(stdout);
  std::string text = advise_text(*question, advice, language, terminal);
  if (!sensitivities.empty()) text += sensitivities_text(sensitivities, language, terminal);
  return print(text);
}

}  // namespace

void register_advise(CLI::App& program, CommandResult& result) {
  add_flags(add_command(program, result,
                        {"advise", "Say what to change first, and what it gains", example},
                        run_advise));
}

}  // namespace kumihimo

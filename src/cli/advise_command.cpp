#include "cli/advise_command.hpp"

#include <nlohmann/json.hpp>

#include "cli/advise_json.hpp"
#include "cli/advise_options.hpp"
#include "cli/advise_text.hpp"
#include "cli/json_text.hpp"
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
  add_language_flag(flags);
  flags.add_switch("--json", "print the document kumihimo.advise/1 of docs/json.md");
}

ExitCode run_advise(const Flags& flags, Errors faults) {
  const Language language = read_language(flags, faults);
  const auto question = read_advise_question(flags, faults);
  if (!question) return refuse(faults);
  const Advice advice = advise(question->request, question->blocked);
  return print(flags.given("--json")
                   ? to_json_text(advise_json(*question, advice, language))
                   : advise_text(*question, advice, language, terminal_of(stdout)));
}

}  // namespace

void register_advise(CLI::App& program, CommandResult& result) {
  add_flags(add_command(program, result,
                        {"advise", "Say what to change first, and what it gains", example},
                        run_advise));
}

}  // namespace kumihimo

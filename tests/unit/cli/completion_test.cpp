#include "cli/completion.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kumihimo {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

FlagEntry flag(std::string name, std::string value, std::string help) {
  return {std::move(name), "", std::move(value), std::move(help), "Options", false};
}

CommandTree example() {
  CommandTree show{"tool list show", "Show one", "", {}, {}};
  show.flags.push_back({"NAME", "", "NAME", "which", "Options", true});
  CommandTree list{"tool list", "List what's there", ".first\n  it's \\here", {}, {show}};
  list.flags.push_back(flag("--all-of-it", "", "the user's too"));
  list.flags.push_back(flag("--limit", "N", "how many"));
  return {"tool", "A tool", "", {flag("--version", "", "print the version")}, {list}};
}

TEST(Completion, BashKnowsTheWordsOfEveryCommand) {
  const std::string script = bash_completion(example());
  EXPECT_THAT(script, HasSubstr("\"tool\") known=\"list --version\""));
  EXPECT_THAT(script, HasSubstr("\"tool list\") known=\"show --all-of-it --limit\""));
  EXPECT_THAT(script, HasSubstr("\"tool list\" | \"tool list show\")"));
}

TEST(Completion, ChoicesAreWhatTheHelpLists) {
  const auto choices = [](const char* value, const char* help) {
    return choices_of(flag("--x", value, help));
  };
  EXPECT_THAT(choices("on|off|any", "norms split"), ElementsAre("on", "off", "any"));
  EXPECT_THAT(choices("KIND", "mfu (default), step-time (default of several precisions), cost"),
              ElementsAre("mfu", "step-time", "cost"));
  EXPECT_THAT(choices("KIND", "what is computed again: none (default), full"),
              ElementsAre("none", "full"));
  EXPECT_THAT(choices("N", "sequences of a micro-batch"), IsEmpty());
  EXPECT_THAT(choices("NAME|PATH", "stack profile: how fast a framework runs here"), IsEmpty());
  EXPECT_THAT(choices("FILE", "also write to FILE, for Perfetto"), IsEmpty());
  EXPECT_THAT(choices("", "a, b"), IsEmpty()) << "a switch";
}

TEST(Completion, ValuesFollowTheirFlagAndNoOther) {
  CommandTree tool = example();
  CommandTree& list = tool.commands[0];
  list.flags.push_back(flag("--kind", "KIND", "round, square"));
  list.flags.push_back(flag("--model", "NAME|PATH", "a model"));
  const std::string bash = bash_completion(tool);
  EXPECT_THAT(bash, HasSubstr("\"tool list --kind\") known=\"round square\" ;;"));
  EXPECT_THAT(bash, HasSubstr("\"tool list --limit\") known=\"\" ;;"));  // a number, or a file
  EXPECT_THAT(bash, HasSubstr("\"tool list --model\") known=\"$(${COMP_WORDS[0]} models "));
  EXPECT_THAT(bash, HasSubstr("\"tool list show\") known=\"$(${COMP_WORDS[0]} list "));
  EXPECT_THAT(zsh_completion(tool),
              HasSubstr("(\"tool list --kind\") compadd -- ${=:-round square}"));
  EXPECT_THAT(fish_completion(tool), HasSubstr("-l kind -x -a 'round square' -d"));
}

TEST(Completion, PositionalsFollowTheirCommandAndNoOther) {
  CommandTree tool = example();
  EXPECT_THAT(zsh_completion(tool),
              HasSubstr("(\"tool list show\") compadd -- ${=:-$($words[1] list "));
  EXPECT_THAT(zsh_completion(tool), Not(HasSubstr("(\"tool list\") compadd")));
  EXPECT_THAT(fish_completion(tool),
              HasSubstr("-n '__fish_seen_subcommand_from list; and __fish_seen_subcommand_from "
                        "show' -f -a '(kumihimo list "));
  tool.commands[0].flags.push_back({"SHAPE", "", "SHAPE", "round, square", "Options", true});
  EXPECT_THAT(zsh_completion(tool),
              HasSubstr("(\"tool list\") compadd -- ${=:-round square} && found=1 ;;"));
}

TEST(Completion, QuotesSurviveInZshAndFish) {
  EXPECT_THAT(zsh_completion(example()), HasSubstr(R"('--all-of-it:the user'\''s too')"));
  EXPECT_THAT(fish_completion(example()), HasSubstr(R"(-l all-of-it -d 'the user\'s too')"));
  EXPECT_THAT(fish_completion(example()), HasSubstr("-l limit -r -d 'how many'"));
}

TEST(Manual, EscapesWhatRoffWouldTakeForACommand) {
  const std::string page = manual_page(example());
  EXPECT_THAT(page, HasSubstr("\n\\&.first\n"));
  EXPECT_THAT(page, HasSubstr("\\ehere"));
  EXPECT_THAT(page, HasSubstr("\\fB\\-\\-limit\\fR \\fIN\\fR"));
  EXPECT_THAT(page, HasSubstr(".SS tool list show"));
}

TEST(Help, WrapsLongExplanationsBesideTheirFlags) {
  CommandTree tool{"tool", "A tool", "", {}, {}};
  tool.flags.push_back(flag("--help", "", "print this help"));
  std::string words;
  for (int i = 0; i < 40; ++i) words += "word ";
  tool.flags.push_back(flag("--x", "N", words));
  const std::string text = help_text(tool);
  EXPECT_THAT(text, HasSubstr("\n  --x N   word word"));
  EXPECT_THAT(text, HasSubstr("\n          word word"));
}

}  // namespace
}  // namespace kumihimo

#include <algorithm>
#include <fmt/format.h>

#include "cli/command_tree.hpp"
#include "cli/table.hpp"

namespace kumihimo {
namespace {

constexpr int line_width = 100;

std::string left_side(const FlagEntry& flag) {
  if (flag.positional) return flag.name;
  std::string text = flag.short_name.empty() ? flag.name : flag.short_name + ", " + flag.name;
  return flag.value.empty() ? text : text + " " + flag.value;
}

/// `text` broken at blanks into lines of at most `width` columns.
std::vector<std::string> wrapped(const std::string& text, int width) {
  std::vector<std::string> lines(1);
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    const std::string word = text.substr(begin, end - begin);
    if (!lines.back().empty() && display_width(lines.back() + " " + word) > width) {
      lines.emplace_back();
    }
    lines.back() += (lines.back().empty() ? "" : " ") + word;
    begin = end + 1;
  }
  return lines;
}

/// Two columns: a term, and its explanation wrapped beside it.
std::string entries(const std::vector<std::pair<std::string, std::string>>& rows, int left_width) {
  std::string text;
  for (const auto& [term, explanation] : rows) {
    const auto lines = wrapped(explanation, line_width - left_width - 4);
    for (std::size_t i = 0; i < lines.size(); ++i) {
      text += fmt::format("  {}  {}\n", padded(i == 0 ? term : "", left_width), lines[i]);
    }
  }
  return text;
}

std::vector<std::string> groups_of(const CommandTree& command) {
  std::vector<std::string> groups;
  for (const FlagEntry& flag : command.flags) {
    if (std::find(groups.begin(), groups.end(), flag.group) == groups.end()) {
      groups.push_back(flag.group);
    }
  }
  // --help is registered first, in the group that is least worth reading first.
  std::rotate(groups.begin(), groups.begin() + (groups.empty() ? 0 : 1), groups.end());
  return groups;
}

std::string usage(const CommandTree& command) {
  std::string line = "Usage: " + command.name;
  if (!command.commands.empty()) line += " [COMMAND]";
  for (const FlagEntry& flag : command.flags) {
    if (flag.positional) line += " " + flag.name;
  }
  return line + " [flags]\n";
}

}  // namespace

std::string help_text(const CommandTree& command) {
  std::string text = command.summary + "\n\n" + usage(command);
  int left_width = 0;
  for (const FlagEntry& flag : command.flags) {
    left_width = std::max(left_width, display_width(left_side(flag)));
  }
  left_width = std::min(left_width, 34);

  if (!command.commands.empty()) {
    std::vector<std::pair<std::string, std::string>> rows;
    int width = 0;
    for (const CommandTree& child : command.commands) {
      rows.emplace_back(child.word(), child.summary);
      width = std::max(width, display_width(child.word()));
    }
    text += "\nCommands:\n" + entries(rows, std::max(width, left_width));
  }
  for (const std::string& group : groups_of(command)) {
    std::vector<std::pair<std::string, std::string>> rows;
    for (const FlagEntry& flag : command.flags) {
      if (flag.group == group) rows.emplace_back(left_side(flag), flag.help);
    }
    text += "\n" + group + ":\n" + entries(rows, left_width);
  }
  if (!command.example.empty()) text += "\nExample:\n" + command.example + "\n";
  return text;
}

std::vector<std::string> flag_names(const CommandTree& command) {
  std::vector<std::string> names;
  for (const FlagEntry& flag : command.flags) {
    if (!flag.positional) names.push_back(flag.name);
  }
  return names;
}

std::vector<std::string> command_names(const CommandTree& command) {
  std::vector<std::string> names;
  for (const CommandTree& child : command.commands) names.push_back(child.word());
  return names;
}

}  // namespace kumihimo

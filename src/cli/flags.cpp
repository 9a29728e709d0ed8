#include "cli/flags.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fmt/format.h>

#include "base/files.hpp"
#include "base/shown_text.hpp"

namespace kumihimo {
namespace {

/// The whole of `text` as a number, if it is one.
template <class Number>
std::optional<Number> number_in(std::string_view text) {
  Number value{};
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::vector<std::string> parts(std::string_view text) {
  std::vector<std::string> result;
  while (true) {
    const std::size_t comma = text.find(',');
    result.emplace_back(text.substr(0, comma));
    if (comma == std::string_view::npos) return result;
    text.remove_prefix(comma + 1);
  }
}

void add_fault_of_flag(std::string_view flag, const std::optional<Error>& fault, Errors& faults) {
  if (!fault) return;
  faults.push_back({fmt::format("{}: {}", flag, fault->where), fault->what, fault->fix});
}

}  // namespace

Flags::Flags(CLI::App& app) : app_(app) {
  const std::string help = "print this help";
  app.add_flag("-h,--help", help);
}

CLI::Option& Flags::add(std::string_view flag, std::string_view value, std::string_view help) {
  const CLI::callback_t keep = [](const CLI::results_t&) { return true; };
  CLI::Option* option = app_.add_option(std::string(flag), keep, std::string(help));
  option->type_name(std::string(value))->group(group_);
  options_.emplace(flag, option);
  return *option;
}

void Flags::add_value(std::string_view flag, std::string_view value, std::string_view help) {
  add(flag, value, help).expected(1)->take_all();
}

void Flags::add_values(std::string_view flag, std::string_view value, std::string_view help) {
  add(flag, value, help).expected(-1)->take_all();
}

void Flags::add_switch(std::string_view flag, std::string_view help) {
  const std::string description(help);  // CLI11 takes a temporary for a variable to fill
  CLI::Option* option = app_.add_flag(std::string(flag), description);
  option->group(group_);
  options_.emplace(flag, option);
}

void Flags::add_positional(std::string_view name, std::string_view help) {
  add(name, name, help).expected(1)->take_all();
}

void Flags::group(std::string_view heading) { group_ = heading; }

const CLI::Option& Flags::option(std::string_view flag) const {
  const auto found = options_.find(flag);
  KUMIHIMO_CHECK(found != options_.end());
  return *found->second;
}

bool Flags::given(std::string_view flag) const { return !option(flag).results().empty(); }

std::vector<std::string> Flags::texts(std::string_view flag, Errors& faults) const {
  std::vector<std::string> values = option(flag).results();
  for (const std::string& value : values) {
    const auto swallowed = options_.find(value);
    if (value.starts_with("--") && swallowed != options_.end()) {
      faults.push_back({std::string(flag), "has no value: " + value + " follows it",
                        fmt::format("write {} {}", flag, option(flag).get_type_name())});
      return {};
    }
  }
  return values;
}

std::optional<std::string> Flags::text(std::string_view flag, Errors& faults) const {
  const std::vector<std::string> values = texts(flag, faults);
  if (values.empty()) return std::nullopt;
  if (values.size() > 1) {
    faults.push_back(
        {std::string(flag),
         "is given more than once: " + shown_quoted(values[0]) + ", " + shown_quoted(values[1]),
         "keep one of them"});
    return std::nullopt;
  }
  if (values[0].empty()) {
    faults.push_back({std::string(flag), "is empty",
                      fmt::format("write {} {}", flag, option(flag).get_type_name())});
    return std::nullopt;
  }
  return values[0];
}

std::optional<std::string> Flags::required_text(std::string_view flag, std::string_view fix,
                                                Errors& faults) const {
  if (!given(flag)) {
    faults.push_back({std::string(flag), "is missing", std::string(fix)});
    return std::nullopt;
  }
  return text(flag, faults);
}

std::optional<std::string> Flags::output_path(std::string_view flag, Errors& faults) const {
  auto path = text(flag, faults);
  if (path) judge_output_path(flag, *path, faults);
  return path;
}

std::optional<std::int64_t> Flags::whole(std::string_view flag, std::int64_t least,
                                         std::int64_t most, Errors& faults) const {
  const auto given_text = text(flag, faults);
  if (!given_text) return std::nullopt;
  const auto value = number_in<std::int64_t>(*given_text);
  if (value && *value >= least && *value <= most) return value;
  faults.push_back({std::string(flag), "is " + shown_quoted(*given_text),
                    fmt::format("give a whole number from {} to {}", least, most)});
  return std::nullopt;
}

std::optional<double> Flags::number(std::string_view flag, double least, double most,
                                    Errors& faults) const {
  const auto given_text = text(flag, faults);
  if (!given_text) return std::nullopt;
  const auto value = number_in<double>(*given_text);
  if (value && *value >= least && *value <= most) return value;  // refuses NaN
  faults.push_back({std::string(flag), "is " + shown_quoted(*given_text),
                    fmt::format("give a number from {} to {}", least, most)});
  return std::nullopt;
}

std::optional<double> Flags::quantity(std::string_view flag, Dimension dimension,
                                      Errors& faults) const {
  const auto given_text = text(flag, faults);
  if (!given_text) return std::nullopt;
  const Expected<double> value = parse_quantity(*given_text, dimension, flag);
  collect(faults, value);
  return value ? std::optional(*value) : std::nullopt;
}

std::optional<Money> Flags::money(std::string_view flag, Errors& faults) const {
  const auto given_text = text(flag, faults);
  if (!given_text) return std::nullopt;
  const Expected<Money> value = parse_money(*given_text, flag);
  collect(faults, value);
  return value ? std::optional(*value) : std::nullopt;
}

std::vector<std::string> Flags::text_list(std::string_view flag, Errors& faults) const {
  const auto given_text = text(flag, faults);
  return given_text ? parts(*given_text) : std::vector<std::string>{};
}

std::vector<int> Flags::whole_list(std::string_view flag, int least, int most,
                                   Errors& faults) const {
  std::vector<int> values;
  for (const std::string& part : text_list(flag, faults)) {
    const auto value = number_in<int>(part);
    if (value && *value >= least && *value <= most) {
      values.push_back(*value);
    } else {
      faults.push_back({std::string(flag), "holds " + shown_quoted(part),
                        fmt::format("give whole numbers from {} to {}, as in {} {}", least, most,
                                    flag, most < 4 ? "0,1" : "1,2,4")});
    }
  }
  return values;
}

void judge_output_path(std::string_view flag, const std::string& path, Errors& faults) {
  add_fault_of_flag(flag, output_fault(path), faults);
}

void judge_output_folder(std::string_view flag, const std::string& path, Errors& faults) {
  add_fault_of_flag(flag, output_folder_fault(path), faults);
}

void judge_output_spares(std::string_view flag, const std::string& path, const std::string& input,
                         Errors& faults) {
  std::error_code ignored;
  if (!std::filesystem::equivalent(path, input, ignored)) return;
  faults.push_back({fmt::format("{}: {}", flag, path), "is the file that is read",
                    "give the path of another file"});
}

}  // namespace kumihimo

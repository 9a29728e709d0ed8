#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/units.hpp"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace kumihimo {

/// The flags of one command. The parser keeps every value as text; the readers below judge it when
/// the command runs, so that one run reports every fault. Flags are named as the user types them,
/// "--gpus"; a reader of a flag that the command does not have fails a check.
class Flags {
 public:
  explicit Flags(CLI::App& app);

  // Registration. `value` is what stands for the value in --help: "N", "NAME|PATH".
  void add_value(std::string_view flag, std::string_view value, std::string_view help);
  /// A flag that may be given several times, or once with several values.
  void add_values(std::string_view flag, std::string_view value, std::string_view help);
  void add_switch(std::string_view flag, std::string_view help);
  /// A value without flag; `name` as in "NAME". Read it by that name.
  void add_positional(std::string_view name, std::string_view help);
  /// Heading in --help for the flags added from here on.
  void group(std::string_view heading);
  CLI::App& app() const { return app_; }

  // Reading: nothing if the flag was not given. Faults go to `faults`, at the flag's name.
  bool given(std::string_view flag) const;
  std::optional<std::string> text(std::string_view flag, Errors& faults) const;
  std::vector<std::string> texts(std::string_view flag, Errors& faults) const;
  /// Notes a fault, with `fix`, if the flag is absent.
  std::optional<std::string> required_text(std::string_view flag, std::string_view fix,
                                           Errors& faults) const;
  /// A file to write. What would keep it from being written is a fault here, not after the work.
  std::optional<std::string> output_path(std::string_view flag, Errors& faults) const;
  std::optional<std::int64_t> whole(std::string_view flag, std::int64_t least, std::int64_t most,
                                    Errors& faults) const;
  std::optional<double> number(std::string_view flag, double least, double most,
                               Errors& faults) const;
  /// "76GiB", "35%": with unit, as parse_quantity wants it.
  std::optional<double> quantity(std::string_view flag, Dimension dimension, Errors& faults) const;
  /// "2.10USD".
  std::optional<Money> money(std::string_view flag, Errors& faults) const;
  /// "1,2,4": whole numbers between commas; empty if not given.
  std::vector<int> whole_list(std::string_view flag, int least, int most, Errors& faults) const;
  /// "none,full": the parts between commas; empty if not given.
  std::vector<std::string> text_list(std::string_view flag, Errors& faults) const;

 private:
  const CLI::Option& option(std::string_view flag) const;
  CLI::Option& add(std::string_view flag, std::string_view value, std::string_view help);

  CLI::App& app_;
  std::string group_ = "Options";
  std::map<std::string, CLI::Option*, std::less<>> options_;
};

/// A fault, at the flag, if the file that it names cannot be written (base/files.hpp).
void judge_output_path(std::string_view flag, const std::string& path, Errors& faults);
/// The same of a folder to write into.
void judge_output_folder(std::string_view flag, const std::string& path, Errors& faults);
/// The same for an output that would take the place of the file which the command reads.
void judge_output_spares(std::string_view flag, const std::string& path, const std::string& input,
                         Errors& faults);

}  // namespace kumihimo

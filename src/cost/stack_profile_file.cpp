#include "cost/stack_profile_file.hpp"

#include <algorithm>
#include <filesystem>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <map>
#include <optional>
#include <system_error>
#include <toml++/toml.h>
#include <type_traits>
#include <utility>

#include "base/catalog.hpp"
#include "base/files.hpp"
#include "base/units.hpp"
#include "cluster/table_reader.hpp"
#include "cluster/toml_text.hpp"
#include "layout/names.hpp"

namespace kumihimo {
namespace {

constexpr double most_error = 10;  // of log step time: a factor of 20,000
constexpr std::int64_t most_runs = 1'000'000'000;

/// Calls visit(key, field), or visit(key, field, least, most) for whole numbers, for every default.
/// The binding fails to compile when a field is added, so that none is forgotten.
template <class Defaults, class Visit>
void visit_defaults(Defaults& defaults, Visit&& visit) {
  auto& [recompute, attention, norm, precision, gradient_dtype, zero_stage, sequence_parallel,
         overlap_data_parallel, overlap_tensor_parallel, vocab_parallel_loss,
         attention_dropout_buffers, scatter_gather_boundary, recompute_head,
         offloaded_update_behind_forward, weight_gathering_behind_forward, layer_balance,
         vocab_multiple] = defaults;
  visit("recompute", recompute);
  visit("attention", attention);
  visit("norm", norm);
  visit("precision", precision);
  visit("gradient_dtype", gradient_dtype);
  visit("zero_stage", zero_stage, 0, 3);
  visit("sequence_parallel", sequence_parallel);
  visit("overlap_data_parallel", overlap_data_parallel);
  visit("overlap_tensor_parallel", overlap_tensor_parallel);
  visit("vocab_parallel_loss", vocab_parallel_loss);
  visit("attention_dropout_buffers", attention_dropout_buffers);
  visit("scatter_gather_boundary", scatter_gather_boundary);
  visit("recompute_head", recompute_head);
  visit("offloaded_update_behind_forward", offloaded_update_behind_forward);
  visit("weight_gathering_behind_forward", weight_gathering_behind_forward);
  visit("layer_balance", layer_balance);
  visit("vocab_multiple", vocab_multiple, 1, 1'000'000);
}

template <class Range, class Visit>
void visit_intervals(Range& range, Visit&& visit) {
  visit("layer_parameters", range.layer_parameters);
  visit("devices", range.devices);
  visit("seq_length", range.seq_length);
}

/// How a parameter stands in the file. Its key ends in _gib where the file states memory.
struct FileKey {
  std::string table;
  std::string key;
  std::optional<Dimension> dimension;  ///< none: a bare number
  double scale = 1;                    ///< the file's value over the struct's
};

FileKey file_key(const ProfileParameter& parameter) {
  constexpr std::string_view memory_suffix = "_gib";
  const std::size_t dot = parameter.key.find('.');
  KUMIHIMO_CHECK(dot != std::string_view::npos);
  FileKey result{.table = std::string(parameter.key.substr(0, dot)),
                 .key = std::string(parameter.key.substr(dot + 1))};
  if (result.table == "seconds") {
    result.dimension = Dimension::seconds;
  } else if (result.key.ends_with(memory_suffix)) {
    result.key.resize(result.key.size() - memory_suffix.size());
    result.dimension = Dimension::bytes;
    result.scale = GiB;
  }
  return result;
}

/// The tables of the parameters, in the order in which they first occur.
std::vector<std::string> parameter_tables() {
  std::vector<std::string> tables;
  for (const ProfileParameter& parameter : profile_parameters()) {
    std::string table = file_key(parameter).table;
    if (std::find(tables.begin(), tables.end(), table) == tables.end()) {
      tables.push_back(std::move(table));
    }
  }
  return tables;
}

std::string value_text(const FileKey& key, double value) {
  if (key.dimension == Dimension::seconds) {
    return toml_string(
        quantity_text(value, Dimension::seconds, {{"ms", 1e-3}, {"us", 1e-6}, {"s", 1}}));
  }
  if (key.dimension == Dimension::bytes) return toml_string(fmt::format("{}GiB", value));
  return fmt::format("{}", value);
}

/// The value that `name`, which stands at `key`, is the name of; a fault of the key if there is
/// none.
template <class Enum>
std::optional<Enum> named(TableReader& table, std::string_view key, const std::string& name) {
  const Expected<Enum> read = parse_name<Enum>(shown(name), "");
  if (read) return *read;
  const Error& error = read.errors().front();
  table.fault(key, error.what, error.fix);
  return std::nullopt;
}

class DefaultsReader {
 public:
  DefaultsReader(TableReader& table, Presence presence) : table_(table), presence_(presence) {}

  void operator()(std::string_view key, bool& value) const {
    value = table_.truth(key, presence_).value_or(value);
  }
  template <class Whole>
  void operator()(std::string_view key, Whole& value, std::int64_t least, std::int64_t most) const {
    value = static_cast<Whole>(table_.whole(key, least, most, presence_).value_or(value));
  }
  template <class Enum>
  requires std::is_enum_v<Enum>
  void operator()(std::string_view key, Enum& value) const {
    const std::string name = table_.text(key, presence_);
    if (!name.empty()) value = named<Enum>(table_, key, name).value_or(value);
  }

 private:
  TableReader& table_;
  Presence presence_;
};

class DefaultsWriter {
 public:
  explicit DefaultsWriter(std::string& text) : text_(text) {}

  void operator()(std::string_view key, bool value) const { line(key, value ? "true" : "false"); }
  void operator()(std::string_view key, std::int64_t value, std::int64_t, std::int64_t) const {
    line(key, std::to_string(value));
  }
  template <class Enum>
  requires std::is_enum_v<Enum>
  void operator()(std::string_view key, Enum value) const {
    line(key, toml_string(to_string(value)));
  }

 private:
  void line(std::string_view key, std::string_view value) const {
    text_ += fmt::format("{} = {}\n", key, value);
  }

  std::string& text_;
};

void read_parameters(TableReader& root, Presence presence, StackProfile& profile) {
  for (const std::string& name : parameter_tables()) {
    TableReader table = root.child(name);
    for (const ProfileParameter& parameter : profile_parameters()) {
      const FileKey key = file_key(parameter);
      if (key.table != name) continue;
      double& value = profile.*parameter.member;
      if (!key.dimension) {
        value = table.number(key.key, parameter.lower, parameter.upper, presence).value_or(value);
        continue;
      }
      const auto amount_text = [&](double amount) {
        return key.dimension == Dimension::bytes ? format_bytes(amount) : format_seconds(amount);
      };
      const double least = parameter.lower * key.scale, most = parameter.upper * key.scale;
      const std::string range = fmt::format("{} to {}", amount_text(least), amount_text(most));
      const std::string example = amount_text(std::clamp(value * key.scale, least, most));
      const auto read =
          table.quantity(key.key, {*key.dimension, least, most, range, example}, presence);
      if (read) value = *read / key.scale;
    }
    table.refuse_unknown_keys();
  }
}

void read_errors(TableReader table, Presence presence, StackProfile& profile) {
  profile.time_residual =
      table.number("step_time", 0, most_error, presence).value_or(profile.time_residual);
  profile.memory_residual =
      table.number("memory", 0, most_error, presence).value_or(profile.memory_residual);
  table.refuse_unknown_keys();
}

void read_spreads(TableReader spread, StackProfile& profile) {
  std::map<std::string, TableReader> tables;
  for (const std::string& name : parameter_tables()) tables.emplace(name, spread.child(name));
  for (const ProfileParameter& parameter : profile_parameters()) {
    const FileKey key = file_key(parameter);
    const auto value = tables.at(key.table).number(key.key, 0, 1000, Presence::optional);
    if (value) profile.spreads.push_back({std::string(parameter.key), *value});
  }
  for (auto& [name, table] : tables) table.refuse_unknown_keys();
  spread.refuse_unknown_keys();
}

std::string interval_key(std::string_view end, std::string_view of) {
  return fmt::format("{}_{}", end, of);
}

Interval read_interval(TableReader& table, std::string_view of) {
  constexpr std::int64_t most = 1'000'000'000'000'000;
  const auto end = [&](std::string_view name, std::int64_t least) {
    return table.whole(interval_key(name, of), least, most, Presence::required).value_or(least);
  };
  const std::int64_t least = end("least", 1);
  return {static_cast<double>(least), static_cast<double>(end("most", least))};
}

FittedRange read_range(TableReader table) {
  FittedRange range;
  visit_intervals(
      range, [&](std::string_view of, Interval& interval) { interval = read_interval(table, of); });
  range.device_names = table.texts("device_names", Presence::required);
  for (const std::string& name : table.texts("precisions", Presence::required)) {
    const auto precision = named<Precision>(table, "precisions", name);
    if (precision) range.precisions.push_back(*precision);
  }
  table.refuse_unknown_keys();
  return range;
}

FitEvidence read_evidence(TableReader table) {
  constexpr Amount error{Dimension::ratio, 0, 1e6, "0% to 100000000%", "3.2%"};
  FitEvidence evidence;
  evidence.source = table.text("source", Presence::required);
  evidence.runs = table.count("runs", most_runs).value_or(0);
  evidence.mape = table.quantity("mape", error, Presence::required).value_or(0);
  evidence.median_error = table.quantity("median_error", error, Presence::required).value_or(0);
  evidence.held_out = table.truth("held_out", Presence::required).value_or(false);
  table.refuse_unknown_keys();
  return evidence;
}

enum class BaseAllowed { no, yes };

Expected<StackProfile> parse(std::string_view text, std::string_view where, BaseAllowed allowed);

/// A profile of the catalog names every value: a base there would let profiles form a circle.
Expected<StackProfile> read_from_catalog(std::string_view name) {
  const Expected<CatalogFile> file = find_in_catalog(CatalogKind::stacks, name);
  if (!file) return file.errors();
  return parse(file->text, file->origin, BaseAllowed::no);
}

/// The values to start from.
StackProfile read_base(TableReader& root, std::string_view name, BaseAllowed allowed) {
  if (name.empty()) return {};
  if (allowed == BaseAllowed::no) {
    root.fault("base",
               fmt::format("is {}, but this profile is in the catalog", toml_string(shown(name))),
               "name every value; only profiles outside the catalog build on another");
    return {};
  }
  Expected<StackProfile> base = read_from_catalog(name);
  if (base) {
    base->evidence.clear();
    base->spreads.clear();
    return *std::move(base);
  }
  for (const Error& error : base.errors()) {
    root.fault("base",
               fmt::format("is {}: {}: {}", toml_string(shown(name)), error.where, error.what),
               error.fix);
  }
  return {};
}

Expected<StackProfile> read_root(const toml::table& document, std::string_view where,
                                 BaseAllowed allowed) {
  Errors faults;
  TableReader root(&document, "", where, &faults);
  const std::string base = root.text("base", Presence::optional);
  const Presence presence = base.empty() ? Presence::required : Presence::optional;
  StackProfile profile = read_base(root, base, allowed);

  profile.name = root.text("name", Presence::required);
  profile.description = root.text("description", Presence::optional);
  profile.origin = root.text("origin", Presence::required);
  const std::string cluster = root.text("cluster", presence);
  if (!cluster.empty()) profile.cluster = cluster;
  if (document.contains("sources")) profile.sources = root.texts("sources", Presence::required);

  TableReader defaults = root.child("defaults");
  visit_defaults(profile.defaults, DefaultsReader(defaults, presence));
  defaults.refuse_unknown_keys();
  read_parameters(root, presence, profile);
  read_errors(root.child("errors"), presence, profile);
  if (document.contains("range")) profile.range = read_range(root.child("range"));
  read_spreads(root.child("spread"), profile);
  for (TableReader& table : root.children("evidence")) {
    profile.evidence.push_back(read_evidence(std::move(table)));
  }
  root.refuse_unknown_keys();
  if (!faults.empty()) return faults;
  return profile;
}

Expected<StackProfile> parse(std::string_view text, std::string_view where, BaseAllowed allowed) {
  const Expected<toml::table> document =
      parse_toml(text, where, "a stack profile", "docs/stacks.md");
  if (!document) return document.errors();
  return read_root(*document, where, allowed);
}

std::string range_text(const FittedRange& range) {
  std::string text = "\n# What the runs span: beyond it the error of a step time grows.\n[range]\n";
  visit_intervals(range, [&](std::string_view of, const Interval& interval) {
    text += fmt::format("{} = {:.0f}\n{} = {:.0f}\n", interval_key("least", of), interval.least,
                        interval_key("most", of), interval.most);
  });
  std::vector<std::string> devices, precisions;
  for (const std::string& name : range.device_names) devices.push_back(toml_string(name));
  for (const Precision precision : range.precisions) {
    precisions.push_back(toml_string(to_string(precision)));
  }
  return text + fmt::format("device_names = [{}]\nprecisions = [{}]\n", fmt::join(devices, ", "),
                            fmt::join(precisions, ", "));
}

}  // namespace

Expected<StackProfile> parse_stack_profile(std::string_view text, std::string_view where) {
  return parse(text, where, BaseAllowed::yes);
}

Expected<StackProfile> read_stack_profile(std::string_view name_or_path) {
  std::error_code ignored;
  const std::filesystem::path path(name_or_path);
  if (name_or_path.find('/') == std::string_view::npos && !name_or_path.ends_with(".toml") &&
      !std::filesystem::is_regular_file(path, ignored)) {
    return read_from_catalog(name_or_path);
  }
  const Expected<std::string> text = read_file(path, largest_toml_file);
  if (!text) return text.errors();
  return parse_stack_profile(*text, name_or_path);
}

std::string write_stack_profile(const StackProfile& profile) {
  std::string text = fmt::format("name = {}\n", toml_string(profile.name));
  if (!profile.description.empty()) {
    text += fmt::format("description = {}\n", toml_string(profile.description));
  }
  text += fmt::format("origin = {}\ncluster = {}\n", toml_string(profile.origin),
                      toml_string(profile.cluster));
  if (!profile.sources.empty())
    text += fmt::format("sources = {}\n", toml_strings(profile.sources));
  text += "\n[defaults]\n";
  visit_defaults(profile.defaults, DefaultsWriter(text));

  for (const std::string& table : parameter_tables()) {
    text += fmt::format("\n[{}]\n", table);
    for (const ProfileParameter& parameter : profile_parameters()) {
      const FileKey key = file_key(parameter);
      if (key.table != table) continue;
      text += fmt::format("{} = {}  # {}\n", key.key, value_text(key, profile.*parameter.member),
                          parameter.meaning);
    }
  }

  text += fmt::format(
      "\n[errors]\n"
      "step_time = {}  # standard deviation of log(measured / predicted)\n"
      "memory = {}  # the same\n",
      profile.time_residual, profile.memory_residual);
  if (profile.range) text += range_text(*profile.range);
  if (!profile.spreads.empty()) {
    text +=
        "\n# What the fit left open: one standard deviation of a parameter's "
        "logarithm.\n[spread]\n";
    for (const ProfileParameter& parameter : profile_parameters()) {
      const auto spread = std::find_if(
          profile.spreads.begin(), profile.spreads.end(),
          [&](const ParameterSpread& candidate) { return candidate.key == parameter.key; });
      if (spread == profile.spreads.end()) continue;
      const FileKey key = file_key(parameter);
      text += fmt::format("{}.{} = {}\n", key.table, key.key, spread->log_spread);
    }
  }
  const auto percentage = [](double share) {
    return quantity_text(share, Dimension::ratio, {{"%", 0.01}, {"", 1}});
  };
  for (const FitEvidence& evidence : profile.evidence) {
    text += fmt::format(
        "\n[[evidence]]\nsource = {}\nruns = {}\nmape = \"{}\"\nmedian_error = \"{}\"\n"
        "held_out = {}\n",
        toml_string(evidence.source), evidence.runs, percentage(evidence.mape),
        percentage(evidence.median_error), evidence.held_out);
  }
  return text;
}

}  // namespace kumihimo

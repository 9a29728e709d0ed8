#include "advise/upgrades_file.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <set>

#include "base/catalog.hpp"
#include "base/files.hpp"
#include "base/suggest.hpp"
#include "cluster/cluster_file.hpp"
#include "cluster/table_reader.hpp"
#include "cost/stack_profile_file.hpp"
#include "layout/layout_text.hpp"

namespace kumihimo {
namespace {

constexpr std::size_t most_options = 24;
constexpr std::int64_t most_devices = 1'048'576;
constexpr Amount money{Dimension::money, 0, 1e15, "0USD to 1000000000000000USD", "250000USD"};
constexpr Amount hourly{Dimension::money, 0, 1e9, "0USD to 1000000000USD", "1.80USD"};
constexpr Amount bandwidth{Dimension::bytes_per_second, 1e3, 1e17, "1kB/s to 100000TB/s",
                           "400Gbps"};
constexpr Amount memory{Dimension::bytes, MiB, 1024.0 * 1024 * GiB, "1MiB to 1024TiB", "141GB"};

const KnobRule* rule_named(std::string_view key) {
  const auto found = std::ranges::find(knob_rules(), key, &KnobRule::key);
  return found == knob_rules().end() ? nullptr : &*found;
}

std::vector<std::string> knob_names() {
  std::vector<std::string> names;
  for (const KnobRule& rule : knob_rules()) names.emplace_back(rule.key);
  return names;
}

/// "attention=flash2", "recompute=any".
std::optional<Opening> read_opening(TableReader& table, const std::string& text) {
  const std::size_t equals = text.find('=');
  const std::string key = text.substr(0, equals);
  const KnobRule* rule = rule_named(key);
  if (rule == nullptr) {
    table.fault("opens", fmt::format("names \"{}\", which is no knob", shown(key)),
                suggest(key, knob_names()));
    return std::nullopt;
  }
  const std::string value = equals == std::string::npos ? "" : text.substr(equals + 1);
  if (value == "any") return Opening{rule->knob, std::nullopt};
  if (rule->knob == OpenedKnob::split || value.empty()) {
    table.fault("opens", fmt::format("holds \"{}\"", shown(text)),
                rule->knob == OpenedKnob::split
                    ? "write split=any: the best split is chosen"
                    : fmt::format("write {}=VALUE or {}=any", key, key));
    return std::nullopt;
  }
  const Expected<ParallelLayout> layout = parse_layout(text);
  if (layout) return Opening{rule->knob, *layout};
  const Error& error = layout.errors().front();
  table.fault("opens", fmt::format("holds \"{}\": {}", shown(text), error.what), error.fix);
  return std::nullopt;
}

void read_openings(TableReader& table, UpgradeOption& option) {
  const std::vector<std::string> texts = table.texts("opens", Presence::optional);
  if (texts.empty()) return;
  option.opens.clear();
  for (const std::string& text : texts) {
    if (const auto opening = read_opening(table, text)) option.opens.push_back(*opening);
  }
}

template <class T>
void replace(std::optional<T>& value, const std::optional<T>& stated) {
  if (stated) value = stated;
}

/// What `read` finds under the name that `key` states.
template <class T, class Read>
void read_named(TableReader& table, const char* key, std::optional<T>& value, Read read) {
  const std::string name = table.text(key, Presence::optional);
  if (name.empty()) return;
  const Expected<T> found = read(name);
  if (found) {
    value = *found;
    return;
  }
  for (const Error& error : found.errors()) {
    table.fault(key, fmt::format("is \"{}\": {}: {}", shown(name), error.where, error.what),
                error.fix);
  }
}

void read_hardware(TableReader& table, HardwareChange& hardware) {
  read_named(table, "cluster", hardware.cluster, read_cluster);
  read_named(table, "stack", hardware.profile, read_stack_profile);
  replace(hardware.devices, table.whole("gpus", 1, most_devices, Presence::optional));
  replace(hardware.devices_times, table.number("gpus_times", 0.001, 1000, Presence::optional));
  replace(hardware.nic_bandwidth, table.quantity("nic_bandwidth", bandwidth, Presence::optional));
  replace(hardware.inter_node_times,
          table.number("inter_node_times", 0.001, 1000, Presence::optional));
  replace(hardware.intra_node_bandwidth,
          table.quantity("intra_node_bandwidth", bandwidth, Presence::optional));
  replace(hardware.device_memory, table.quantity("device_memory", memory, Presence::optional));
  replace(hardware.price_per_device_hour,
          table.money("price_per_device_hour", hourly, Presence::optional));
}

void read_option(TableReader table, Upgrades& upgrades, std::set<std::string>& seen) {
  const std::string name = table.text("name", Presence::required);
  if (!name.empty() && !seen.insert(name).second) {
    table.fault("name", fmt::format("is \"{}\", which another option has", shown(name)),
                "give every option a name of its own");
  }
  auto option = std::ranges::find(upgrades.options, name, &UpgradeOption::name);
  if (option == upgrades.options.end()) {
    upgrades.options.push_back({.name = name});
    option = upgrades.options.end() - 1;
  }
  const std::string description = table.text("description", Presence::optional);
  if (!description.empty()) option->description = description;
  read_openings(table, *option);
  read_hardware(table, option->hardware);
  const std::vector<std::string> required = table.texts("requires", Presence::optional);
  if (!required.empty()) option->requires_options = required;
  replace(option->purchase, table.money("purchase", money, Presence::optional));
  option->engineer_days =
      table.number("engineer_days", 0, 1e6, Presence::optional).value_or(option->engineer_days);
  option->effort = table.number("effort", 0, 10, Presence::optional).value_or(option->effort);
  const std::string reason = table.text("reason", Presence::optional);
  if (!reason.empty()) option->reason = reason;
  if (!name.empty() && option->opens.empty() && !option->hardware.any()) {
    table.fault("name", fmt::format("is \"{}\", an option that changes nothing", shown(name)),
                "state what it opens, as in opens = [\"attention=flash2\"], or a cluster, gpus, "
                "nic_bandwidth, intra_node_bandwidth or device_memory");
  }
  table.refuse_unknown_keys();
}

/// The same value must not be opened twice: nobody could say which of the two was needed.
void refuse_double_openings(TableReader& root, const Upgrades& upgrades) {
  for (std::size_t i = 0; i < upgrades.options.size(); ++i) {
    for (std::size_t j = i + 1; j < upgrades.options.size(); ++j) {
      for (const Opening& a : upgrades.options[i].opens) {
        for (const Opening& b : upgrades.options[j].opens) {
          if (a.knob != b.knob || a.value.has_value() != b.value.has_value()) continue;
          if (a.value && !rule_of(a.knob).same(*a.value, *b.value)) continue;
          root.fault("option",
                     fmt::format("\"{}\" and \"{}\" open the same value of {}",
                                 shown(upgrades.options[i].name), shown(upgrades.options[j].name),
                                 rule_of(a.knob).key),
                     "let one of them open it, or drop one by leave_out");
        }
      }
    }
  }
}

void refuse_unknown_requirements(TableReader& root, const Upgrades& upgrades) {
  std::vector<std::string> known;
  for (const UpgradeOption& option : upgrades.options) known.push_back(option.name);
  for (const UpgradeOption& option : upgrades.options) {
    for (const std::string& name : option.requires_options) {
      if (name != option.name && std::ranges::find(known, name) != known.end()) continue;
      root.fault("option",
                 fmt::format("\"{}\" requires \"{}\", which is no other option", shown(option.name),
                             shown(name)),
                 suggest(name, known));
    }
  }
}

void leave_out(TableReader& root, Upgrades& upgrades) {
  std::vector<std::string> known;
  for (const UpgradeOption& option : upgrades.options) known.push_back(option.name);
  for (const std::string& name : root.texts("leave_out", Presence::optional)) {
    if (std::erase_if(upgrades.options,
                      [&](const UpgradeOption& option) { return option.name == name; }) == 0) {
      root.fault("leave_out", fmt::format("names \"{}\", which is no option", shown(name)),
                 suggest(name, known));
    }
  }
}

Expected<Upgrades> read_root(const toml::table& document, std::string_view where, Upgrades base) {
  Errors faults;
  TableReader root(&document, "", where, &faults);
  Upgrades upgrades = std::move(base);
  replace(upgrades.prices.device_hour,
          root.money("price_per_device_hour", hourly, Presence::optional));
  replace(upgrades.prices.engineer_day,
          root.money("price_per_engineer_day", money, Presence::optional));
  replace(upgrades.prices.effort_point,
          root.money("price_per_effort_point", money, Presence::optional));
  leave_out(root, upgrades);
  std::set<std::string> seen;
  for (TableReader& table : root.children("option")) {
    read_option(std::move(table), upgrades, seen);
  }
  refuse_double_openings(root, upgrades);
  refuse_unknown_requirements(root, upgrades);
  if (upgrades.options.size() > most_options) {
    root.fault("option",
               fmt::format("lists {} options, the catalog's among them", upgrades.options.size()),
               fmt::format("keep {} or fewer; leave_out drops some", most_options));
  }
  root.refuse_unknown_keys();
  if (!faults.empty()) return faults;
  return upgrades;
}

}  // namespace

Expected<Upgrades> parse_upgrades(std::string_view text, std::string_view where,
                                  const Upgrades& base) {
  const Expected<toml::table> document =
      parse_toml(text, where, "a file of upgrades", "docs/advise.md");
  if (!document) return document.errors();
  return read_root(*document, where, base);
}

Expected<Upgrades> default_upgrades() {
  const Expected<CatalogFile> file = find_in_catalog(CatalogKind::upgrades, "default");
  if (!file) return file.errors();
  return parse_upgrades(file->text, file->origin);
}

Expected<Upgrades> read_upgrades(std::string_view path) {
  const Expected<Upgrades> base = default_upgrades();
  if (!base) return base.errors();
  const Expected<std::string> text = read_file(path, largest_toml_file);
  if (!text) return text.errors();
  return parse_upgrades(*text, path, *base);
}

}  // namespace kumihimo

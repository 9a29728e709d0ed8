#include "cluster/table_reader.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <utility>

#include "base/suggest.hpp"

namespace kumihimo {
namespace {

constexpr std::size_t longest_text = 2000;
constexpr std::size_t longest_list = 200;
/// Each level of "a.a.a..." costs a dot.
constexpr std::ptrdiff_t most_dots = 4096;

std::string_view type_name(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table: return "a table";
    case toml::node_type::array: return "an array";
    case toml::node_type::string: return "a text";
    case toml::node_type::integer: return "a whole number";
    case toml::node_type::floating_point: return "a decimal number";
    case toml::node_type::boolean: return "a truth value";
    default: return "a date or time";
  }
}

}  // namespace

Expected<toml::table> parse_toml(std::string_view text, std::string_view where,
                                 std::string_view what, std::string_view document) {
  if (text.size() > largest_toml_file || std::count(text.begin(), text.end(), '.') > most_dots) {
    return Error{std::string(where), fmt::format("is far larger than {} can be", what),
                 fmt::format("give a file of the form that {} shows", document)};
  }
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& error) {
    const toml::source_position at = error.source().begin;
    return Error{fmt::format("{}: line {}, column {}", where, at.line, at.column),
                 fmt::format("is not TOML: {}", shown(error.description(), 200)),
                 "texts and quantities stand in quotes: memory = \"80GiB\""};
  }
}

TableReader::TableReader(const toml::table* table, std::string prefix, std::string_view where,
                         Errors* faults)
    : table_(table), prefix_(std::move(prefix)), where_(where), faults_(faults) {}

TableReader TableReader::child(std::string_view key) {
  const toml::node* node = find(key);
  const std::string prefix = prefix_ + std::string(key) + ".";
  if (node == nullptr) return {nullptr, prefix, where_, faults_};
  if (const toml::table* table = node->as_table()) return {table, prefix, where_, faults_};
  fault(key, fmt::format("is {}; a table is needed", type_name(*node)),
        fmt::format("write [{}{}] and its keys below it", prefix_, key));
  return {nullptr, prefix, where_, nullptr};
}

std::vector<TableReader> TableReader::children(std::string_view key) {
  std::vector<TableReader> result;
  const std::string advice = fmt::format("write [[{}{}]] and its keys below it", prefix_, key);
  for (const toml::node* element : elements(key, Presence::optional, advice)) {
    const std::string prefix = fmt::format("{}{}[{}].", prefix_, key, result.size());
    const toml::table* table = element->as_table();
    if (table == nullptr) {
      fault(key, fmt::format("holds {}; a table is needed", type_name(*element)), advice);
    }
    result.push_back({table, prefix, where_, table == nullptr ? nullptr : faults_});
  }
  return result;
}

std::optional<double> TableReader::quantity(std::string_view key, const Amount& amount,
                                            Presence presence) {
  const std::string advice = fmt::format("write {} = \"{}\"", key, amount.example);
  const toml::node* node = find(key, presence, advice);
  if (node == nullptr) return std::nullopt;
  // A bare number goes to parse_quantity too, which refuses it and lists the units.
  std::string text;
  if (const auto* string = node->as_string()) {
    text = string->get();
  } else if (const auto* integer = node->as_integer()) {
    text = fmt::format("{}", integer->get());
  } else if (const auto* decimal = node->as_floating_point()) {
    text = fmt::format("{}", decimal->get());
  } else {
    fault(key, fmt::format("is {}; a quantity with its unit is needed", type_name(*node)), advice);
    return std::nullopt;
  }
  const Expected<double> value = parse_quantity(text, amount.dimension, name_of(key));
  if (!value) {
    if (faults_ != nullptr) collect(*faults_, value);
    return std::nullopt;
  }
  if (*value < amount.least || *value > amount.most) {
    fault(key, fmt::format("is \"{}\"; {} is accepted", shown(text), amount.range), advice);
    return std::nullopt;
  }
  return *value;
}

std::optional<Money> TableReader::money(std::string_view key, const Amount& amount,
                                        Presence presence) {
  if (!quantity(key, amount, presence)) return std::nullopt;
  const std::string text = (*table_)[key].value_or(std::string());
  return *parse_money(text, name_of(key));
}

std::optional<double> TableReader::number(std::string_view key, double least, double most,
                                          Presence presence) {
  const std::string advice = fmt::format("give a number from {} to {}", least, most);
  const toml::node* node = find(key, presence, advice);
  if (node == nullptr) return std::nullopt;
  double value = 0;
  if (const auto* integer = node->as_integer()) {
    value = static_cast<double>(integer->get());
  } else if (const auto* decimal = node->as_floating_point()) {
    value = decimal->get();
  } else {
    fault(key, fmt::format("is {}; a bare number is needed", type_name(*node)), advice);
    return std::nullopt;
  }
  if (!(value >= least && value <= most)) {
    fault(key, fmt::format("is {}", value), advice);
    return std::nullopt;
  }
  return value;
}

std::optional<std::int64_t> TableReader::whole(std::string_view key, std::int64_t least,
                                               std::int64_t most, Presence presence) {
  const std::string advice = fmt::format("give a whole number from {} to {}", least, most);
  const toml::node* node = find(key, presence, advice);
  if (node == nullptr) return std::nullopt;
  const auto* integer = node->as_integer();
  if (integer == nullptr) {
    fault(key, fmt::format("is {}; a whole number is needed", type_name(*node)), advice);
    return std::nullopt;
  }
  if (integer->get() < least || integer->get() > most) {
    fault(key, fmt::format("is {}", integer->get()), advice);
    return std::nullopt;
  }
  return integer->get();
}

std::optional<bool> TableReader::truth(std::string_view key, Presence presence) {
  const std::string advice = "write true or false, without quotes";
  const toml::node* node = find(key, presence, advice);
  if (node == nullptr) return std::nullopt;
  if (const auto* boolean = node->as_boolean()) return boolean->get();
  fault(key, fmt::format("is {}; true or false is needed", type_name(*node)), advice);
  return std::nullopt;
}

std::string TableReader::text(std::string_view key, Presence presence) {
  const toml::node* node = find(key, presence, fmt::format("write {} = \"...\"", key));
  return node == nullptr ? std::string() : checked_text(key, *node);
}

std::vector<std::string> TableReader::texts(std::string_view key, Presence presence) {
  const std::string advice = fmt::format("write {} = [\"...\", \"...\"]", key);
  std::vector<std::string> result;
  for (const toml::node* element : elements(key, presence, advice)) {
    result.push_back(checked_text(key, *element));
  }
  return result;
}

void TableReader::refuse_unknown_keys() {
  if (table_ == nullptr) return;
  for (const auto& [key, node] : *table_) {
    if (std::find(asked_.begin(), asked_.end(), key.str()) != asked_.end()) continue;
    fault(shown(key.str()), "is not a known key", suggest(key.str(), asked_));
  }
}

void TableReader::fault(std::string_view key, std::string what, std::string fix) {
  if (faults_ == nullptr) return;
  faults_->push_back({name_of(key), std::move(what), std::move(fix)});
}

const toml::node* TableReader::find(std::string_view key) {
  asked_.emplace_back(key);
  return table_ == nullptr ? nullptr : table_->get(key);
}

const toml::node* TableReader::find(std::string_view key, Presence presence,
                                    const std::string& advice) {
  const toml::node* node = find(key);
  if (node == nullptr && presence == Presence::required) fault(key, "is missing", advice);
  return node;
}

std::vector<const toml::node*> TableReader::elements(std::string_view key, Presence presence,
                                                     const std::string& advice) {
  const toml::node* node = find(key, presence, advice);
  if (node == nullptr) return {};
  const toml::array* array = node->as_array();
  if (array == nullptr) {
    fault(key, fmt::format("is {}; an array is needed", type_name(*node)), advice);
    return {};
  }
  if (array->size() > longest_list) {
    fault(key, fmt::format("has {} elements", array->size()),
          fmt::format("give at most {}", longest_list));
    return {};
  }
  std::vector<const toml::node*> result;
  for (const toml::node& element : *array) result.push_back(&element);
  return result;
}

std::string TableReader::checked_text(std::string_view key, const toml::node& node) {
  const auto* string = node.as_string();
  if (string == nullptr) {
    fault(key, fmt::format("is {}; a text is needed", type_name(node)), "put it in quotes");
    return {};
  }
  const std::string& text = string->get();
  if (text.empty() || text.size() > longest_text) {
    fault(key, text.empty() ? "is empty" : fmt::format("is {} bytes long", text.size()),
          fmt::format("give a text of 1 to {} bytes", longest_text));
    return {};
  }
  return text;
}

std::string TableReader::name_of(std::string_view key) const {
  return fmt::format("{}: {}{}", where_, prefix_, key);
}

}  // namespace kumihimo

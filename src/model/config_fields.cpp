#include "model/config_fields.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <utility>

namespace kumihimo {

using Json = nlohmann::json;

std::string show(const Json& value) {
  // Printing a list or object recurses, and a hostile file may nest them past the stack.
  if (value.is_array()) return "a list";
  if (value.is_object()) return "an object";
  constexpr std::size_t longest = 60;
  const std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true);
  return text.size() <= longest ? text : text.substr(0, longest) + "...";
}

ConfigFields::ConfigFields(const Json& object, std::string where, std::string prefix,
                           Errors& errors)
    : object_(object), where_(std::move(where)), prefix_(std::move(prefix)), errors_(errors) {}

void ConfigFields::fault(std::string_view key, std::string what, std::string fix) {
  errors_.push_back(
      {fmt::format("{}: {}{}", where_, prefix_, key), std::move(what), std::move(fix)});
}

bool ConfigFields::stated(std::string_view key) const { return object_.find(key) != object_.end(); }

const Json* ConfigFields::find(std::string_view key) const {
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

std::int64_t ConfigFields::whole(std::string_view key, std::optional<std::int64_t> absent) {
  const Json* value = find(key);
  if (!value && absent) return *absent;
  if (!value) {
    fault(key, "is missing", "state it: a positive whole number");
    return unreadable;
  }
  constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  const bool too_large = value->is_number_unsigned() && value->get<std::uint64_t>() > most;
  if (value->is_number_integer() && !too_large) return value->get<std::int64_t>();
  fault(key, fmt::format("is {}", show(*value)), "give a positive whole number");
  return unreadable;
}

double ConfigFields::number(std::string_view key, double absent) {
  const Json* value = find(key);
  if (!value) return absent;
  if (value->is_number()) return value->get<double>();
  fault(key, fmt::format("is {}", show(*value)), "give a number");
  return absent;
}

bool ConfigFields::flag(std::string_view key, bool absent) {
  const Json* value = find(key);
  if (!value) return absent;
  if (value->is_boolean()) return value->get<bool>();
  fault(key, fmt::format("is {}", show(*value)), "give true or false");
  return absent;
}

bool ConfigFields::required_flag(std::string_view key) {
  if (!find(key))
    fault(key, "is missing", "state it, true or false: libraries disagree on its default");
  return flag(key, false);
}

ConfigFields ConfigFields::nested(std::string_view key) {
  static const Json nothing = Json::object();
  const Json* value = find(key);
  if (value && !value->is_object())
    fault(key, fmt::format("is {}", show(*value)), "give an object");
  return ConfigFields(value && value->is_object() ? *value : nothing, where_,
                      fmt::format("{}{}.", prefix_, key), errors_);
}

void ConfigFields::require_text(std::string_view key, bool (*accepts)(std::string_view),
                                std::string_view fix) {
  const Json* value = find(key);
  if (!value || (value->is_string() && accepts(value->get_ref<const std::string&>()))) return;
  fault(key, fmt::format("is {}, which is not supported", show(*value)), std::string(fix));
}

void ConfigFields::require_off(std::string_view key, std::string_view why) {
  if (flag(key, false)) fault(key, fmt::format("is true: {}", why), "set it to false");
}

}  // namespace kumihimo

#pragma once

#include <fmt/format.h>
#include <limits>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "layout/names.hpp"
#include "what_if/basis_fields.hpp"

// JSON in and out by the fields of basis_fields.hpp. Reading never throws: the page's build has no
// exceptions.

namespace kumihimo {

using Json = nlohmann::ordered_json;

namespace fields {

struct NoVisit {
  template <class Field>
  void operator()(std::string_view, Field&) {}
};

template <class T>
concept Listed = requires(T& value, NoVisit& visit) {
  visit_fields(value, visit);
};

/// Enums with a table of names are written by name, others by number.
template <class T>
concept Named = std::is_enum_v<T> && requires {
  NameTable<T>::rows;
};

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;
template <class T>
inline constexpr bool is_vector = false;
template <class T>
inline constexpr bool is_vector<std::vector<T>> = true;

template <class T>
Json written(T value) {
  if constexpr (Listed<T>) {
    Json object = Json::object();
    const auto visit = [&object](std::string_view key, const auto& field) {
      object[std::string(key)] = written(field);
    };
    visit_fields(value, visit);
    return object;
  } else if constexpr (is_optional<T>) {
    return value ? written(*value) : Json();
  } else if constexpr (is_vector<T>) {
    Json list = Json::array();
    for (const auto& element : value) list.push_back(written(element));
    return list;
  } else if constexpr (Named<T>) {
    return std::string(to_string(value));
  } else if constexpr (std::is_enum_v<T>) {
    return static_cast<int>(value);
  } else {
    return value;
  }
}

inline Error unexpected(const std::string& where, std::string_view wanted) {
  return {where, "is missing or not " + std::string(wanted), ""};
}

template <class T>
void read(const Json& json, const std::string& where, T& value, Errors& faults) {
  if constexpr (Listed<T>) {
    const auto visit = [&](std::string_view key, auto& field) {
      const auto member = json.is_object() ? json.find(std::string(key)) : json.end();
      read(member == json.end() ? Json() : *member,
           where.empty() ? std::string(key) : fmt::format("{}.{}", where, key), field, faults);
    };
    visit_fields(value, visit);
  } else if constexpr (is_optional<T>) {
    value.reset();
    if (!json.is_null()) read(json, where, value.emplace(), faults);
  } else if constexpr (is_vector<T>) {
    if (!json.is_array()) return faults.push_back(unexpected(where, "a list"));
    value.clear();
    for (const Json& element : json) read(element, where, value.emplace_back(), faults);
  } else if constexpr (Named<T>) {
    if (!json.is_string()) return faults.push_back(unexpected(where, "a name"));
    const Expected<T> named = parse_name<T>(json.get_ref<const std::string&>(), where);
    collect(faults, named);
    if (named) value = *named;
  } else if constexpr (std::is_enum_v<T>) {
    int number = 0;
    read(json, where, number, faults);
    value = static_cast<T>(number);
  } else if constexpr (std::is_same_v<T, bool>) {
    if (!json.is_boolean()) return faults.push_back(unexpected(where, "true or false"));
    value = json.get<bool>();
  } else if constexpr (std::is_integral_v<T>) {
    if (!json.is_number_integer()) return faults.push_back(unexpected(where, "a whole number"));
    const auto number = json.get<std::int64_t>();
    if (number < std::numeric_limits<T>::min() || number > std::numeric_limits<T>::max()) {
      return faults.push_back({where, fmt::format("is {}, which is out of range", number), ""});
    }
    value = static_cast<T>(number);
  } else if constexpr (std::is_same_v<T, double>) {
    if (!json.is_number()) return faults.push_back(unexpected(where, "a number"));
    value = json.get<double>();
  } else {
    static_assert(std::is_same_v<T, std::string>);
    if (!json.is_string()) return faults.push_back(unexpected(where, "a text"));
    value = json.get<std::string>();
  }
}

}  // namespace fields

/// The document of anything that has fields.
template <class T>
std::string fields_text(const T& value) {
  return fields::written(value).dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// What stands at `where` of a request; every fault.
template <class T>
Expected<T> read_fields(const Json& json, const std::string& where) {
  T value;
  Errors faults;
  fields::read(json, where, value, faults);
  if (!faults.empty()) return faults;
  return value;
}

}  // namespace kumihimo

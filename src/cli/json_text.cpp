#include "cli/json_text.hpp"

#include <nlohmann/json.hpp>
#include <string_view>

namespace kumihimo {

std::string to_json_text(const nlohmann::ordered_json& document) {
  return document.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::string fault_text(const std::exception& error) {
  const std::string_view what = error.what();  // "[json.exception.out_of_range.403] key 'a' ..."
  const std::size_t end = what.find("] ");
  return std::string(what.starts_with("[") && end != std::string_view::npos ? what.substr(end + 2)
                                                                            : what);
}

}  // namespace kumihimo

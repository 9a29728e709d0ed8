#include "base/error.hpp"

#include "base/shown_text.hpp"

namespace kumihimo {

std::string to_string(const Errors& errors) {
  std::string text;
  for (const Error& error : errors) {
    if (!error.where.empty()) text += error.where + ": ";
    text += error.what;
    if (!error.fix.empty()) text += "; " + error.fix;
    text += "\n";
  }
  return without_controls(text);  // a file's name may hold anything
}

}  // namespace kumihimo

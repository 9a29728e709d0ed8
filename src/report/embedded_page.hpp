#pragma once

#include <string_view>

namespace kumihimo {

/// Script and style of the page: what the build made of web/. The script is empty in a program that
/// was built without Node.js; the page says so then.
std::string_view page_script();
std::string_view page_style();

/// The planner as WebAssembly, gzipped, in base64. Empty in a program that was built without
/// Emscripten or Node.js.
std::string_view page_planner();

}  // namespace kumihimo

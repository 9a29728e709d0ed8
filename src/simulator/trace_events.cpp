#include "simulator/trace_events.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace kumihimo {

void TraceEvents::name(std::string_view what, int track, std::string_view value) {
  begin();
  fmt::format_to(out(), R"({{"name":"{}","ph":"M","pid":0,"tid":{},"args":{{"name":{}}}}})", what,
                 track, nlohmann::json(value).dump());
}

void TraceEvents::slice(std::string_view label, int track, double start_s, double end_s,
                        std::string_view arguments) {
  if (end_s <= start_s) return;
  begin();
  fmt::format_to(out(),
                 R"({{"name":"{}","ph":"X","pid":0,"tid":{},"ts":{:.3f},"dur":{:.3f},)"
                 R"("args":{{{}}}}})",
                 label, track, start_s * 1e6, (end_s - start_s) * 1e6, arguments);
}

void TraceEvents::begin() {
  text_ += first_ ? "\n" : ",\n";
  first_ = false;
}

}  // namespace kumihimo

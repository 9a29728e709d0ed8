#include "simulator/trace_events.hpp"

#include <cmath>
#include <cstdint>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace kumihimo {
namespace {

double microseconds(std::int64_t nanoseconds) { return static_cast<double>(nanoseconds) / 1000; }

}  // namespace

void TraceEvents::name(std::string_view what, int track, std::string_view value) {
  begin();
  fmt::format_to(out(), R"({{"name":"{}","ph":"M","pid":0,"tid":{},"args":{{"name":{}}}}})", what,
                 track, nlohmann::json(value).dump());
}

void TraceEvents::slice(std::string_view label, int track, double start_s, double end_s,
                        std::string_view arguments) {
  // Viewers count in nanoseconds and drop a slice that begins one of them before the last has
  // ended: the ends are rounded, not the duration.
  const std::int64_t start_ns = std::llround(start_s * 1e9), end_ns = std::llround(end_s * 1e9);
  if (end_ns <= start_ns) return;
  begin();
  fmt::format_to(out(),
                 R"({{"name":"{}","ph":"X","pid":0,"tid":{},"ts":{:.3f},"dur":{:.3f},)"
                 R"("args":{{{}}}}})",
                 label, track, microseconds(start_ns), microseconds(end_ns - start_ns), arguments);
}

void TraceEvents::begin() {
  text_ += first_ ? "\n" : ",\n";
  first_ = false;
}

}  // namespace kumihimo

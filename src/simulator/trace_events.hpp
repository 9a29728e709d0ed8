#pragma once

#include <iterator>
#include <string>
#include <string_view>

namespace kumihimo {

/// Trace-event JSON, which Perfetto and chrome://tracing open, written event by event: a step of a
/// long pipeline has hundreds of thousands. Source: "Trace Event Format", the Chromium project.
class TraceEvents {
 public:
  /// `what`: "process_name", or "thread_name" of that track.
  void name(std::string_view what, int track, std::string_view value);
  /// Something on a track from one time to a later one; nothing where it took no time.
  /// `arguments`: members of a JSON object.
  void slice(std::string_view label, int track, double start_s, double end_s,
             std::string_view arguments = "");

  std::string finish() && { return std::move(text_) + "\n],\"displayTimeUnit\":\"ms\"}\n"; }

 private:
  void begin();
  std::back_insert_iterator<std::string> out() { return std::back_inserter(text_); }

  std::string text_ = "{\"traceEvents\":[";
  bool first_ = true;
};

}  // namespace kumihimo

#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "comm/world.hpp"

namespace kumihimo {

/// What a rank does with its time. The communication that counts here is exposed: the rank waits.
enum class Activity : std::uint8_t {
  matmul,
  attention,
  norm,
  elementwise,
  optimizer,
  tensor_communication,
  data_communication,
  pipeline_wait,  ///< for activations or gradients of a neighbour: the bubble, and messages
  data_loading,
};
inline constexpr std::array<Activity, 9> all_activities{Activity::matmul,
                                                        Activity::attention,
                                                        Activity::norm,
                                                        Activity::elementwise,
                                                        Activity::optimizer,
                                                        Activity::tensor_communication,
                                                        Activity::data_communication,
                                                        Activity::pipeline_wait,
                                                        Activity::data_loading};

std::string_view to_string(Activity activity);

/// Something that a rank did, or its communication stream.
struct RecordedSpan {
  Activity activity = Activity::matmul;
  bool on_stream = false;
  std::int32_t micro_batch = -1;  ///< of a pass, or -1
  double begin_s = 0;
  double end_s = 0;
};

/// Seconds of one step on one rank, by activity.
struct StepTimes {
  std::array<double, all_activities.size()> seconds{};
  double overlapped_s = 0;  ///< communication behind the rank's own work

  double& operator[](Activity activity) { return seconds[static_cast<std::size_t>(activity)]; }
  double operator[](Activity activity) const { return seconds[static_cast<std::size_t>(activity)]; }
};

/// Adds up what a rank does, and keeps the spans where a trace is wanted. For one thread.
class StepRecorder {
 public:
  explicit StepRecorder(RankClock& clock) : clock_(clock) {}

  /// From its making to its end. Spans do not nest.
  class Span {
   public:
    Span(StepRecorder& recorder, Activity activity)
        : recorder_(recorder), activity_(activity), begin_s_(recorder.clock_.now_s()) {}
    ~Span() { recorder_.add(activity_, begin_s_, recorder_.clock_.now_s()); }
    Span(const Span&) = delete;
    Span& operator=(const Span&) = delete;

   private:
    StepRecorder& recorder_;
    Activity activity_;
    double begin_s_;
  };

  double now_s() { return clock_.now_s(); }
  void add(Activity activity, double begin_s, double end_s);
  /// A collective of the stream, for which the rank then waited `exposed_s`.
  void add_on_stream(Activity activity, const StreamSpan& span, double exposed_s);

  void set_micro_batch(int micro_batch) { micro_batch_ = micro_batch; }
  /// The sums since the last call.
  StepTimes take_times();
  void keep_spans(bool keep) { keeps_spans_ = keep; }
  /// The spans since the last call.
  std::vector<RecordedSpan> take_spans() { return std::exchange(spans_, {}); }

 private:
  RankClock& clock_;
  StepTimes times_;
  std::int32_t micro_batch_ = -1;
  bool keeps_spans_ = false;
  std::vector<RecordedSpan> spans_;
};

}  // namespace kumihimo

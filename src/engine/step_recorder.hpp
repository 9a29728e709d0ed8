#pragma once

#include <array>
#include <cstdint>
#include <optional>
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
  recorded,  ///< passes that a GPU was handed as a whole: all that is in them
};
inline constexpr std::array<Activity, 10> all_activities{Activity::matmul,
                                                         Activity::attention,
                                                         Activity::norm,
                                                         Activity::elementwise,
                                                         Activity::optimizer,
                                                         Activity::tensor_communication,
                                                         Activity::data_communication,
                                                         Activity::pipeline_wait,
                                                         Activity::data_loading,
                                                         Activity::recorded};

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
    Span(StepRecorder& recorder, Activity activity) : recorder_(recorder), activity_(activity) {
      if (!recorder.paused_) begin_ = recorder.mark();
    }
    ~Span() {
      if (begin_) recorder_.add(activity_, *begin_, recorder_.mark());
    }
    Span(const Span&) = delete;
    Span& operator=(const Span&) = delete;

   private:
    StepRecorder& recorder_;
    Activity activity_;
    std::optional<Moment> begin_;
  };

  /// While it lives, spans are not noted: what is called is not done now.
  class Pause {
   public:
    explicit Pause(StepRecorder& recorder)
        : recorder_(recorder), before_(std::exchange(recorder.paused_, true)) {}
    ~Pause() { recorder_.paused_ = before_; }
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;

   private:
    StepRecorder& recorder_;
    bool before_;
  };

  /// Waits for what the rank has given its device.
  double now_s() { return clock_.now_s(); }
  Moment mark() { return clock_.mark(); }
  void add(Activity activity, const Moment& begin, const Moment& end);
  /// A collective of the stream, for which the rank then waited from `begin` to `end`.
  void add_on_stream(Activity activity, const StreamSpan& span, const Moment& begin,
                     const Moment& end);

  void set_micro_batch(int micro_batch) { micro_batch_ = micro_batch; }
  /// The sums since the last call. Waits as now_s.
  StepTimes take_times();
  void keep_spans(bool keep) { keeps_spans_ = keep; }
  /// The spans since the last call. Waits as now_s.
  std::vector<RecordedSpan> take_spans();

 private:
  /// Something whose times may be known only later.
  struct Noted {
    Activity activity = Activity::matmul;
    std::int32_t micro_batch = -1;
    Moment begin, end;                 ///< of the rank
    std::optional<StreamSpan> stream;  ///< of what it waited for
  };

  /// Turns what was noted into times.
  void settle();

  RankClock& clock_;
  std::vector<Noted> noted_;
  StepTimes times_;
  std::int32_t micro_batch_ = -1;
  bool paused_ = false;
  bool keeps_spans_ = false;
  std::vector<RecordedSpan> spans_;
};

}  // namespace kumihimo

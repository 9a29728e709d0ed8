#include "engine/step_recorder.hpp"

#include <algorithm>
#include <utility>

namespace kumihimo {

std::string_view to_string(Activity activity) {
  switch (activity) {
    case Activity::matmul: return "matrix products";
    case Activity::attention: return "attention";
    case Activity::norm: return "norms";
    case Activity::elementwise: return "element-wise";
    case Activity::optimizer: return "optimizer";
    case Activity::tensor_communication: return "tensor communication";
    case Activity::data_communication: return "data communication";
    case Activity::pipeline_wait: return "pipeline wait";
    case Activity::data_loading: return "data loading";
    case Activity::recorded: return "recorded passes";
  }
  return "?";
}

void StepRecorder::add(Activity activity, const Moment& begin, const Moment& end) {
  noted_.push_back({activity, micro_batch_, begin, end, std::nullopt});
}

void StepRecorder::add_on_stream(Activity activity, const StreamSpan& span, const Moment& begin,
                                 const Moment& end) {
  noted_.push_back({activity, -1, begin, end, span});
}

StepTimes StepRecorder::take_times() {
  settle();
  return std::exchange(times_, {});
}

std::vector<RecordedSpan> StepRecorder::take_spans() {
  settle();
  return std::exchange(spans_, {});
}

void StepRecorder::settle() {
  if (noted_.empty()) return;
  clock_.settle();
  for (const Noted& noted : noted_) {
    double begin_s = clock_.seconds_at(noted.begin), end_s = clock_.seconds_at(noted.end);
    if (noted.stream) {
      const double exposed_s = end_s - begin_s;
      begin_s = clock_.seconds_at(noted.stream->begin);
      end_s = clock_.seconds_at(noted.stream->end);
      times_.overlapped_s += std::max(0.0, end_s - begin_s - exposed_s);
    } else {
      times_[noted.activity] += end_s - begin_s;
    }
    if (keeps_spans_) {
      spans_.push_back(
          {noted.activity, noted.stream.has_value(), noted.micro_batch, begin_s, end_s});
    }
  }
  noted_.clear();
}

}  // namespace kumihimo

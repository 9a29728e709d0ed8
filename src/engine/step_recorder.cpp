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
  }
  return "?";
}

void StepRecorder::add(Activity activity, double begin_s, double end_s) {
  times_[activity] += end_s - begin_s;
  if (keeps_spans_) spans_.push_back({activity, false, micro_batch_, begin_s, end_s});
}

void StepRecorder::add_on_stream(Activity activity, const StreamSpan& span, double exposed_s) {
  times_.overlapped_s += std::max(0.0, span.end_s - span.begin_s - exposed_s);
  if (keeps_spans_) spans_.push_back({activity, true, -1, span.begin_s, span.end_s});
}

StepTimes StepRecorder::take_times() { return std::exchange(times_, {}); }

}  // namespace kumihimo

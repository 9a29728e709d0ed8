#include "cli/training_trace.hpp"

#include <algorithm>
#include <fmt/format.h>

#include "simulator/trace_events.hpp"

namespace kumihimo {
namespace {

/// A file of more would be slow to open, and steps are alike.
constexpr std::size_t steps_kept = 3;

/// A span as a row of numbers, the form in which ranks send it.
constexpr std::int64_t span_numbers = 5;

std::vector<double> as_numbers(const std::vector<RecordedSpan>& spans) {
  std::vector<double> numbers;
  for (const RecordedSpan& span : spans) {
    numbers.insert(numbers.end(),
                   {static_cast<double>(span.activity), span.on_stream ? 1.0 : 0.0,
                    static_cast<double>(span.micro_batch), span.begin_s, span.end_s});
  }
  return numbers;
}

std::vector<RecordedSpan> as_spans(const std::vector<double>& numbers) {
  std::vector<RecordedSpan> spans;
  for (std::size_t i = 0; i < numbers.size(); i += span_numbers) {
    spans.push_back({static_cast<Activity>(numbers[i]), numbers[i + 1] != 0,
                     static_cast<std::int32_t>(numbers[i + 2]), numbers[i + 3], numbers[i + 4]});
  }
  return spans;
}

Matrix matrix_of(std::vector<double>& numbers) {
  return matrix_at(numbers.data(), std::ssize(numbers) / span_numbers, span_numbers, DType::fp64);
}

/// How many spans each rank has.
std::vector<std::int32_t> gather_counts(ProcessGroup& group, std::size_t own) {
  std::vector<std::int32_t> counts(static_cast<std::size_t>(group.size()));
  counts[static_cast<std::size_t>(group.rank())] = static_cast<std::int32_t>(own);
  const Matrix whole = matrix_at(counts.data(), group.size(), 1, DType::int32);
  group.all_gather(rows_of(whole, group.rank(), 1), whole);
  return counts;
}

}  // namespace

LastSteps::LastSteps(Agreement& agreement, StepRecorder& recorder) : recorder_(recorder) {
  agreement.barrier();
  zero_s_ = recorder.now_s();
  recorder_.keep_spans(true);
}

void LastSteps::end_step() {
  steps_.push_back(recorder_.take_spans());
  if (steps_.size() > steps_kept) steps_.pop_front();
}

std::vector<std::vector<RecordedSpan>> LastSteps::gather(World& world) const {
  std::vector<RecordedSpan> own;
  for (const auto& step : steps_) own.insert(own.end(), step.begin(), step.end());
  for (RecordedSpan& span : own) {
    span.begin_s -= zero_s_;
    span.end_s -= zero_s_;
  }

  const auto group = group_of_all(world);
  const std::vector<std::int32_t> counts = gather_counts(*group, own.size());
  if (world.rank() > 0) {
    std::vector<double> numbers = as_numbers(own);
    if (!own.empty()) group->wait(*group->start_send(matrix_of(numbers), 0));
    return {};
  }
  std::vector<std::vector<RecordedSpan>> by_rank{own};
  for (int rank = 1; rank < world.size(); ++rank) {
    std::vector<double> numbers(
        static_cast<std::size_t>(counts[static_cast<std::size_t>(rank)] * span_numbers));
    if (!numbers.empty()) group->wait(*group->start_receive(matrix_of(numbers), rank));
    by_rank.push_back(as_spans(numbers));
  }
  return by_rank;
}

std::string training_trace(const std::vector<std::vector<RecordedSpan>>& by_rank,
                           std::string_view title) {
  TraceEvents events;
  events.name("process_name", 0, title);
  for (int rank = 0; rank < std::ssize(by_rank); ++rank) {
    const auto& spans = by_rank[static_cast<std::size_t>(rank)];
    const int track = 2 * rank, stream_track = track + 1;
    events.name("thread_name", track, fmt::format("rank {}", rank));
    if (std::ranges::any_of(spans, &RecordedSpan::on_stream)) {
      events.name("thread_name", stream_track, fmt::format("rank {}, beside it", rank));
    }
    for (const RecordedSpan& span : spans) {
      events.slice(
          to_string(span.activity), span.on_stream ? stream_track : track, span.begin_s, span.end_s,
          span.micro_batch < 0 ? "" : fmt::format(R"("micro_batch":{})", span.micro_batch));
    }
  }
  return std::move(events).finish();
}

}  // namespace kumihimo

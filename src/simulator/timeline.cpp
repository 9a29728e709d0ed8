#include "simulator/timeline.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <vector>

namespace kumihimo {
namespace {

constexpr int most_rows = 24;
constexpr int rows_at_each_end = 8;
constexpr double columns_per_pass = 2;

/// Columns of the text and the time that each stands for.
struct Scale {
  double column_s = 0;
  int head = 0;  ///< columns from the start of the step
  int tail = 0;  ///< columns up to its end, after the gap; 0: the head is the whole
  double end_s = 0;

  /// The middle of a column, counted from the left without the gap.
  double time(int column) const {
    if (column < head) return (column + 0.5) * column_s;
    return end_s - (head + tail - column - 0.5) * column_s;
  }
};

Scale choose_scale(const SimulatedStep& played, int columns) {
  double forward_s = 0;
  int forwards = 0;
  for (const Span& span : played.spans) {
    if (span.action.kind != ActionKind::forward) continue;
    forward_s += span.end_s - span.start_s;
    ++forwards;
  }
  const double whole = played.pipeline_s / columns;
  const double readable = forwards > 0 ? forward_s / forwards / columns_per_pass : whole;
  if (whole <= readable) return {whole, columns, 0, played.pipeline_s};
  const int gap = 3;
  const int head = (columns - gap) / 2;
  return {readable, head, columns - gap - head, played.pipeline_s};
}

std::string mark(const Action& action) {
  switch (action.kind) {
    case ActionKind::forward: return std::to_string(action.micro_batch % 10);
    case ActionKind::backward:
    case ActionKind::backward_input: return "▒";
    case ActionKind::backward_weight: return "░";
  }
  return "?";
}

/// One rank's row. `spans` are its own, in time.
std::string row(const std::vector<const Span*>& spans, const Scale& scale) {
  std::string text;
  std::size_t next = 0;
  for (int column = 0; column < scale.head + scale.tail; ++column) {
    if (scale.tail > 0 && column == scale.head) text += " … ";
    const double time = scale.time(column);
    while (next < spans.size() && spans[next]->end_s <= time) ++next;
    const bool busy = next < spans.size() && spans[next]->start_s <= time;
    text += busy ? mark(spans[next]->action) : "·";
  }
  return text;
}

}  // namespace

std::string timeline_text(const SimulatedStep& played, int width) {
  const int ranks = static_cast<int>(played.busy_s.size());
  std::vector<std::vector<const Span*>> spans(ranks);
  for (const Span& span : played.spans) spans[span.pipeline_rank].push_back(&span);

  const int label_width = std::max(4, static_cast<int>(std::to_string(ranks - 1).size())) + 2;
  const Scale scale = choose_scale(played, width - label_width);
  std::string text;
  for (int rank = 0; rank < ranks; ++rank) {
    if (ranks > most_rows && rank == rows_at_each_end) {
      text += fmt::format("{:>{}}\n", "⋮", label_width - 2);
      rank = ranks - rows_at_each_end;
    }
    text += fmt::format("{:>{}}  {}\n", rank, label_width - 2, row(spans[rank], scale));
  }
  return text;
}

std::string timeline_legend() {
  return "0-9 forward of that micro-batch (last digit)   ▒ backward   ░ weight gradient   · "
         "waiting";
}

}  // namespace kumihimo

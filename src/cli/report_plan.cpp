#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/number_text.hpp"
#include "cli/explanation.hpp"
#include "cli/report_sources.hpp"
#include "cli/sensitivity_text.hpp"
#include "cost/stack_choice.hpp"
#include "layout/canonical.hpp"
#include "layout/layout_text.hpp"
#include "layout/names.hpp"
#include "simulator/explain.hpp"

namespace kumihimo {
namespace {

constexpr int most_planned = 200;
constexpr std::size_t most_bars = 5;
constexpr std::size_t most_spans = 900;
constexpr std::size_t spans_of_rank = 100;  // more would be a blur
constexpr std::int64_t most_shown_actions = 200'000;

class PlanReporter {
 public:
  PlanReporter(const PlannedJob& planned, const Constraints& constraints,
               const SearchRequest& request, const std::optional<ParallelLayout>& current,
               ReportContent& content)
      : planned_(planned),
        constraints_(constraints),
        request_(request),
        current_(current),
        content_(content) {
    request_.limit = most_planned;
  }

  void report() {
    const SearchResult result = search(request_);
    add_best_layouts(planned_, result.best, content_);
    add_what_if({.job = planned_.job,
                 .cluster = planned_.cluster,
                 .profile = planned_.profile,
                 .devices = planned_.devices,
                 .constraints = constraints_},
                request_, result, content_);
    if (!result.best.empty()) {
      choose(result);
      add_bars();
      add_timelines();
    }
    add_heat_maps();
    add_frontier();
    add_sensitivity();
    add_plan_provenance(planned_, content_);
  }

 private:
  template <class... Values>
  std::string say(std::string_view key, const Values&... values) const {
    return text_of(content_.language, key, values...);
  }

  /// Layouts to take apart: the current one, then the best.
  void choose(const SearchResult& result) {
    if (current_) chosen_.push_back(canonical(*current_));
    for (const RankedLayout& ranked : result.best) {
      if (chosen_.size() == most_bars) break;
      if (std::ranges::find(chosen_, ranked.layout) == chosen_.end()) {
        chosen_.push_back(ranked.layout);
      }
    }
  }

  std::string label(const ParallelLayout& layout) const {
    std::string text = short_text(layout);
    if (layout.recompute != Recompute::none) {
      text += fmt::format(" · {}", to_string(layout.recompute));
    }
    if (layout.zero_stage > 1) text += fmt::format(" · ZeRO-{}", layout.zero_stage);
    if (layout.sequence_parallel) text += " · sp";
    const bool is_current = current_ && layout == canonical(*current_);
    if (is_current) text = fmt::format("{}: {}", say("page.start"), text);
    // Bars need names of their own.
    while (std::ranges::find(labels_, text) != labels_.end()) text += "'";
    return text;
  }

  void add_bars() {
    StackedBars memory{{}, {}, static_cast<double>(planned_.cluster.device.memory) / GiB};
    for (const char* part : {"weights", "gradients", "optimizer", "activations", "communication",
                             "workspace", "context"}) {
      memory.part_names.push_back(say(fmt::format("page.{}", part)));
    }
    StackedBars time;
    for (const ParallelLayout& layout : chosen_) {
      labels_.push_back(label(layout));
      const PieceCosts pieces =
          piece_costs(planned_.job, layout, planned_.cluster, planned_.profile);
      const StepCost cost =
          step_cost(pieces, planned_.job, layout, planned_.cluster, planned_.profile);
      const Prediction predicted =
          predict(planned_.job, layout, planned_.cluster, planned_.profile);
      const MemoryUse& use = *std::ranges::max_element(predicted.memory, {}, &MemoryUse::total);
      const auto gib = [](double bytes) { return bytes / GiB; };
      memory.bars.push_back(
          {labels_.back(),
           {gib(static_cast<double>(use.weights)), gib(static_cast<double>(use.gradients)),
            gib(static_cast<double>(use.optimizer)), gib(use.activations), gib(use.communication),
            gib(use.workspace), gib(use.context)}});
      const StepBreakdown parts = break_down(cost, predicted.step_s);
      StackedBar bar{labels_.back(), {}};
      for (const TimePart& part : parts.parts()) {
        if (time.bars.empty()) {
          time.part_names.push_back(say(fmt::format("page.part.{}", part.key)));
        }
        bar.parts.push_back(part.seconds);
      }
      time.bars.push_back(std::move(bar));
    }
    content_.memory = std::move(memory);
    content_.time = std::move(time);
  }

  /// The current layout and the best, or the best two; only pipelines are worth looking at.
  void add_timelines() {
    for (std::size_t i = 0; i < chosen_.size() && content_.timelines.size() < 2; ++i) {
      const ParallelLayout& layout = chosen_[i];
      if (layout.pipeline_parallel == 1) continue;
      if (num_actions(planned_.job, layout) > most_shown_actions) continue;
      const auto schedule = make_schedule(planned_.job, layout);
      if (!schedule) continue;
      const PieceCosts pieces =
          piece_costs(planned_.job, layout, planned_.cluster, planned_.profile);
      const StepCost cost =
          step_cost(pieces, planned_.job, layout, planned_.cluster, planned_.profile);
      const SimulatedStep played = simulate(*schedule, cost, Keep::spans);
      content_.timelines.push_back(timeline_of(played, layout, labels_[i]));
    }
  }

  static Timeline timeline_of(const SimulatedStep& played, const ParallelLayout& layout,
                              const std::string& name) {
    Timeline timeline{.label = name,
                      .ranks = layout.pipeline_parallel,
                      .step_s = played.step_s,
                      .shown_s = played.step_s,
                      .bubble = played.bubble_fraction()};
    std::vector<Span> spans = played.spans;
    std::ranges::stable_sort(spans, {}, &Span::start_s);
    const std::size_t most =
        std::min(most_spans, spans_of_rank * static_cast<std::size_t>(layout.pipeline_parallel));
    if (spans.size() > most) {
      timeline.shown_s = spans[most].start_s;
      spans.resize(most);
    }
    for (const Span& span : spans) {
      const int what = span.action.kind == ActionKind::forward           ? 0
                       : span.action.kind == ActionKind::backward_weight ? 2
                                                                         : 1;
      timeline.spans.push_back(
          {span.pipeline_rank, what, span.action.micro_batch, span.start_s, span.end_s});
    }
    return timeline;
  }

  /// The best MFU where one or two knobs are held.
  HeatCell cell(const SearchSpace& space, std::string x, std::string y) const {
    SearchRequest narrowed = request_;
    narrowed.limit = 1;
    narrowed.space = space;
    HeatCell result{std::move(x), std::move(y), std::nullopt, ""};
    const SearchResult found = search(narrowed);
    if (found.best.empty()) return result;
    result.mfu = found.best.front().prediction.mfu;
    result.note = to_text(found.best.front().layout);
    return result;
  }

  void add_heat_maps() {
    HeatMap split{"tp_pp", {}};
    for (const int pp : request_.space.pipeline_parallel) {
      for (const int tp : request_.space.tensor_parallel) {
        SearchSpace space = request_.space;
        space.tensor_parallel = {tp};
        space.pipeline_parallel = {pp};
        split.cells.push_back(cell(space, std::to_string(tp), std::to_string(pp)));
      }
    }
    HeatMap memory{"mb_recompute", {}};
    for (const Recompute recompute : request_.space.recompute) {
      for (const int micro_batch : request_.space.micro_batch_size) {
        SearchSpace space = request_.space;
        space.recompute = {recompute};
        space.micro_batch_size = {micro_batch};
        memory.cells.push_back(
            cell(space, std::to_string(micro_batch), std::string(to_string(recompute))));
      }
    }
    content_.heat_maps = {std::move(split), std::move(memory)};
    // Pipelines that no cell can use are rows without a figure.
    for (HeatMap& map : content_.heat_maps) {
      std::erase_if(map.cells, [&](const HeatCell& one) {
        return std::ranges::none_of(map.cells, [&](const HeatCell& other) {
          return other.y == one.y && other.mfu.has_value();
        });
      });
    }
  }

  bool fits_with(Recompute recompute, int model_parallel, int micro_batch) const {
    SearchRequest narrowed = request_;
    narrowed.limit = 1;
    narrowed.space.recompute = {recompute};
    narrowed.space.micro_batch_size = {micro_batch};
    narrowed.space.schedules = {ScheduleChoice{}};
    for (const int tp : request_.space.tensor_parallel) {
      if (model_parallel % tp != 0) continue;
      narrowed.space.tensor_parallel = {tp};
      narrowed.space.pipeline_parallel = {model_parallel / tp};
      if (!search(narrowed).best.empty()) return true;
    }
    return false;
  }

  void add_frontier() {
    std::vector<int> sizes = request_.space.micro_batch_size;
    std::ranges::sort(sizes);
    for (const Recompute recompute : request_.space.recompute) {
      for (int model_parallel = 1; model_parallel <= std::min<std::int64_t>(planned_.devices, 64);
           model_parallel *= 2) {
        if (planned_.devices % model_parallel != 0) break;
        int largest = 0;
        for (const int micro_batch : sizes) {
          if (!fits_with(recompute, model_parallel, micro_batch)) break;
          largest = micro_batch;
        }
        content_.frontier.push_back({std::string(to_string(recompute)), model_parallel, largest});
      }
    }
  }

  void add_sensitivity() {
    for (const Sensitivity& sensitivity : all_sensitivities(request_)) {
      SensitivityStrip strip;
      strip.axis = say(fmt::format("sensitivity.{}", key_of(sensitivity.axis)));
      strip.today = sensitivity.today;
      strip.sentences = threshold_sentences(sensitivity, content_.language);
      for (const SensitivityPoint& point : sensitivity.points) {
        SensitivityStrip::Point own{point.amount, amount_text(sensitivity.axis, point.amount),
                                    say("sensitivity.nothing_fits"), std::nullopt};
        const SensitivityRegion* region = region_of(sensitivity, point.amount);
        if (point.best) own.mfu = point.best->prediction.mfu;
        if (region != nullptr && region->layout) own.label = choice_text(*region->layout);
        strip.points.push_back(std::move(own));
      }
      content_.sensitivity.push_back(std::move(strip));
    }
    add_winner_map();
  }

  static const SensitivityRegion* region_of(const Sensitivity& sensitivity, double amount) {
    for (const SensitivityRegion& region : sensitivity.regions) {
      if (region.from <= amount && amount <= region.to) return &region;
    }
    return nullptr;
  }

  /// A layout without its replicas, which follow from the devices.
  std::string choice_text(const ParallelLayout& layout) const {
    std::string text = fmt::format("tp {} · pp {} · mb {}", layout.tensor_parallel,
                                   layout.pipeline_parallel, layout.micro_batch_size);
    if (layout.context_parallel > 1) text += fmt::format(" · cp {}", layout.context_parallel);
    if (layout.virtual_stages_per_rank > 1) {
      text += fmt::format(" · vpp {}", layout.virtual_stages_per_rank);
    }
    if (layout.recompute != Recompute::none) {
      text += fmt::format(" · {}", to_string(layout.recompute));
    }
    if (layout.zero_stage > 1) text += fmt::format(" · ZeRO-{}", layout.zero_stage);
    return text;
  }

  void add_winner_map() {
    const SensitivityMap map = sensitivity_map(request_, SensitivityAxis::inter_node_bandwidth,
                                               SensitivityAxis::device_memory);
    WinnerMap winners{say(fmt::format("sensitivity.{}", key_of(map.x))),
                      say(fmt::format("sensitivity.{}", key_of(map.y))),
                      {}};
    for (std::size_t y = 0; y < map.y_amounts.size(); ++y) {
      for (std::size_t x = 0; x < map.x_amounts.size(); ++x) {
        const std::size_t at = y * map.x_amounts.size() + x;
        WinnerMap::Cell own{amount_text(map.x, map.x_amounts[x]),
                            amount_text(map.y, map.y_amounts[y]), "", std::nullopt};
        if (map.winner[at] >= 0) {
          own.label = choice_text(map.layouts[static_cast<std::size_t>(map.winner[at])]);
          own.mfu = map.mfu[at];
        }
        winners.cells.push_back(std::move(own));
      }
    }
    content_.map = std::move(winners);
  }

  const PlannedJob& planned_;
  const Constraints& constraints_;
  SearchRequest request_;
  const std::optional<ParallelLayout>& current_;
  ReportContent& content_;
  std::vector<ParallelLayout> chosen_;
  std::vector<std::string> labels_;
};

}  // namespace

void add_plan(const PlannedJob& planned, const Constraints& constraints,
              const SearchRequest& request, const std::optional<ParallelLayout>& current,
              ReportContent& content) {
  PlanReporter(planned, constraints, request, current, content).report();
}

}  // namespace kumihimo

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "report/messages.hpp"

// What a report says, free of how it is written. Texts are in the report's language already; those
// that come from a study are anyone's and are escaped where they are written.

namespace kumihimo {

/// Where a figure comes from. Told apart by shape and colour, never mixed.
enum class FigureKind : std::uint8_t { measured, emulated, predicted, quoted };

std::string_view key_of(FigureKind kind);

/// A layout with what is known of it: a trial, or a prediction.
struct ReportRow {
  FigureKind kind = FigureKind::predicted;
  std::string study;
  std::string model;
  int gpus = 0;
  std::string state = "ok";  ///< ok, oom, error, timeout, infeasible
  int tp = 1, pp = 1, dp = 1, cp = 1, micro_batch = 1;
  std::string schedule, recompute, sequence_parallel, zero, attention, norm, precision;
  std::optional<double> mfu, step_s, tokens_per_s_per_gpu, memory_gib, fits;
  std::optional<double> predicted_mfu, predicted_step_s;
  std::string layout;  ///< as to_text writes it
  std::string reason;
};

/// Something that parts add up to, such as the memory of a layout by category.
struct StackedBar {
  std::string label;
  std::vector<double> parts;
};

struct StackedBars {
  std::vector<std::string> part_names;
  std::vector<StackedBar> bars;
  std::optional<double> limit;  ///< a line across, such as the capacity
};

struct TimelineSpan {
  int rank = 0;
  int what = 0;  ///< 0 forward, 1 backward, 2 weight gradient
  std::int64_t micro_batch = 0;
  double start_s = 0, end_s = 0;
};

struct Timeline {
  std::string label;
  int ranks = 1;
  double step_s = 0;
  double shown_s = 0;  ///< spans that begin later are left out
  double bubble = 0;
  std::vector<TimelineSpan> spans;
};

struct HeatCell {
  std::string x, y;
  std::optional<double> mfu;  ///< none: nothing runs
  std::string note;
};

struct HeatMap {
  std::string key;  ///< of its messages: "tp_pp"
  std::vector<HeatCell> cells;
};

struct ReportStep {
  std::string name, what, gain, cost, layout, trial;
  double mfu_before = 0, mfu_after = 0;
  double speed_before = 0, speed_after = 0;  ///< of the start's, the start being 1
};

struct ReportOption {
  std::string name, what, note;
  double kept = 0, reoptimised = 0;
  std::optional<double> share;
  double effort = 0;
};

struct ReportPair {
  std::string a, b;
  double together = 0;
};

struct SensitivityStrip {
  std::string axis;  ///< in words
  struct Point {
    double amount = 0;
    std::string amount_text, label;
    std::optional<double> mfu;
  };
  std::vector<Point> points;
  double today = 0;
  std::vector<std::string> sentences;
};

struct WinnerMap {
  std::string x_axis, y_axis;
  struct Cell {
    std::string x, y, label;
    std::optional<double> mfu;
  };
  std::vector<Cell> cells;
};

struct FrontierPoint {
  std::string recompute;
  int model_parallel = 1;       ///< tp x pp
  int largest_micro_batch = 0;  ///< that fits; 0: none does
};

struct PrecisionReport {
  std::string verdict;
  std::string first, second;  ///< names of the precisions
  struct Step {
    std::int64_t step = 0;
    double first = 0, second = 0, gap = 0;
  };
  std::vector<Step> steps;
};

/// What the page may plan anew: documents of src/what_if, which only its script reads.
struct WhatIfReport {
  std::string basis, controls, answer;  ///< JSON; the answer is the report's own plan
  /// Keys of what may be changed, "devices", and what they are in the report, "128".
  std::vector<std::pair<std::string, std::string>> settings;
};

/// The first screen.
struct Recommendation {
  std::string headline, detail;
  std::string gain, certainty, next;
  FigureKind kind = FigureKind::predicted;
};

struct ReportContent {
  Language language = Language::english;
  std::string title, subtitle;
  Recommendation recommendation;
  std::vector<ReportRow> rows;  ///< best first
  std::vector<HeatMap> heat_maps;
  std::optional<StackedBars> memory;  ///< GiB
  std::optional<StackedBars> time;    ///< seconds
  std::vector<Timeline> timelines;
  std::vector<ReportStep> steps;
  std::vector<ReportOption> options;
  std::vector<ReportPair> interactions;
  std::vector<SensitivityStrip> sensitivity;
  std::optional<WinnerMap> map;
  std::vector<FrontierPoint> frontier;
  std::optional<PrecisionReport> precision;
  std::optional<WhatIfReport> what_if;  ///< of the page alone
  std::vector<std::pair<std::string, std::string>> provenance;
};

/// One HTML document that needs nothing but itself.
std::string report_html(const ReportContent& content);
/// The same content for other programs and other documents.
std::string report_markdown(const ReportContent& content);
std::string report_csv(const ReportContent& content);
std::string report_json(const ReportContent& content);
/// report_json with its rows by column and without what only the page's texts say: less than half.
std::string page_data_json(const ReportContent& content);

}  // namespace kumihimo

#pragma once

#include "report/report_content.hpp"

namespace kumihimo::testing {

/// A report with something in every section, all of whose free texts are `text`.
inline ReportContent report_full_of(const std::string& text,
                                    Language language = Language::english) {
  ReportContent content;
  content.language = language;
  content.title = content.subtitle = text;
  content.recommendation = {text, text, text, text, text, FigureKind::measured};
  for (const FigureKind kind :
       {FigureKind::measured, FigureKind::emulated, FigureKind::predicted, FigureKind::quoted}) {
    ReportRow row;
    row.kind = kind;
    row.study = row.model = row.state = row.schedule = row.recompute = text;
    row.zero = row.attention = row.norm = row.precision = row.layout = row.reason = text;
    row.mfu = 0.5;
    row.step_s = 2.5;
    row.predicted_step_s = 2.0;
    content.rows.push_back(row);
  }
  content.heat_maps = {{"tp_pp", {{"1", "2", 0.5, text}, {"2", "2", std::nullopt, text}}}};
  content.memory = StackedBars{{text, "b"}, {{text, {1, 2}}}, 4};
  content.time = StackedBars{{text, "b"}, {{text, {1, 2}}}, std::nullopt};
  content.timelines = {{text, 2, 3, 3, 0.1, {{0, 0, 0, 0, 1}, {1, 1, 0, 1, 3}}}};
  content.steps = {{text, text, text, text, text, text, 0.2, 0.4, 1, 2}};
  content.options = {{text, text, text, 0.1, 0.2, 0.15, 3}, {"other", text, text, 0, 0, {}, 1}};
  content.interactions = {{text, "other", 0.05}};
  content.sensitivity = {{text, {{1, text, text, 0.5}, {2, text, text, {}}}, 1, {text}}};
  content.map = WinnerMap{text, text, {{text, text, text, 0.5}}};
  content.frontier = {{text, 1, 4}, {text, 2, 8}};
  content.precision = PrecisionReport{text, text, "fp8", {{1, 5.5, 5.6, 0.01}, {2, 5, 5, 0}}};
  // Its documents are another folder's JSON; names in them are anyone's.
  const std::string json = text.find('<') == 0 ? "{\"name\":\"<script>alert(1)</script>\"}" : "{}";
  content.what_if = WhatIfReport{json, "[]", json, {{"devices", text}}};
  content.provenance = {{text, text}};
  return content;
}

}  // namespace kumihimo::testing

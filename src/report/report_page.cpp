// The page, from top to bottom. Everything that a reader needs is there before any script runs:
// headings, sentences, still charts, tables. The script replaces charts by its own and makes the
// table of layouts filterable.
#include <algorithm>
#include <fmt/format.h>

#include "report/embedded_page.hpp"
#include "report/html_text.hpp"
#include "report/report_content.hpp"
#include "report/report_tables.hpp"
#include "report/svg_chart.hpp"

namespace kumihimo {
namespace {

/// The page may fetch nothing, whatever stands in it. Its planner is a worker made of its own
/// script.
constexpr std::string_view policy =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline' 'wasm-unsafe-eval'; "
    "worker-src blob:; img-src data: blob:";

class PageWriter {
 public:
  explicit PageWriter(const ReportContent& content) : content_(content) {}

  std::string write() const {
    std::string body = answer() + contents() + steps() + layouts() + what_if() + agreement() +
                       heat_maps() + memory() + time() + timelines() + options() + interactions() +
                       sensitivity() + winner_map() + frontier() + precision() + provenance();
    return head() + "<main id=\"main\">\n" + body + "</main>\n" + scripts() + "</body></html>\n";
  }

 private:
  template <class... Values>
  std::string say(std::string_view key, const Values&... values) const {
    return text_of(content_.language, key, values...);
  }
  template <class... Values>
  std::string html(std::string_view key, const Values&... values) const {
    return html_text(say(key, values...));
  }

  /// Below the first screen: a reader in a hurry needs the recommendation, not a list.
  std::string contents() const {
    std::string links;
    for (const auto& [id, key] : sections()) {
      links += fmt::format("<li><a href=\"#{}\">{}</a></li>", id, html(key));
    }
    return fmt::format("<nav aria-label=\"{}\"><ul>{}</ul></nav>\n", html("page.contents"), links);
  }

  std::string head() const {
    return fmt::format(
        "<!doctype html>\n<html lang=\"{}\"><head><meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n"
        "<meta name=\"color-scheme\" content=\"light dark\">\n"
        "<title>{}</title>\n<style>\n{}</style></head>\n<body>\n"
        "<a class=\"skip\" href=\"#answer\">{}</a>\n"
        "<header><p class=\"brand\">Kumihimo 組紐</p><h1>{}</h1><p class=\"subtitle\">{}</p>"
        "</header>\n",
        to_string(content_.language), policy, html_text(content_.title), page_style(),
        html("page.skip"), html_text(content_.title), html_text(content_.subtitle));
  }

  std::vector<std::pair<std::string_view, std::string_view>> sections() const {
    std::vector<std::pair<std::string_view, std::string_view>> all{{"answer", "page.answer"}};
    const auto add = [&](bool present, std::string_view id, std::string_view key) {
      if (present) all.emplace_back(id, key);
    };
    add(!content_.steps.empty(), "steps", "page.steps");
    add(!content_.rows.empty(), "layouts", "page.layouts");
    add(content_.what_if.has_value(), "what_if", "page.what_if");
    add(has_agreement(), "agreement", "page.agreement");
    for (const HeatMap& map : content_.heat_maps) {
      add(true, map.key, map.key == "tp_pp" ? "page.map.tp_pp" : "page.map.mb_recompute");
    }
    add(content_.memory.has_value(), "memory", "page.memory");
    add(content_.time.has_value(), "time", "page.time");
    add(!content_.timelines.empty(), "timeline", "page.timeline");
    add(!content_.options.empty(), "options", "page.options");
    add(!content_.interactions.empty(), "interactions", "page.interactions");
    add(!content_.sensitivity.empty(), "sensitivity", "page.sensitivity");
    add(content_.map.has_value(), "map", "page.map");
    add(!content_.frontier.empty(), "frontier", "page.frontier");
    add(content_.precision.has_value(), "precision", "page.precision_title");
    add(!content_.provenance.empty(), "provenance", "page.provenance");
    return all;
  }

  bool has_agreement() const {
    return std::ranges::any_of(content_.rows, [](const ReportRow& row) {
      return row.kind != FigureKind::predicted && row.step_s && row.predicted_step_s;
    });
  }

  std::string badge(FigureKind kind) const {
    return fmt::format("<span class=\"kind {}\">{}</span>", key_of(kind),
                       html(fmt::format("page.{}", key_of(kind))));
  }

  std::string legend() const {
    std::string text = fmt::format("<p class=\"legend\">{}: ", html("page.kinds"));
    for (const FigureKind kind :
         {FigureKind::measured, FigureKind::emulated, FigureKind::predicted, FigureKind::quoted}) {
      text += badge(kind) + " ";
    }
    return text + "</p>\n";
  }

  std::string answer() const {
    const Recommendation& r = content_.recommendation;
    const auto card = [&](std::string_view key, const std::string& text) {
      return fmt::format("<div class=\"card\"><h3>{}</h3><p>{}</p></div>", html(key),
                         html_text(text));
    };
    std::string text = fmt::format(
        "<section id=\"answer\" tabindex=\"-1\"><h2>{}</h2><p class=\"headline\">{} {}</p>"
        "<p class=\"detail\">{}</p><div class=\"cards\">{}{}{}</div>",
        html("page.answer"), html_text(r.headline), badge(r.kind), html_text(r.detail),
        card("page.gain", r.gain), card("page.certainty", r.certainty), card("page.next", r.next));
    text += legend();
    if (page_script().empty()) {
      text += fmt::format("<p class=\"note\">{}</p>", html("page.static"));
    } else {
      text += fmt::format("<noscript><p class=\"note\">{}</p></noscript>",
                          html("page.no_script", rows_without_script));
    }
    return text + "</section>\n";
  }

  /// A section with a chart and its data. `chart` names what the script draws there.
  std::string section(std::string_view id, std::string_view title_key, std::string_view note,
                      const std::string& still, const HtmlTable& table,
                      const std::string& more = "") const {
    return fmt::format(
        "<section id=\"{0}\"><h2>{1}</h2><p>{2}</p>{3}<figure><div class=\"chart\" "
        "data-chart=\"{0}\">{4}</div></figure><details class=\"data\"><summary>{5}</summary>"
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{1}\">{6}</div>"
        "</details></section>\n",
        id, html(title_key), html_text(note), more, still, html("page.data"),
        to_html(table, say(title_key)));
  }

  std::string layouts() const {
    if (content_.rows.empty()) return "";
    return fmt::format(
        "<section id=\"layouts\"><h2>{0}</h2><p>{1}</p><div id=\"filters\"></div><figure>"
        "<div class=\"chart\" data-chart=\"layouts\">{2}</div></figure>"
        "<div id=\"table\" class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\">{3}"
        "</div></section>\n",
        html("page.layouts"), html("page.layouts_note"), mfu_bars_svg(content_, 12),
        to_html(rows_table(content_, rows_without_script), say("page.layouts")));
  }

  /// The settings as they were planned; the script puts its controls in their place.
  std::string what_if() const {
    if (!content_.what_if) return "";
    HtmlTable table{{say("page.what_if_settings"), say("page.value")}, {false, true}, {}};
    for (const auto& [key, value] : content_.what_if->settings) {
      table.rows.push_back({say("page.what_if." + key), value});
    }
    return fmt::format(
        "<section id=\"what_if\"><h2>{}</h2><p>{}</p>{}<div id=\"what_if_place\">{}</div>"
        "</section>\n",
        html("page.what_if"), html("page.what_if_note"), what_if_obstacle(),
        to_html(table, say("page.what_if")));
  }

  std::string what_if_obstacle() const {
    if (page_script().empty() || page_planner().empty()) {
      return fmt::format("<p class=\"note\">{}</p>", html("page.what_if_missing"));
    }
    return fmt::format("<noscript><p class=\"note\">{}</p></noscript>",
                       html("page.what_if_script"));
  }

  std::string agreement() const {
    if (!has_agreement()) return "";
    return section("agreement", "page.agreement", say("page.agreement_note"),
                   agreement_svg(content_), agreement_table(content_));
  }

  std::string heat_maps() const {
    std::string text;
    for (const HeatMap& map : content_.heat_maps) {
      text += section(map.key, fmt::format("page.map.{}", map.key), say("page.map_note"),
                      to_html(heat_grid(map, content_), say(fmt::format("page.map.{}", map.key))),
                      heat_table(map, content_));
    }
    return text;
  }

  std::string memory() const {
    if (!content_.memory) return "";
    return section("memory", "page.memory", say("page.memory_note"),
                   stacked_bars_svg(*content_.memory, say("page.memory"), "GiB"),
                   stacked_table(*content_.memory, content_));
  }

  std::string time() const {
    if (!content_.time) return "";
    return section("time", "page.time", say("page.time_note"),
                   stacked_bars_svg(*content_.time, say("page.time"), "s"),
                   stacked_table(*content_.time, content_));
  }

  std::string timelines() const {
    if (content_.timelines.empty()) return "";
    std::string still;
    for (const Timeline& timeline : content_.timelines) {
      const std::string caption = timeline_caption(timeline, content_.language);
      still += fmt::format("<p class=\"caption\">{}</p>{}", html_text(caption),
                           timeline_svg(timeline, caption));
    }
    return section("timeline", "page.timeline", say("page.timeline_note"), still,
                   timeline_table(content_));
  }

  std::string steps() const {
    if (content_.steps.empty()) return "";
    return section("steps", "page.steps", say("page.steps_note"),
                   waterfall_svg(content_, say("page.steps")), steps_table(content_),
                   "<ol class=\"steps\">" + step_items() + "</ol>");
  }

  std::string step_items() const {
    std::string items;
    for (const ReportStep& step : content_.steps) {
      items += fmt::format("<li><strong>{}</strong> {}<br><span>{}</span><br><code>{}</code></li>",
                           html_text(step.name), html_text(step.what), html_text(step.gain),
                           html_text(step.layout));
    }
    return items;
  }

  std::string options() const {
    if (content_.options.empty()) return "";
    return section("options", "page.options", say("page.options_note"),
                   to_html(options_table(content_), say("page.options")), options_table(content_));
  }

  std::string interactions() const {
    if (content_.interactions.empty()) return "";
    const HtmlTable table = interactions_table(content_);
    return section("interactions", "page.interactions", say("page.interactions_note"),
                   to_html(table, say("page.interactions")), table);
  }

  std::string sensitivity() const {
    if (content_.sensitivity.empty()) return "";
    std::string sentences = "<ul>";
    for (const SensitivityStrip& strip : content_.sensitivity) {
      for (const std::string& sentence : strip.sentences) {
        sentences += fmt::format("<li>{}</li>", html_text(sentence));
      }
    }
    return section("sensitivity", "page.sensitivity", say("page.sensitivity_note"), "",
                   sensitivity_table(content_), sentences + "</ul>");
  }

  std::string winner_map() const {
    if (!content_.map) return "";
    return section("map", "page.map", say("page.map_winner_note"),
                   to_html(winner_grid(*content_.map), say("page.map")), winner_table(content_));
  }

  std::string frontier() const {
    if (content_.frontier.empty()) return "";
    const HtmlTable table = frontier_table(content_);
    return section("frontier", "page.frontier", say("page.frontier_note"),
                   to_html(table, say("page.frontier")), table);
  }

  std::string precision() const {
    if (!content_.precision) return "";
    return section("precision", "page.precision_title", content_.precision->verdict, "",
                   precision_table(content_));
  }

  std::string provenance() const {
    if (content_.provenance.empty()) return "";
    std::string list;
    for (const auto& [what, value] : content_.provenance) {
      list += fmt::format("<dt>{}</dt><dd>{}</dd>", html_text(what), html_text(value));
    }
    return fmt::format("<section id=\"provenance\"><h2>{}</h2><dl>{}</dl></section>\n",
                       html("page.provenance"), list);
  }

  /// A script element that holds data. Within it only "<" could end it or begin a comment.
  static std::string data_element(std::string_view id, std::string_view json) {
    std::string text = fmt::format("<script type=\"application/json\" id=\"{}\">", id);
    for (const char c : json) {
      if (c == '<') {
        text += "\\u003c";
      } else {
        text += c;
      }
    }
    return text + "</script>\n";
  }

  std::string planner() const {
    if (!content_.what_if || page_planner().empty()) return "";
    const WhatIfReport& what_if = *content_.what_if;
    return data_element("what_if_data",
                        fmt::format("{{\"basis\":{},\"controls\":{},\"answer\":{}}}", what_if.basis,
                                    what_if.controls, what_if.answer)) +
           fmt::format("<script type=\"text/plain\" id=\"planner\">{}</script>\n", page_planner());
  }

  std::string scripts() const {
    if (page_script().empty()) return "";
    return data_element("data", page_data_json(content_)) + planner() +
           fmt::format("<script>{}</script>\n", page_script());
  }

  const ReportContent& content_;
};

}  // namespace

std::string report_html(const ReportContent& content) { return PageWriter(content).write(); }

}  // namespace kumihimo

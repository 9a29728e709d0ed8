// The page's script: replaces the still charts by ones that can be pointed at, and makes the table
// of layouts filterable and sortable. All texts of a study are set as text, never as markup.
import { charts } from "./charts.js";
import { setUpLayouts } from "./layouts.js";
import { rowsOf } from "./rows.js";
import { addSaveButtons } from "./save.js";
import { setUpWhatIf } from "./what_if.js";

const data = JSON.parse(document.getElementById("data").textContent);

function render(only) {
  for (const place of document.querySelectorAll(".chart[data-chart]")) {
    const name = place.dataset.chart;
    if (only && name !== only) continue;
    const draw = charts[name];
    if (!draw) continue;
    const chart = draw(data, Math.max(280, place.clientWidth || 720));
    if (chart) place.replaceChildren(...[chart].flat());
    for (const svg of place.querySelectorAll("svg[aria-label]")) describe(svg);
  }
}

/// A drawing is one image with a name; its data stands in the table beside it. The library names the
/// groups within, which have no role that could carry a name.
function describe(svg) {
  svg.setAttribute("role", "img");
  for (const group of svg.querySelectorAll("g[aria-label]")) {
    group.dataset.mark = group.getAttribute("aria-label");
    group.removeAttribute("aria-label");
    group.removeAttribute("aria-description");
  }
}

data.rows = rowsOf(data.rows);
// The table first: it decides which rows the charts show.
data.shown = data.rows;
setUpLayouts(data, () => render("layouts"));
render();
for (const place of document.querySelectorAll(".chart[data-chart]")) addSaveButtons(place, data.texts);
setUpWhatIf(data);

let width = window.innerWidth;
let waiting = 0;
window.addEventListener("resize", () => {
  if (window.innerWidth === width) return;
  width = window.innerWidth;
  clearTimeout(waiting);
  waiting = setTimeout(() => render(), 150);
});
for (const query of ["(prefers-color-scheme: dark)", "print"]) {
  window.matchMedia(query).addEventListener("change", () => render());
}

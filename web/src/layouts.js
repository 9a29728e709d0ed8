// The table of layouts: filters, sorting by a heading, and the link to its chart.
import { percent, seconds } from "./figures.js";

const marks = { measured: "●", emulated: "◆", predicted: "○", quoted: "▲" };
const rowsAtFirst = 100;

const columns = [
  { key: "kind", text: (row, texts) => `${marks[row.kind]} ${texts[row.kind]}` },
  { key: "model" },
  { key: "gpus", number: true },
  { key: "state" },
  { key: "tp", number: true },
  { key: "pp", number: true },
  { key: "dp", number: true },
  { key: "micro_batch", number: true },
  { key: "schedule" },
  { key: "recompute" },
  { key: "sequence_parallel" },
  { key: "zero", number: true },
  { key: "attention" },
  { key: "norm" },
  { key: "precision" },
  { key: "mfu", number: true, text: (row) => percent(row.mfu) },
  { key: "step_s", title: "step", number: true, text: (row) => seconds(row.step_s) },
  { key: "memory_gib", title: "memory_column", number: true, text: (row) => (row.memory_gib === null ? "" : `${+row.memory_gib.toPrecision(3)} GiB`) },
  { key: "study" },
  { key: "reason" },
];
const filtered = ["model", "gpus", "kind", "state", "tp", "pp", "micro_batch", "recompute", "attention", "study"];

const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};

function compare(a, b, key, up) {
  const x = a[key];
  const y = b[key];
  if (x === y) return 0;
  // What is not known stands last, whichever way.
  if (x === null || x === "") return 1;
  if (y === null || y === "") return -1;
  const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), undefined, { numeric: true });
  return up ? order : -order;
}

/// Fills #filters and #table; calls `changed` when data.shown is another set of rows.
export function setUpLayouts(data, changed) {
  const { texts } = data;
  const place = document.getElementById("table");
  const filters = document.getElementById("filters");
  if (!place || !filters) return;
  const wanted = { text: "" };
  let sort = { key: "mfu", up: false };
  let limit = rowsAtFirst;

  const form = element("form", { className: "filters" });
  form.setAttribute("aria-label", texts.filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const key of filtered) {
    const values = [...new Set(data.rows.map((row) => row[key]))].sort((a, b) =>
      typeof a === "number" ? a - b : String(a).localeCompare(String(b)),
    );
    if (values.length < 2 || values.length > 200) continue;
    const select = element("select", { name: key });
    select.append(element("option", { value: "", textContent: texts.all }));
    values.forEach((value, i) =>
      select.append(element("option", { value: String(i), textContent: key === "kind" ? texts[value] : String(value).slice(0, 60) })),
    );
    select.addEventListener("change", () => {
      wanted[key] = select.value === "" ? undefined : values[Number(select.value)];
      apply();
    });
    form.append(element("label", {}, texts[key] ?? key, select));
  }
  const search = element("input", { type: "search", name: "text" });
  search.addEventListener("input", () => {
    wanted.text = search.value.toLowerCase();
    apply();
  });
  form.append(element("label", {}, texts.filter_text, search));
  const reset = element("button", { type: "button", className: "plain", textContent: texts.reset });
  reset.addEventListener("click", () => {
    form.reset();
    for (const key of Object.keys(wanted)) wanted[key] = key === "text" ? "" : undefined;
    apply();
  });
  form.append(reset);
  const count = element("p", { className: "count" });
  count.setAttribute("role", "status");
  filters.replaceChildren(form, count);

  // Columns in which every row says the same, or nothing, tell nothing.
  const used = columns.filter(
    ({ key }) => ["kind", "tp", "pp", "dp", "micro_batch", "mfu", "step_s"].includes(key) || new Set(data.rows.map((row) => row[key] ?? "")).size > 1,
  );
  const table = element("table");
  table.append(element("caption", { textContent: texts.layouts }));
  const heading = element("tr");
  const headings = used.map(({ key, title, number }) => {
    const button = element("button", { type: "button", textContent: texts[title ?? key] ?? key });
    const cell = element("th", { scope: "col", className: number ? "n" : "" }, button);
    button.addEventListener("click", () => {
      sort = { key, up: sort.key === key ? !sort.up : !number };
      apply();
    });
    heading.append(cell);
    return { key, cell };
  });
  const body = element("tbody");
  table.append(element("thead", {}, heading), body);
  const more = element("button", { type: "button", className: "plain", textContent: texts.show_more });
  more.addEventListener("click", () => {
    limit += 500;
    fill();
  });
  place.replaceChildren(table);
  place.after(more);

  function fill() {
    const lines = data.shown.slice(0, limit).map((row) => {
      const line = element("tr", { title: row.layout });
      for (const { key, number, text } of used) {
        const value = text ? text(row, texts) : row[key] ?? "";
        const cell = element("td", { className: number ? "n" : "", textContent: String(value) });
        if (String(value).length > 40) cell.title = String(value);
        line.append(cell);
      }
      return line;
    });
    body.replaceChildren(...lines);
    more.hidden = data.shown.length <= limit;
    count.textContent = texts.rows_shown.replace("{0}", data.shown.length).replace("{1}", data.rows.length);
  }

  function apply() {
    data.shown = data.rows
      .filter(
        (row) =>
          filtered.every((key) => wanted[key] === undefined || row[key] === wanted[key]) &&
          (wanted.text === "" || `${row.layout}\n${row.study}\n${row.model}\n${row.reason}`.toLowerCase().includes(wanted.text)),
      )
      .sort((a, b) => compare(a, b, sort.key, sort.up));
    for (const { key, cell } of headings) {
      if (key === sort.key) cell.setAttribute("aria-sort", sort.up ? "ascending" : "descending");
      else cell.removeAttribute("aria-sort");
    }
    limit = rowsAtFirst;
    fill();
    changed();
  }
  apply();
}

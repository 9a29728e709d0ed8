// How figures look in text and in colour.

export const kinds = ["measured", "emulated", "predicted", "quoted"];
const symbols = { measured: "circle", emulated: "diamond", predicted: "circle", quoted: "triangle" };
export const kindSymbol = (kind) => symbols[kind];
export const kindColour = (kind) => `var(--${kind})`;
export const colour = (i) => `var(--p${i % 13})`;

export const percent = (share) => (share === null || share === undefined ? "" : `${(100 * share).toFixed(1)} %`);
export const seconds = (value) => {
  if (value === null || value === undefined) return "";
  return value >= 1 ? `${+value.toPrecision(4)} s` : `${+(1000 * value).toPrecision(4)} ms`;
};
export const label = (row) =>
  `tp ${row.tp} · pp ${row.pp} · dp ${row.dp} · mb ${row.micro_batch}${row.cp > 1 ? ` · cp ${row.cp}` : ""}`;

const paths = {
  circle: "M7 1.5a5.5 5.5 0 1 0 .01 0z",
  diamond: "M7 0l7 7l-7 7l-7 -7z",
  triangle: "M7 1l6.5 12h-13z",
  square: "M1 1h12v12h-12z",
};

/// A legend: a list of marks with their names. `look(item)` gives fill, stroke and shape.
export function swatches(items, name, look) {
  const list = document.createElement("ul");
  list.className = "swatches";
  for (const item of items) {
    const { fill, stroke, shape } = look(item);
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 14 14");
    svg.setAttribute("aria-hidden", "true");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", paths[shape] ?? paths.square);
    path.style.fill = fill;
    path.style.stroke = stroke ?? fill;
    path.style.strokeWidth = "1.5";
    svg.append(path);
    const entry = document.createElement("li");
    entry.append(svg, document.createTextNode(name(item)));
    list.append(entry);
  }
  return list;
}

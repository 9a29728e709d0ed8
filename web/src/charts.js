// One function for each chart: (data, width) -> elements. Names are those of data-chart.
import * as Plot from "@observablehq/plot";
import { kinds, kindColour, kindSymbol, colour, percent, seconds, swatches, label } from "./figures.js";

const base = (data, width, title, more) => ({
  width,
  marginLeft: 60,
  marginBottom: 44,
  style: { background: "none", color: "var(--ink)", fontSize: "12px", overflow: "visible" },
  ariaLabel: title,
  ...more,
});

const kindScales = (rows) => ({
  color: { domain: kinds, range: kinds.map(kindColour) },
  symbol: { domain: kinds, range: kinds.map(kindSymbol) },
});

const kindLegend = (rows, texts) =>
  swatches(
    kinds.filter((kind) => rows.some((row) => row.kind === kind)),
    (kind) => texts[kind],
    (kind) => ({ fill: kind === "predicted" ? "none" : kindColour(kind), stroke: kindColour(kind), shape: kindSymbol(kind) }),
  );

function rowTip(row, texts) {
  return [
    `${label(row)} · ${texts[row.kind]}`,
    `${texts.mfu} ${percent(row.mfu)} · ${seconds(row.step_s)}`,
    `${texts.recompute} ${row.recompute} · ${row.attention} · ${row.norm}`,
    `${row.model}, ${texts.gpus} ${row.gpus}`,
    row.study,
  ]
    .filter(Boolean)
    .join("\n");
}

/// Room for names beside a chart: what the longest needs, at most two fifths of the width.
const labelRoom = (names, width) => Math.min(0.4 * width, 24 + 7 * Math.max(...names.map((name) => name.length)));

/// Names that are longer than their room end in "…".
const nameAxis = (width) => Plot.axisY({ label: null, tickSize: 0, textOverflow: "ellipsis", lineWidth: (0.4 * width - 16) / 12 });

/// Dots never hide their kind: shape and colour, hollow for what nobody measured.
const kindDots = (rows, x, y, texts) =>
  Plot.dot(rows, {
    x,
    y,
    stroke: "kind",
    fill: (row) => (row.kind === "predicted" ? "var(--paper)" : kindColour(row.kind)),
    symbol: "kind",
    r: rows.length > 300 ? 3 : 5,
    strokeWidth: 1.5,
    title: (row) => rowTip(row, texts),
    tip: true,
  });

function layouts(data, width) {
  const { texts } = data;
  const rows = data.shown.filter((row) => row.mfu !== null);
  if (rows.length === 0) return [document.createTextNode("")];
  const best = new Map();
  for (const row of rows) {
    const name = `tp ${row.tp} · pp ${row.pp}`;
    best.set(name, Math.max(best.get(name) ?? 0, row.mfu));
  }
  const names = [...best].sort((a, b) => b[1] - a[1]).slice(0, 24).map(([name]) => name);
  const kept = new Set(names);
  const drawn = rows.filter((row) => kept.has(`tp ${row.tp} · pp ${row.pp}`));
  return [
    kindLegend(drawn, texts),
    Plot.plot({
      ...base(data, width, texts.layouts, { marginLeft: 90, marginRight: 20 }),
      height: 60 + 26 * names.length,
      x: { label: `${texts.mfu} (%) →`, grid: true, percent: true, zero: false, nice: true },
      y: { type: "point", domain: names, label: null },
      ...kindScales(drawn),
      marks: [
        Plot.gridY({ stroke: "var(--line)" }),
        kindDots(drawn, "mfu", (row) => `tp ${row.tp} · pp ${row.pp}`, texts),
      ],
    }),
  ];
}

function agreement(data, width) {
  const { texts } = data;
  const rows = data.rows.filter(
    (row) => row.kind !== "predicted" && row.step_s > 0 && row.predicted_step_s > 0,
  );
  if (rows.length === 0) return null;
  const all = rows.flatMap((row) => [row.step_s, row.predicted_step_s]);
  const domain = [Math.min(...all) / 1.15, Math.max(...all) * 1.15];
  const size = Math.min(width, 520);
  const axis = { type: "log", domain, grid: true, tickFormat: (value) => `${+value.toPrecision(3)}` };
  return [
    kindLegend(rows, texts),
    Plot.plot({
      ...base(data, size, texts.agreement),
      height: size,
      x: { ...axis, label: `${texts.predicted_step} (s) →` },
      y: { ...axis, label: `↑ ${texts.measured_step} (s)` },
      ...kindScales(rows),
      marks: [
        Plot.line([domain, domain].map((_, i) => [domain[i], domain[i]]), {
          stroke: "var(--soft)",
          strokeDasharray: "4,4",
        }),
        kindDots(rows, "predicted_step_s", "step_s", texts),
      ],
    }),
  ];
}

const heat = (key) => (data, width) => {
  const { texts } = data;
  const map = data.heat_maps.find((one) => one.key === key);
  if (!map) return null;
  const inOrder = (values) => [...new Set(values)].sort((a, b) => a - b || 0);
  const xs = inOrder(map.cells.map((cell) => cell.x));
  const ys = inOrder(map.cells.map((cell) => cell.y));
  const cells = map.cells.filter((cell) => cell.mfu !== null);
  const least = Math.min(...cells.map((cell) => cell.mfu));
  const most = Math.max(...cells.map((cell) => cell.mfu));
  return Plot.plot({
    ...base(data, Math.min(width, 90 + 78 * xs.length), texts[`map.${key}`], { marginLeft: 80 }),
    height: 70 + 34 * ys.length,
    x: { type: "band", domain: xs, label: `${texts[`x.${key}`]} →` },
    y: { type: "band", domain: ys, label: texts[`y.${key}`] },
    color: { type: "linear", domain: [least, most], range: ["var(--card)", "var(--p0)"], interpolate: (a, b) => (t) => `color-mix(in srgb, ${b} ${Math.round(100 * t)}%, ${a})` },
    marks: [
      Plot.cell(cells, { x: "x", y: "y", fill: "mfu", inset: 1, title: (cell) => `${percent(cell.mfu)}\n${cell.note}`, tip: true }),
      Plot.cell(map.cells.filter((cell) => cell.mfu === null), { x: "x", y: "y", stroke: "var(--line)", fill: "none", inset: 1 }),
      Plot.text(cells, {
        x: "x",
        y: "y",
        text: (cell) => (100 * cell.mfu).toFixed(1),
        fill: "var(--ink)",
        stroke: "var(--paper)",
        strokeWidth: 3,
      }),
    ],
  });
};

function stacked(bars, data, width, title, unit) {
  if (!bars) return null;
  const flat = bars.bars.flatMap((bar, row) =>
    bar.parts.map((value, i) => ({ bar: bar.label, row, part: bars.part_names[i], value })),
  );
  const used = bars.part_names.filter((name) => flat.some((one) => one.part === name && one.value > 0));
  const place = new Map(bars.part_names.map((name, i) => [name, i]));
  return [
    swatches(used, (name) => name, (name) => ({ fill: colour(place.get(name)), shape: "square" })),
    Plot.plot({
      ...base(data, width, title, { marginLeft: width < 520 ? 10 : 250, marginRight: 30, marginTop: width < 520 ? 24 : 16 }),
      height: 60 + (width < 520 ? 46 : 32) * bars.bars.length,
      x: { label: `${unit} →`, grid: true },
      y: { label: null, axis: width < 520 ? null : "left", domain: bars.bars.map((bar) => bar.label), padding: width < 520 ? 0.5 : 0.2 },
      color: { domain: bars.part_names, range: bars.part_names.map((_, i) => colour(i)) },
      marks: [
        Plot.barX(flat, {
          x: "value",
          y: "bar",
          fill: "part",
          title: (one) => `${one.bar}\n${one.part}: ${+one.value.toPrecision(3)} ${unit}`,
          tip: true,
        }),
        ...(width < 520
          ? [Plot.text(bars.bars, { x: 0, y: "label", text: "label", textAnchor: "start", dy: -16, fill: "var(--ink)" })]
          : []),
        ...(bars.limit ? [Plot.ruleX([bars.limit], { stroke: "var(--accent)", strokeWidth: 2 })] : []),
      ],
    }),
  ];
}

function timeline(data, width) {
  const { texts } = data;
  const names = [texts.forward, texts.backward, texts.weight];
  const fills = ["var(--p0)", "var(--p7)", "var(--p3)"];
  const parts = data.timelines.flatMap((one) => {
    const caption = document.createElement("p");
    caption.className = "caption";
    caption.textContent = one.caption;
    const ranks = Math.min(one.ranks, 32);
    const spans = one.spans.filter((span) => span[0] < ranks);
    return [
      caption,
      Plot.plot({
        ...base(data, width, one.caption, { marginLeft: 50 }),
        height: 50 + 18 * ranks,
        x: { label: `${texts.seconds} →`, domain: [0, one.shown_s] },
        y: { type: "band", label: texts.rank, domain: [...Array(ranks).keys()] },
        marks: [
          Plot.barX(spans, {
            x1: (span) => span[3],
            x2: (span) => Math.min(span[4], one.shown_s),
            y: (span) => span[0],
            fill: (span) => fills[span[1]],
            insetLeft: 0.3,
            insetRight: 0.3,
            title: (span) => `${names[span[1]]} ${span[2]}: ${seconds(span[4] - span[3])}`,
            tip: spans.length < 1500,
          }),
        ],
      }),
    ];
  });
  const used = names.filter((_, i) => data.timelines.some((one) => one.spans.some((span) => span[1] === i)));
  return [swatches(used, (name) => name, (name) => ({ fill: fills[names.indexOf(name)], shape: "square" })), ...parts];
}

function steps(data, width) {
  if (data.steps.length === 0) return null;
  const { texts } = data;
  const first = data.steps[0].speed_before;
  const rows = [
    { name: texts.start, from: 0, to: first, tip: texts.start },
    ...data.steps.map((step) => ({
      name: step.name,
      from: step.speed_before,
      to: step.speed_after,
      tip: `${step.name}\n${step.gain}\n${step.cost}`,
    })),
  ];
  return Plot.plot({
    ...base(data, width, texts.steps, { marginLeft: labelRoom(rows.map((row) => row.name), width), marginRight: 56 }),
    height: 50 + 32 * rows.length,
    x: { label: `${texts.speed} (×) →`, grid: true },
    y: { domain: rows.map((row) => row.name), label: null, axis: null },
    marks: [
      nameAxis(width),
      Plot.barX(rows, {
        x1: "from",
        x2: "to",
        y: "name",
        fill: (row) => (row.from === 0 ? "var(--p9)" : "var(--predicted)"),
        title: "tip",
        tip: true,
      }),
      Plot.text(rows, { x: "to", y: "name", text: (row) => `${row.to.toFixed(2)}×`, textAnchor: "start", dx: 5, fill: "var(--ink)" }),
      Plot.ruleX([0]),
    ],
  });
}

function options(data, width) {
  const { texts } = data;
  const flat = data.options.flatMap((option) => [
    { name: option.name, which: texts.kept, gain: option.kept, option },
    { name: option.name, which: texts.reoptimised, gain: option.reoptimised, option },
  ]);
  return [
    swatches([texts.kept, texts.reoptimised], (name) => name, (name) => ({
      fill: name === texts.kept ? "none" : "var(--p0)",
      stroke: "var(--p0)",
      shape: "circle",
    })),
    Plot.plot({
      ...base(data, width, texts.options, { marginLeft: labelRoom(data.options.map((option) => option.name), width), marginRight: 30 }),
      height: 50 + 26 * data.options.length,
      x: { label: `${texts.gain_column} (%) →`, grid: true, percent: true },
      y: { type: "point", domain: data.options.map((option) => option.name), label: null, axis: null },
      marks: [
        nameAxis(width),
        Plot.ruleX([0]),
        Plot.link(data.options, { x1: "kept", x2: "reoptimised", y: "name", stroke: "var(--line)", strokeWidth: 3 }),
        Plot.dot(flat, {
          x: "gain",
          y: "name",
          r: 5,
          stroke: "var(--p0)",
          fill: (one) => (one.which === texts.kept ? "var(--paper)" : "var(--p0)"),
          title: (one) => `${one.name}: ${one.which} ${percent(one.gain)}\n${one.option.what}\n${one.option.note}`,
          tip: true,
        }),
      ],
    }),
  ];
}

function interactions(data, width) {
  const { texts } = data;
  const pairs = data.interactions.filter((pair) => Math.abs(pair.together) >= 0.0005);
  if (pairs.length === 0) return null;
  const names = data.options.map((option) => option.name).filter((name) => pairs.some((pair) => pair.a === name || pair.b === name));
  const both = pairs.flatMap((pair) => [pair, { ...pair, a: pair.b, b: pair.a }]);
  const most = Math.max(...pairs.map((pair) => Math.abs(pair.together)));
  return Plot.plot({
    ...base(data, Math.min(width, 150 + 64 * names.length), texts.interactions, { marginLeft: 120, marginBottom: 80 }),
    height: 120 + 32 * names.length,
    x: { type: "band", domain: names, label: null, tickRotate: -35 },
    y: { type: "band", domain: names, label: null },
    marks: [
      Plot.cell(both, {
        x: "a",
        y: "b",
        inset: 1,
        fill: (pair) => `color-mix(in srgb, ${pair.together > 0 ? "var(--p0)" : "var(--p2)"} ${Math.round((70 * Math.abs(pair.together)) / most)}%, var(--card))`,
        title: (pair) => `${pair.a} × ${pair.b}: ${(100 * pair.together).toFixed(1)}`,
        tip: true,
      }),
      Plot.text(both, { x: "a", y: "b", text: (pair) => (100 * pair.together).toFixed(1), fill: "var(--ink)" }),
    ],
  });
}

function sensitivity(data, width) {
  const { texts } = data;
  return data.sensitivity.flatMap((strip) => {
    const points = strip.points.filter((point) => point.mfu !== null);
    if (points.length === 0) return [];
    const names = [...new Set(points.map((point) => point.layout))];
    const at = new Map(names.map((name, i) => [name, i]));
    // Octaves on a linear axis: a logarithmic one drops labels that are no powers of ten.
    const place = (amount) => Math.log2(amount / strip.today);
    const byPlace = new Map(points.map((point) => [place(point.amount), point.text]));
    const ticks = points.filter((_, i) => i % Math.ceil(points.length / (width < 520 ? 4 : 8)) === 0);
    return [
      Object.assign(document.createElement("p"), { className: "caption", textContent: strip.axis }),
      swatches(names, (name) => name, (name) => ({ fill: colour(at.get(name)), shape: ["circle", "square", "triangle", "diamond"][at.get(name) % 4] })),
      Plot.plot({
        ...base(data, width, strip.axis, { marginRight: 36 }),
        height: 190,
        x: { label: null, ticks: ticks.map((point) => place(point.amount)), tickFormat: (at) => byPlace.get(at) ?? "" },
        y: { label: `↑ ${texts.mfu} (%)`, percent: true, grid: true, nice: true },
        color: { domain: names, range: names.map((_, i) => colour(i)) },
        symbol: { domain: names, range: names.map((_, i) => ["circle", "square", "triangle", "diamond"][i % 4]) },
        marks: [
          Plot.ruleX([0], { stroke: "var(--soft)", strokeDasharray: "3,3" }),
          Plot.line(points, { x: (point) => place(point.amount), y: "mfu", stroke: "var(--line)" }),
          Plot.dot(points, {
            x: (point) => place(point.amount),
            y: "mfu",
            fill: "layout",
            stroke: "layout",
            symbol: "layout",
            r: 5,
            title: (point) => `${point.text}\n${point.layout}\n${percent(point.mfu)}`,
            tip: true,
          }),
        ],
      }),
    ];
  });
}

function map(data, width) {
  if (!data.map) return null;
  const { cells, x_axis, y_axis } = data.map;
  const xs = [...new Set(cells.map((cell) => cell.x))];
  const ys = [...new Set(cells.map((cell) => cell.y))].reverse();
  const drawn = cells.filter((cell) => cell.mfu !== null);
  const names = [...new Set(drawn.map((cell) => cell.layout))];
  const at = new Map(names.map((name, i) => [name, i]));
  const tint = (name) => `color-mix(in srgb, ${colour(at.get(name))} 45%, var(--paper))`;
  return [
    swatches(names, (name) => name, (name) => ({ fill: tint(name), stroke: colour(at.get(name)), shape: "square" })),
    Plot.plot({
      ...base(data, Math.min(width, 100 + 92 * xs.length), data.texts.map, { marginLeft: 90, marginBottom: 50 }),
      height: 90 + 34 * ys.length,
      x: { type: "band", domain: xs, label: `${x_axis} →`, tickRotate: width < 520 ? -45 : 0 },
      y: { type: "band", domain: ys, label: y_axis },
      marks: [
        Plot.cell(drawn, { x: "x", y: "y", inset: 1, fill: (cell) => tint(cell.layout), title: (cell) => `${cell.layout}\n${percent(cell.mfu)}`, tip: true }),
        Plot.cell(cells.filter((cell) => cell.mfu === null), { x: "x", y: "y", inset: 1, fill: "none", stroke: "var(--line)" }),
        Plot.text(drawn, { x: "x", y: "y", text: (cell) => (100 * cell.mfu).toFixed(1), fill: "var(--ink)" }),
      ],
    }),
  ];
}

function frontier(data, width) {
  const { texts } = data;
  const names = [...new Set(data.frontier.map((point) => point.recompute))];
  const at = new Map(names.map((name, i) => [name, i]));
  const shapes = ["circle", "square", "triangle"];
  return [
    swatches(names, (name) => `${texts.recompute} ${name}`, (name) => ({ fill: colour(at.get(name)), shape: shapes[at.get(name) % 3] })),
    Plot.plot({
      ...base(data, Math.min(width, 720), texts.frontier),
      height: 280,
      x: { type: "point", domain: [...new Set(data.frontier.map((point) => point.model_parallel))], label: `${texts.model_parallel} →` },
      y: { label: `↑ ${texts.largest_micro_batch}`, grid: true, nice: true },
      color: { domain: names, range: names.map((_, i) => colour(i)) },
      symbol: { domain: names, range: names.map((_, i) => shapes[i % 3]) },
      marks: [
        Plot.line(data.frontier, { x: "model_parallel", y: "largest_micro_batch", stroke: "recompute", strokeWidth: 2 }),
        Plot.dot(data.frontier, {
          x: "model_parallel",
          y: "largest_micro_batch",
          stroke: "recompute",
          fill: "recompute",
          symbol: "recompute",
          r: 5,
          title: (point) => `${texts.recompute} ${point.recompute}, ${texts.model_parallel} ${point.model_parallel}: ${point.largest_micro_batch}`,
          tip: true,
        }),
      ],
    }),
  ];
}

function precision(data, width) {
  const { precision, texts } = data;
  if (!precision || precision.steps.length === 0) return null;
  const lines = precision.steps.flatMap(([step, first, second]) => [
    { step, loss: first, which: precision.first },
    { step, loss: second, which: precision.second },
  ]);
  const names = [precision.first, precision.second];
  return [
    swatches(names, (name) => name, (name) => ({ fill: colour(names.indexOf(name) * 2), shape: names.indexOf(name) ? "square" : "circle" })),
    Plot.plot({
      ...base(data, width, texts.precision_title),
      height: 260,
      x: { label: `${texts.step_number} →` },
      y: { label: `↑ ${texts.loss}`, grid: true },
      marks: [
        Plot.line(lines.filter((one) => one.which === names[0]), { x: "step", y: "loss", stroke: colour(0), strokeWidth: 2 }),
        Plot.line(lines.filter((one) => one.which === names[1]), { x: "step", y: "loss", stroke: colour(2), strokeWidth: 2, strokeDasharray: "6,3" }),
      ],
    }),
    Plot.plot({
      ...base(data, width, texts.gap),
      height: 160,
      x: { label: `${texts.step_number} →` },
      y: { label: `↑ ${texts.gap} (%)`, grid: true },
      marks: [Plot.ruleY([0]), Plot.line(precision.steps, { x: (step) => step[0], y: (step) => 100 * step[3], stroke: "var(--accent)" })],
    }),
  ];
}

export const charts = {
  layouts,
  agreement,
  tp_pp: heat("tp_pp"),
  mb_recompute: heat("mb_recompute"),
  memory: (data, width) => stacked(data.memory_gib, data, width, data.texts.memory, "GiB"),
  time: (data, width) => stacked(data.time_s, data, width, data.texts.time, "s"),
  timeline,
  steps,
  options,
  interactions,
  sensitivity,
  map,
  frontier,
  precision,
};

// Planning anew in the page: controls, and the planner of the program itself in a worker.
const delay = 150; // ms after the last change of a setting
const busyAfter = 250; // ms after which waiting is shown

const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};
const filled = (text, ...values) => text.replace(/\{(\d)\}/g, (_, i) => values[Number(i)]);

/// The planner, ready to run; unpacked when it is first needed.
async function unpack() {
  const packed = Uint8Array.from(atob(document.getElementById("planner").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return WebAssembly.compile(await new Response(stream).arrayBuffer());
}

/// Asks the planner; a new question ends one that is still being answered.
class Planner {
  #module = null;
  #worker = null;
  #busy = false;

  async ask(request, onProgress) {
    this.#module ??= unpack();
    const module = await this.#module;
    if (this.#busy) this.#worker.terminate();
    if (this.#busy || !this.#worker) {
      const address = URL.createObjectURL(new Blob([WORKER_SCRIPT], { type: "text/javascript" }));
      this.#worker = new Worker(address);
      URL.revokeObjectURL(address);
    }
    this.#busy = true;
    const worker = this.#worker;
    return new Promise((resolve, reject) => {
      const end = (settle, value) => {
        if (worker === this.#worker) this.#busy = false;
        settle(value);
      };
      worker.onmessage = ({ data }) => {
        if (data.answer) end(resolve, data.answer);
        else if (data.failure) {
          // A module that stopped half-way is in no state to go on.
          worker.terminate();
          this.#worker = null;
          end(reject, new Error(data.failure));
        } else onProgress(data.done, data.total);
      };
      worker.onerror = (event) => end(reject, new Error(event.message));
      worker.postMessage({ module, request });
    });
  }
}

/// Direction by shape: what grew, what shrank, what stayed.
function changeMark(text) {
  const sign = text.startsWith("+") ? "▲" : text.startsWith("-") ? "▼" : "=";
  const mark = element("span", { className: "mark", textContent: sign });
  mark.setAttribute("aria-hidden", "true");
  return mark;
}

export function setUpWhatIf(data) {
  const place = document.getElementById("what_if_place");
  const source = document.getElementById("what_if_data");
  if (!place || !source) return;
  const { texts, reasons } = data;
  if (typeof WebAssembly !== "object" || typeof DecompressionStream !== "function" || typeof Worker !== "function") {
    place.before(element("p", { className: "note", textContent: texts.what_if_unsupported }));
    return;
  }
  const { basis, controls, answer: planned } = JSON.parse(source.textContent);
  const planner = new Planner();
  const at = controls.map((control) => control.today);

  const stopText = (control, i) => (control.choice ? control.stops[i] : control.stops[i][1]);
  const fields = controls.map((control, index) => {
    const id = `what_if_${control.key}`;
    const label = element("label", { htmlFor: id, textContent: texts[`what_if.${control.key}`] });
    const value = element("output", { htmlFor: id });
    const was = element("span", { className: "was", textContent: filled(texts.what_if_planned, stopText(control, control.today)) });
    const input = control.choice
      ? element("select", { id, name: control.key }, ...control.stops.map((stop, i) => element("option", { value: i, textContent: stop })))
      : element("input", { id, name: control.key, type: "range", min: 0, max: control.stops.length - 1, step: 1 });
    if (control.stops.length < 2) input.disabled = true;
    input.addEventListener("input", () => {
      at[index] = Number(input.value);
      show();
      later();
    });
    function show() {
      input.value = String(at[index]);
      const text = stopText(control, at[index]);
      value.textContent = control.choice ? "" : text;
      if (!control.choice) input.setAttribute("aria-valuetext", text);
      field.classList.toggle("changed", at[index] !== control.today);
    }
    const field = element("div", { className: "field" }, element("div", { className: "naming" }, label, value), input, was);
    return { field, show };
  });
  const reset = element("button", { type: "button", className: "plain", textContent: texts.what_if_reset });
  reset.addEventListener("click", () => {
    controls.forEach((control, i) => (at[i] = control.today));
    for (const field of fields) field.show();
    later();
  });
  const progress = element("progress", { max: 1, value: 0 });
  progress.setAttribute("aria-label", texts.what_if_busy);
  const busy = element("p", { className: "busy", hidden: true }, `${texts.what_if_busy} `, progress);
  const form = element("form", { className: "what-if" }, ...fields.map(({ field }) => field));
  form.setAttribute("aria-label", texts.what_if_settings);
  form.addEventListener("submit", (event) => event.preventDefault());
  const status = element("p", { className: "outcome" });
  status.setAttribute("role", "status");
  const outcome = element("div", { className: "what-if-outcome" }, element("span", { className: "kind predicted", textContent: texts.predicted }), status);
  const result = element("div", { className: "what-if-result" });
  place.replaceChildren(form, element("div", { className: "what-if-actions" }, reset, busy), outcome, result);

  let waiting = 0;
  let asked = 0;
  function later() {
    clearTimeout(waiting);
    waiting = setTimeout(plan, delay);
  }

  async function plan() {
    const number = ++asked;
    if (at.every((stop, i) => stop === controls[i].today)) return settle(number, () => showAnswer(planned, true));
    const settings = Object.fromEntries(controls.map((control, i) => [control.key, control.choice ? control.stops[at[i]] : control.stops[at[i]][0]]));
    const timer = setTimeout(() => {
      if (number === asked) busy.hidden = false;
    }, busyAfter);
    result.setAttribute("aria-busy", "true");
    try {
      const answer = await planner.ask(JSON.stringify({ basis, settings, before: planned.best }), (done, total) => {
        if (number === asked) progress.value = done / total;
      });
      settle(number, () => showAnswer(answer, false));
    } catch (error) {
      settle(number, () => {
        status.textContent = filled(texts.what_if_failure, error.message);
        result.replaceChildren();
      });
    } finally {
      clearTimeout(timer);
    }
  }

  /// Shows what came of question `number`, unless another has been asked since.
  function settle(number, show) {
    if (number !== asked) return;
    busy.hidden = true;
    progress.value = 0;
    result.removeAttribute("aria-busy");
    show();
    result.dataset.answered = number;
  }

  function showAnswer(answer, isPlanned) {
    if (answer.errors) {
      status.textContent = texts.what_if_nothing;
      result.replaceChildren(element("ul", {}, ...answer.errors.map(({ where, what, fix }) => element("li", { textContent: `${where}: ${what}; ${fix}` }))));
      return;
    }
    const [best] = answer.layouts;
    status.textContent = best
      ? filled(texts.what_if_best, best.short, best.figures.mfu, best.figures.step, best.figures.memory) + (isPlanned ? ` ${texts.what_if_same}` : "")
      : texts.what_if_nothing;
    const parts = [];
    if (best) parts.push(cards(answer, best), table(answer), element("p", { className: "caption", textContent: filled(texts.what_if_in_all, Object.entries(answer.shared).map(([knob, value]) => `${knobName(knob)} ${value}`).join(", ")) }));
    if (answer.best_unfit) {
      const { short, figures, capacity, category, category_memory } = answer.best_unfit;
      parts.push(element("p", { textContent: filled(texts.what_if_more_memory, short, figures.mfu, figures.memory, capacity, category_memory, texts[category] ?? category) }));
    }
    parts.push(counts(answer, !best));
    result.replaceChildren(...parts);
  }

  /// The best layout's figures, each with how it differs from the report's plan.
  function cards(answer, best) {
    const { changes } = answer;
    const card = (name, value, change) =>
      element(
        "div",
        { className: "card" },
        element("h3", { textContent: name }),
        element("p", { className: "figure", textContent: value }),
        ...(change ? [element("p", { className: "change" }, changeMark(change), ` ${filled(texts.what_if_change, change)}`)] : []),
      );
    return element(
      "div",
      { className: "cards" },
      card(texts.mfu, best.figures.mfu, changes && filled(texts.what_if_points, changes.mfu_points)),
      card(texts.step, best.figures.step, changes?.step),
      card(texts.total_tokens, answer.total_tokens, changes?.tokens),
      card(texts.memory_column, best.figures.memory, changes?.memory),
    );
  }

  const knobName = (knob) => texts[{ sp: "sequence_parallel", gradients: "gradients_dtype" }[knob] ?? knob] ?? knob;

  function table(answer) {
    const knobs = Object.keys(answer.layouts[0].knobs);
    const figureNames = { memory: texts.memory_column, step: `${texts.step} ${answer.error_band}` };
    const columns = [
      ...["tp", "pp", "dp"].map((key) => [key, (row) => row[key], true]),
      ["mb", (row) => row.micro_batch, true],
      ...["mfu", "step", "memory", "fits", "mfu_causal", "tokens", "bubble", "communication"].map((key) => [figureNames[key] ?? texts[key], (row) => row.figures[key], true]),
      ...knobs.map((knob) => [knobName(knob), (row) => row.knobs[knob], false]),
    ];
    const cell = (name, text, number, properties) => element(name, { textContent: text, className: number ? "n" : "", ...properties });
    const head = element("tr", {}, ...columns.map(([title, , number]) => cell("th", title, number, { scope: "col" })));
    const lines = answer.layouts.map((row) => element("tr", { title: row.layout }, ...columns.map(([, text, number]) => cell("td", text(row), number))));
    const scroll = element("div", { className: "scroll", tabIndex: 0 }, element("table", {}, element("thead", {}, head), element("tbody", {}, ...lines)));
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-label", texts.what_if);
    return scroll;
  }

  function counts(answer, open) {
    const list = (title, rows, name) =>
      rows.length === 0 ? [] : [element("p", { className: "caption", textContent: title }), element("ul", {}, ...rows.map(([count, reason]) => element("li", { textContent: `${count}: ${name(reason)}` })))];
    return element(
      "details",
      { className: "data", open },
      element("summary", { textContent: filled(texts.what_if_counts, answer.considered, answer.fitting, answer.unfit, answer.impossible) }),
      ...list(texts.what_if_unfit, answer.unfit_by_category, (category) => texts[category] ?? category),
      ...list(texts.what_if_impossible, answer.impossible_by_reason, (reason) => reasons[reason] ?? reason),
    );
  }

  for (const field of fields) field.show();
  showAnswer(planned, true);
}

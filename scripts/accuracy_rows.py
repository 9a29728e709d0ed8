"""The layout sweep of Hagemann et al. 2023, measured beside predicted: the tables of
docs/accuracy.md that are made from single rows. make_accuracy.py calls it."""
import collections
import statistics

KNOBS = ("tp", "pp", "micro_batch", "recompute", "seq_parallel", "attention_kernel")
BEST_KERNELS = "flash_attention2 + RMS kernel"


class Row:
    """One row of a run file and what was predicted of it."""

    def __init__(self, run, prediction):
        self.run, self.prediction = run, prediction
        self.id = run["table_or_row_id"]
        self.ran = run["status"] == "ok" and number(run["step_time_s"]) is not None
        self.ran_out = run["status"] == "oom"
        self.fits = prediction["predicted_status"] == "ok"
        self.has_figures = prediction["predicted_status"] in ("ok", "oom")
        self.measured_s = number(run["step_time_s"])
        self.predicted_s = number(prediction["predicted_step_time_s"])
        self.measured_mfu = number(run["mfu"])
        self.predicted_mfu = number(prediction["predicted_mfu"])
        self.degree = int(run["tp"] or 1) * int(run["pp"] or 1)

    def __getitem__(self, column):
        return self.run[column]

    def error(self):
        return self.predicted_s / self.measured_s - 1

    def setting(self):
        """Model, GPUs and sequence: what one figure of the paper is about."""
        return (self["model_name"], int(self["gpus"]), int(self["seq_len"]))

    def layout(self):
        text = f"tp {self['tp']} pp {self['pp']} mb {self['micro_batch']}"
        if self["recompute"] != "none":
            text += f" recompute {self['recompute']}"
        return text + (" sp" if self["seq_parallel"] == "1" else "")


def number(text):
    try:
        return float(text)
    except ValueError:
        return None


def setting_text(setting):
    return f"{setting[0]}, {setting[1]} GPUs, {setting[2]} tokens"


def percent(share, digits=1):
    return "–" if share is None else f"{100 * share:.{digits}f}"


def table(header, rows):
    """A Markdown table; columns after the first are right-aligned where every cell is a figure."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def by(rows, key):
    groups = collections.defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return dict(sorted(groups.items()))


def best_measured(rows):
    return max((row for row in rows if row.ran), key=lambda row: row.measured_mfu, default=None)


def best_predicted(rows):
    """What a planner that may choose among these rows would take. Rows that failed for an unstated
    cause are left out: nothing is known of them."""
    known = [row for row in rows if row.fits and (row.ran or row.ran_out)]
    return max(known, key=lambda row: row.predicted_mfu, default=None)


def best_cells(rows):
    """Best layout that ran with its MFU; layout predicted best, with predicted and measured MFU."""
    measured, predicted = best_measured(rows), best_predicted(rows)
    cells = [measured.layout(), percent(measured.measured_mfu)] if measured else ["none ran", "–"]
    if predicted is None:
        return cells + ["none fits", "–", "–"]
    outcome = percent(predicted.measured_mfu) if predicted.ran else "out of memory"
    return cells + [predicted.layout(), percent(predicted.predicted_mfu), outcome]


BEST_HEADER = ["measured best", "MFU %", "predicted best", "predicted MFU %", "measured there %"]


def best_table(rows, names, key):
    """best_cells for each value of `key`, within each setting that has several values."""
    lines = []
    for setting, members in by(rows, Row.setting).items():
        groups = by(members, key)
        if len(groups) > 1:
            for value, group in groups.items():
                if any(row.ran for row in group):
                    value = value if isinstance(value, tuple) else (value,)
                    lines.append([setting_text(setting), *value, *best_cells(group)])
    return table(["setting", *names, *BEST_HEADER], lines)


def pairs(rows, knob, first, second):
    """Rows that ran and differ in `knob` alone, which is `first` in one and `second` in the other."""
    others = [name for name in KNOBS if name != knob]
    by_rest = {}
    for row in rows:
        if row.ran and row.has_figures:
            rest = (row.id.split("#")[0], *(row[name] for name in others))
            by_rest.setdefault(rest, {})[row[knob]] = row
    return [(found[first], found[second]) for found in by_rest.values()
            if first in found and second in found]


def pair_line(rows, name, knob, first, second):
    """How much faster `second` is than `first`, all else equal: measured and predicted."""
    found = pairs(rows, knob, first, second)
    if not found:
        return [name, 0, "–", "–", "–"]
    measured = [a.measured_s / b.measured_s for a, b in found]
    predicted = [a.predicted_s / b.predicted_s for a, b in found]
    agree = sum((m > 1) == (p > 1) for m, p in zip(measured, predicted))
    return [name, len(found), f"{statistics.median(measured):.3f}",
            f"{statistics.median(predicted):.3f}", f"{agree} of {len(found)}"]


PAIR_HEADER = ["second over first", "pairs", "measured speed", "predicted speed", "same sign"]


def kernel_figure(rows):
    best = best_table(rows, ["kernels"], lambda row: row["attention_kernel"])
    fa2 = "flash_attention2"
    lines = [pair_line(rows, f"{second} over {first}", "attention_kernel", first, second)
             for first, second in (("torch", "fused"), ("fused", "flash_attentionv1.0.8"),
                                   ("flash_attentionv1.0.8", fa2), (fa2, BEST_KERNELS))]
    return ("### Kernels\n\nBest layout by kernels:\n\n" + best +
            "\nAt equal tp, pp, micro-batch and recompute (median of pairs of rows):\n\n" +
            table(PAIR_HEADER, lines))


def recompute_figure(rows):
    return ("### Recompute or not\n\n" + best_table(
        rows, ["kernels", "recompute"], lambda row: (row["attention_kernel"], row["recompute"])) +
            "\n" + table(PAIR_HEADER,
                         [pair_line(rows, "full recompute over none", "recompute", "none", "full")]))


def micro_batch_figure(rows):
    chosen = [row for row in rows if row["attention_kernel"] == BEST_KERNELS]
    return ("### Micro-batch\n\nFlashAttention-2 and the fused norm:\n\n" +
            best_table(chosen, ["micro-batch"], lambda row: (int(row["micro_batch"]),)))


def tensor_pipeline_figure(rows):
    chosen = [row for row in rows if row["attention_kernel"] == BEST_KERNELS]
    lines = []
    for (setting, degree), members in by(chosen, lambda row: (row.setting(), row.degree)).items():
        layouts = by(members, lambda row: (int(row["tp"]), int(row["pp"])))
        if sum(any(row.ran for row in group) for group in layouts.values()) < 2:
            continue
        lines += [[setting_text(setting), degree, f"{tp} × {pp}", *best_cells(group)]
                  for (tp, pp), group in layouts.items()]
    return ("### Tensor against pipeline parallelism\n\nThe same number of devices to a replica, "
            "divided in every way that was run (FlashAttention-2, fused norm):\n\n" +
            table(["setting", "tp × pp", "divided", *BEST_HEADER], lines))


def sequence_figure(rows):
    return ("### Sequence parallelism\n\n" +
            best_table(rows, ["sequence parallel"],
                       lambda row: "on" if row["seq_parallel"] == "1" else "off") + "\n" +
            table(PAIR_HEADER, [pair_line(
                [row for row in rows if row["tp"] == str(tp)], f"on over off, tp {tp}",
                "seq_parallel", "0", "1") for tp in (2, 4, 8)
                if pairs([row for row in rows if row["tp"] == str(tp)], "seq_parallel", "0", "1")]))


def best_figure(rows):
    lines = []
    for setting, members in by(rows, Row.setting).items():
        measured, predicted = best_measured(members), best_predicted(members)
        lines.append([setting_text(setting), measured["attention_kernel"],
                      predicted["attention_kernel"], *best_cells(members)])
    return ("### Best layout of each model\n\n" +
            table(["setting", "measured kernels", "predicted kernels", *BEST_HEADER], lines))


def figures(rows):
    return "\n".join(figure(rows) for figure in (
        kernel_figure, recompute_figure, micro_batch_figure, tensor_pipeline_figure,
        sequence_figure, best_figure))


# ---- findings

def yes(value):
    return "yes" if value else "no"


def micro_batch_finding(rows, first_rows):
    """`first_rows`: setting -> (first row of plan, first row among the sweep's own knobs)."""
    lines = []
    for setting, members in by(rows, Row.setting).items():
        chosen = [row for row in members if row["attention_kernel"] == BEST_KERNELS]
        measured, predicted = best_measured(chosen), best_predicted(chosen)
        lines.append([setting_text(setting), yes(measured["micro_batch"] == "1"),
                      measured.layout(), yes(predicted["micro_batch"] == "1"), predicted.layout(),
                      *first_rows.get(setting, ("–", "–"))])
    return table(["setting", "measured", "best", "predicted", "best", "`plan` with the sweep's knobs",
                  "`plan`, everything considered"], lines)


def pipeline_finding(rows):
    lines = []
    for setting, members in by(rows, Row.setting).items():
        same = by([row for row in members if row.ran and row.has_figures],
                  lambda row: (row.degree, *(row[name] for name in KNOBS[2:])))
        found = [(a, b) for group in same.values() for a in group for b in group
                 if int(a["pp"]) < int(b["pp"])]
        if found:
            measured = [b.measured_s < a.measured_s for a, b in found]
            predicted = [b.predicted_s < a.predicted_s for a, b in found]
            agree = sum(m == p for m, p in zip(measured, predicted))
            lines.append([setting_text(setting), len(found), sum(measured), sum(predicted),
                          f"{agree} of {len(found)}"])
    return table(["setting", "pairs", "measured: pp faster", "predicted: pp faster", "agree"], lines)


def recompute_finding(rows):
    """Best full recompute against the best layout without recompute on more devices a replica."""
    lines = []
    for (setting, kernel), members in by(
            rows, lambda row: (row.setting(), row["attention_kernel"])).items():
        full = [row for row in members if row["recompute"] == "full"]
        best_full = best_measured(full)
        if best_full is None:
            continue
        none = [row for row in members if row["recompute"] == "none"]
        more = best_measured([row for row in none if row.degree > best_full.degree])
        if more is None:
            continue
        predicted_full = best_predicted(full)
        predicted_more = predicted_full and best_predicted(
            [row for row in none if row.degree > predicted_full.degree])
        verdict = "–"
        if predicted_more:
            verdict = (f"{yes(predicted_more.predicted_mfu > predicted_full.predicted_mfu)} "
                       f"({percent(predicted_full.predicted_mfu)} against "
                       f"{percent(predicted_more.predicted_mfu)})")
        lines.append([setting_text(setting), kernel,
                      f"{yes(more.measured_mfu > best_full.measured_mfu)} "
                      f"({percent(best_full.measured_mfu)} against {percent(more.measured_mfu)})",
                      verdict])
    return table(["setting", "kernels", "measured", "predicted"], lines)


def norm_finding(rows):
    lines = []
    for setting, members in by(rows, Row.setting).items():
        layouts = {}
        for row in members:
            if row.has_figures and (row.ran or row.ran_out):
                key = (row.id.split("#")[0], *(row[name] for name in KNOBS[:-1]))
                layouts.setdefault(key, {})[row["attention_kernel"]] = row
        both = [(found["flash_attention2"], found[BEST_KERNELS]) for found in layouts.values()
                if "flash_attention2" in found and BEST_KERNELS in found]
        if both:
            measured = [a.ran_out and b.ran for a, b in both]
            predicted = [not a.fits and b.fits for a, b in both]
            agree = sum(m == p for m, p in zip(measured, predicted))
            lines.append([setting_text(setting), len(both), sum(measured), sum(predicted),
                          f"{agree} of {len(both)}"])
    return table(["setting", "layouts run with both norms", "measured: fit only when fused",
                  "predicted", "agree"], lines)


def findings(rows, first_rows):
    return "\n".join((
        "**Micro-batch 1 is best with FlashAttention-2 and the fused norm.** `plan` is asked twice: "
        "once held to the sweep's knobs, once free to interleave, to recompute selectively and to "
        "choose the ZeRO stage.\n",
        micro_batch_finding(rows, first_rows),
        "**More pipeline beats more tensor parallelism at equal model-parallel degree.** Pairs of "
        "rows that differ in nothing else.\n",
        pipeline_finding(rows),
        "**Full recompute loses to more model parallelism wherever both fit.** MFU of the best "
        "layout with full recompute against the best without it on more devices to a replica.\n",
        recompute_finding(rows),
        "**The fused norm changes which layouts fit.**\n",
        norm_finding(rows)))


# ---- worst rows

def neighbours(rows, row):
    """Rows of the same setting that ran and differ from `row` in one knob."""
    return [other for other in rows
            if other is not row and other.ran and other.has_figures
            and other.setting() == row.setting()
            and sum(other[name] != row[name] for name in KNOBS) == 1]


def remark(rows, row):
    """What the rows beside it say: a model that misses one row and hits its neighbours has reason
    to doubt the row."""
    near = neighbours(rows, row)
    if len(near) < 3:
        return "few rows beside it"
    error = statistics.median(abs(other.error()) for other in near)
    text = f"{len(near)} rows one knob away are off by {percent(error)} % in the middle"
    others = [other for other in near if other["attention_kernel"] != row["attention_kernel"]]
    better = [other for other in others if abs(other.error()) < abs(row.error()) / 2]
    if others and len(better) == len(others):
        text += "; the same layout under other kernels is predicted well: the row disagrees with them"
    return text


def worst(rows, count=12):
    chosen = sorted((row for row in rows if row.ran and row.has_figures),
                    key=lambda row: -abs(row.error()))[:count]
    return table(["row", "layout", "kernels", "measured s", "predicted s", "error %", "beside it"], [
        [row.id, row.layout(), row["attention_kernel"], f"{row.measured_s:.1f}",
         f"{row.predicted_s:.1f}", f"{100 * row.error():+.1f}", remark(rows, row)]
        for row in chosen])


def pipeline_suspicion(rows):
    """Step time over that of micro-batch 1, LLaMA-13B on 64 GPUs, tp 1, pp 2, full recompute."""
    lines = []
    chosen = [row for row in rows if row.ran and row.setting() == ("LLaMA-13B", 64, 2048)
              and (row["tp"], row["pp"], row["recompute"]) == ("1", "2", "full")]
    for kernel, members in by(chosen, lambda row: row["attention_kernel"]).items():
        times = {int(row["micro_batch"]): row.measured_s for row in members}
        if 1 in times and 8 in times:
            lines.append([kernel, *(f"{times[size] / times[1]:.2f}" if size in times else "–"
                                    for size in (1, 2, 4, 8))])
    # 2,048 sequences over dp 32 in micro-batches of m: 64 / m passes and the slots of the bubble.
    for slots in (1, 7):
        base = 64 + slots
        lines.append([f"a bubble of {slots} {'slot' if slots == 1 else 'slots'} alone",
                      *(f"{(64 / size + slots) * size / base:.2f}" for size in (1, 2, 4, 8))])
    return table(["", "mb 1", "mb 2", "mb 4", "mb 8"], lines)


def bubble_slots(rows):
    """LLaMA-13B with FlashAttention-2 and the fused norm: what the same layout loses on 64 GPUs, with
    half as many passes a step as on 32, in passes. Whatever a step costs once counts, a pipeline's
    bubble above all."""
    def of(gpus):
        return {(row["tp"], row["pp"], row["micro_batch"]): row for row in rows
                if row.ran and row.setting() == ("LLaMA-13B", gpus, 2048)
                and row["attention_kernel"] == "flash_attention2 + RMS kernel"
                and row["recompute"] == "none" and row["seq_parallel"] == "0"}

    def passes(row):
        return int(row["global_batch"]) / int(row["dp"]) / int(row["micro_batch"])

    few, many = of(32), of(64)
    lines = []
    for key in sorted(few.keys() & many.keys(), key=lambda key: (key[1], key[0], key[2])):
        a, b = few[key], many[key]
        # A step takes (passes + slots) times one pass; one pass takes as long in both.
        ratio = b.measured_s / a.measured_s
        slots = (passes(b) - ratio * passes(a)) / (ratio - 1)
        lines.append([b.layout(), f"{a.measured_s:.1f}", f"{b.measured_s:.1f}", f"{slots:.1f}",
                      int(key[1]) - 1])
    return table(["layout", "32 GPUs, s", "64 GPUs, s", "passes lost", "bubble of 1F1B"], lines)

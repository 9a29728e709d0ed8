"""The section of docs/accuracy.md about jobs beyond the runs of a profile: how errors grow there, and
the constants of src/cost/extrapolation.cpp that say so. make_accuracy.py calls it."""
import csv
import math
import pathlib
import re
import statistics
from collections import defaultdict
from dataclasses import dataclass

from accuracy_rows import number, percent, table

TITLE = "## Beyond the runs of a profile"
CODE = pathlib.Path(__file__).resolve().parent.parent / "src" / "cost" / "extrapolation.cpp"

# The same framework on another device than that of the profile.
ELSEWHERE = [
    ("mosaicml_experiment_branch_h100_a100.csv", "fsdp-2023-a100",
     "mosaicml_llmfoundry_a100_2023-05.csv"),
    ("mosaicml_llmfoundry_a100_2023-05.csv", "fsdp-2023-h100",
     "mosaicml_experiment_branch_h100_a100.csv"),
]
HELD_OUT_BY = ["model_name", "gpus", "seq_len", "gpu_type", "precision"]
# Minutes for each fit: the largest models of Megatron 2021, and a thousand runs.
LEFT_OUT = {("megatron_sc21_a100.csv", column) for column in HELD_OUT_BY}
LEFT_OUT.add(("nanotron_ultrascale_h100.csv", "gpus"))

# In the order of the constants in the code.
KINDS = {"model size": "per_doubling_of_parameters", "devices": "per_doubling_of_devices",
         "sequence length": "per_doubling_of_seq_length", "another device": "on_another_device",
         "another precision": "in_another_precision"}
NORMAL_MEDIAN = 0.6745  # of the absolute value, in standard deviations


@dataclass
class Group:
    """Held-out runs of one source that lie equally far beyond those that were fitted to."""
    source: str
    runs: frozenset  # their indices in the file
    device: str
    precision: str
    distance: tuple  # by kind; doublings of the first three
    band: float  # of the profile within its runs
    errors: list  # absolute, of log step time

    def spread(self):
        return max(statistics.median_high(self.errors) / NORMAL_MEDIAN, 0.005)

    def widened(self, growth):
        return math.sqrt(self.band ** 2 + sum((g * d) ** 2 for g, d in zip(growth, self.distance)))

    def is_beyond(self):
        return any(self.distance)


def size_of(run):
    return number(run["layers"]) * number(run["hidden"]) ** 2


def doublings(value, others):
    return max(0.0, math.log2(value / max(others)), math.log2(min(others) / value))


def precision_of(run):
    """As the planner reads it: recipes of fp8 are one; what is not stated is bf16."""
    text = run["precision"]
    return "fp8" if "fp8" in text.lower() or text == "e4m3" else "16 bits"


def distance_of(run, fitted):
    """Of a run from those that a profile was fitted to; rounded, so that runs group."""
    far = [doublings(of(run), [of(other) for other in fitted])
           for of in (size_of, lambda r: number(r["gpus"]), lambda r: number(r["seq_len"]))]
    new = [of(run) not in {of(other) for other in fitted}
           for of in (lambda r: r["gpu_type"], precision_of)]
    return tuple(round(d, 1) for d in far) + tuple(float(flag) for flag in new)


def usable(rows):
    return [row for row in rows if row.ran and row.has_figures and
            all(number(row[column]) for column in ("layers", "hidden", "gpus", "seq_len"))]


def grouped(source, by, band, rows, fitted_to):
    """`fitted_to`: the runs that the profile of a row's prediction had."""
    parts = defaultdict(list)
    for i, row in enumerate(rows):
        fitted = fitted_to(row)
        if fitted:
            parts[row[by], distance_of(row.run, fitted)].append((i, row))
    return [Group(source, frozenset(i for i, _ in part), part[0][1]["gpu_type"],
                  precision_of(part[0][1]), distance, band,
                  [abs(math.log(row.predicted_s / row.measured_s)) for _, row in part])
            for (_, distance), part in parts.items()]


def without_repeats(groups):
    """Where a model ran on one number of devices, holding out either is the same."""
    return list({(g.source, g.runs, g.distance): g for g in reversed(groups)}.values())[::-1]


def by_column(runs, scratch, column):
    """A copy of a run file in which each value of a column is a sheet of its own."""
    path = pathlib.Path(scratch) / runs.name
    with open(runs, newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    for row in rows:
        row["table_or_row_id"] = f"{row[column] or 'not stated'}#{row['table_or_row_id']}"
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, reader.fieldnames)
        writer.writeheader()
        writer.writerows(rows)
    return path


def held_out_groups(program, sources, folder, scratch, impossible, say):
    groups = []
    for name, stack in sources:
        band = program.stacks[stack]["time_residual"]
        for column in HELD_OUT_BY:
            if (name, column) in LEFT_OUT:
                continue
            say(f"{name}: each {column} held out")
            copy = by_column(folder / name, scratch, column)
            try:
                rows = usable(program.validate(copy, stack, "--leave-one-out")[1])
            except impossible:
                continue  # one value only, or no runs of another that a fit can use
            groups += grouped(name, column, band, rows, lambda row, rows=rows, column=column: [
                other.run for other in rows if other[column] != row[column]])
    for name, stack, fitted_to in ELSEWHERE:
        say(f"{name}: by {stack}")
        band = program.stacks[stack]["time_residual"]
        with open(folder / fitted_to, newline="") as file:
            fitted = [run for run in csv.DictReader(file) if run["status"] == "ok"]
        rows = usable(program.validate(folder / name, stack)[1])
        groups += grouped(name, "gpu_type", band, rows, lambda row, fitted=fitted: fitted)
    return without_repeats(groups)


def misfit(groups, growth):
    """Robust: a group that is off by far counts little more than one that is off. A group weighs
    more with its runs, but eight are enough."""
    def cost(group):
        ratio = math.log(group.spread() / group.widened(growth))
        return math.sqrt(min(len(group.errors), 8)) * math.log1p((ratio / 0.5) ** 2)
    return sum(cost(group) for group in groups)


def fit_growth(groups):
    """The constants, each in turn over a grid around its last value, until none moves."""
    growth = [0.05] * len(KINDS)
    for step in (2.0, 1.4, 1.1, 1.03):
        moved = True
        while moved:
            moved = False
            for i in range(len(growth)):
                choices = [growth[:i] + [value] + growth[i + 1:]
                           for value in (growth[i], growth[i] / step, growth[i] * step)]
                best = min(choices, key=lambda choice: misfit(groups, choice))
                moved = moved or best != growth
                growth = best
    return growth


def growth_in_code():
    text = CODE.read_text()
    return [float(re.search(rf"\b{name} = ([0-9.]+);", text).group(1)) for name in KINDS.values()]


def within(groups, band_of):
    """The share of runs whose error is below the band; each source counts once."""
    sources = defaultdict(list)
    for group in groups:
        sources[group.source] += [error <= band_of(group) for error in group.errors]
    return statistics.mean(statistics.mean(hits) for hits in sources.values())


def kind_lines(groups, growth):
    lines = []
    for i, kind in enumerate(KINDS):
        alone = [g for g in groups if g.distance[i] and sum(map(bool, g.distance)) == 1]
        for group in sorted(alone, key=lambda g: (g.source, g.distance[i])):
            distance = (f"× {2 ** group.distance[i]:.2g}" if i < 3 else
                        group.device if i == 3 else group.precision)
            lines.append([kind, group.source, distance, len(group.errors),
                          percent(statistics.median_high(group.errors)),
                          percent(NORMAL_MEDIAN * group.band),
                          percent(NORMAL_MEDIAN * group.widened(growth))])
    return lines


def range_section(program, sources, folder, scratch, impossible, say):
    """`sources`: run files, each with the profile that was fitted to it."""
    groups = held_out_groups(program, sources, folder, scratch, impossible, say)
    beyond = [group for group in groups if group.is_beyond()]
    used, fitted = growth_in_code(), fit_growth(beyond)
    constants = [[kind, percent(f), percent(u)] for kind, f, u in zip(KINDS, fitted, used)]
    shares = [[name, sum(len(g.errors) for g in part), len({g.source for g in part}),
               percent(within(part, lambda g: g.band), 0),
               percent(within(part, lambda g: g.widened(used)), 0)]
              for name, part in (("within", [g for g in groups if not g.is_beyond()]),
                                 ("beyond", beyond))]
    return f"""{TITLE}

A profile states the range of the runs that it was fitted to: sizes of models, numbers of devices,
sequence lengths, devices, precisions. For a job beyond it `plan` widens the error of a step time: each
distance adds in quadrature what was found to be added when every model, number of devices, length,
device or precision of a source was held out in turn and predicted by a fit to the others (runs on
another device also by the profile of the same framework there). That sees one to five doublings;
further away the growth is assumed to go on. What is new beyond a range no band foretells: the network
of nanotron's runs congests on some thirty nodes, and its runs on 512 devices, held out once, were off
by 118 % in the middle (they are not in the tables: their fits take long).

Standard deviations of log step time, in percent; of the first three for each doubling beyond the range.
*Fitted* is what these runs give, *used* what the code has.

{table(["beyond by", "fitted", "used"], constants)}

Share of held-out runs with an error below one standard deviation, which is 68 % of a normal
distribution. Each source counts once.

{table(["held-out runs", "runs", "sources", "by the profile's own band, %", "as widened, %"], shares)}

Runs that are beyond the range in one thing alone: their median error, and what it would be by the
profile's own band and by the widened one, in percent.

{table(["beyond by", "source", "how far", "runs", "median error", "own band", "widened"],
       kind_lines(beyond, used))}
"""


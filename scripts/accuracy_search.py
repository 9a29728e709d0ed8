"""The section of docs/accuracy.md about guided search: trials that it needs, and how sure it says to
be beside how often it was right. make_accuracy.py calls it."""
import json
import statistics

from accuracy_rows import table

TITLE = "## Guided search"

# Sources with groups of four layouts or more that ran.
FILES = ["alephalpha_layout_sweep_a100.csv", "nanotron_ultrascale_h100.csv",
         "internevo_a100_7b.csv", "torchtitan_a100_h100_h200.csv", "vtrain_multi_node_a100.csv",
         "vtrain_single_node_a100.csv"]
STACKS = {"by cluster": [], "uncalibrated": ["--stack", "uncalibrated"]}
BANDS = [0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 1.001]


class Games:
    """All games of one source from one profile."""

    def __init__(self, document):
        self.games = [run for group in document["groups"] for run in group["runs"]]
        self.trials = statistics.median(game["trials_to_1_percent"] for game in self.games)
        self.stop = statistics.median(game["trials_at_stop"] for game in self.games)
        self.moments = [moment for game in self.games
                        for moment in zip(game["sureness"], game["sure_rightly"])]
        self.ends = [(game["sureness"][game["trials_at_stop"] - 1],
                      game["sure_rightly"][game["trials_at_stop"] - 1]) for game in self.games]


def play(program, path, more):
    return Games(json.loads(program.run("replay", "--runs", path, "--strategy", "guided", "--json",
                                        *more)))


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def shares(moments):
    return [f"{100 * mean(sure for sure, _ in moments):.0f}",
            f"{100 * mean(right for _, right in moments):.0f}"]


def search_section(program, folder, say):
    by_source, all_games = [], {}
    for name in FILES:
        for profile, more in STACKS.items():
            say(f"guided search on {name}, {profile}")
            games = play(program, folder / name, more)
            all_games[name, profile] = games
            by_source.append([name, profile, len(games.games), f"{games.trials:g}",
                              f"{games.stop:g}", *shares(games.ends), *shares(games.moments)])
    bands = []
    for low, high in zip(BANDS, BANDS[1:]):
        # Groups of one source share its stack and the planner's errors: each source counts once.
        parts = [[moment for moment in games.moments if low <= moment[0] < high]
                 for games in all_games.values()]
        parts = [part for part in parts if part]
        if not parts:
            continue
        bands.append([f"{100 * low:.0f} to {100 * min(high, 1):.0f}",
                      sum(len(part) for part in parts), len(parts),
                      f"{100 * mean(mean(s for s, _ in part) for part in parts):.0f}",
                      f"{100 * mean(mean(r for _, r in part) for part in parts):.0f}"])
    return f"""{TITLE}

Recorded runs played as if they were measured (`kumihimo replay --strategy guided`), in every group of
four layouts or more that ran. *Trials* to within 1 % of the group's best step time and until guided
stops, medians. *Sure* is what it says after a trial: the probability that no layout that was not tried
is faster by more than 1 %, in percent, and *right* how often that was so: where guided stops, and over
all moments of all games.

{table(["source", "starts from", "games", "trials", "stops at", "sure at the end", "right", "sure, all",
        "right, all"], by_source)}

The same moments by how sure it was. Each of the sources, from each profile, counts once, whatever its
number of games: groups of one source share the planner's errors.

{table(["sure, %", "moments", "sources", "mean of what was said", "right, %"], bands)}
"""

#!/usr/bin/env python3
"""`kumihimo calibrate --measure` as an MPI job: links between processes.

Usage: check_measure_mpi.py CHECK PROGRAM MPIRUN...    MPIRUN... is the launcher up to the number of ranks

links_2, links_3  so many processes write cluster and profile, which `plan` reads
wrong_ranks       --ranks that contradict mpirun are refused, once, and nothing is written
"""

import json
import pathlib
import subprocess
import sys
import tempfile

SIZES = 7  # 1 KiB to 4 MiB in steps of four
KINDS = {"all-reduce", "all-gather", "reduce-scatter", "send and receive"}


def run(command):
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


def measure(program, launcher, ranks, folder, *more):
    return run([*launcher, str(ranks), program, "calibrate", "--measure", "--model", "llama-tiny",
                "--seq-length", "32", "--cluster-out", str(folder / "here.toml"), "--out",
                str(folder / "stack.toml"), "--json", *more])


def check_links(program, launcher, ranks, folder):
    done = measure(program, launcher, ranks, folder)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["ranks_are"] == "processes", found["ranks_are"]
    points = found["collectives"]
    groups = {2, ranks}
    assert {(p["kind"], p["ranks"]) for p in points} == {(k, r) for k in KINDS for r in groups}
    assert len(points) == SIZES * len(KINDS) * len(groups), len(points)
    assert all(p["seconds"] > 0 for p in points)
    stack = (folder / "stack.toml").read_text()
    assert f"messages among {ranks} processes" in stack
    spreads = stack[stack.index("[spread]"):]
    for key in ("rates.intra_node", "rates.point_to_point", "seconds.collective"):
        assert key in spreads, key
    planned = run([program, "plan", "--model", "llama-tiny", "--cluster",
                   str(folder / "here.toml"), "--gpus", str(ranks), "--stack",
                   str(folder / "stack.toml"), "--seq-length", "32", "--global-batch-size",
                   str(2 * ranks), "--precision", "fp32", "--json"])
    assert planned.returncode == 0, planned.stderr
    assert json.loads(planned.stdout)["best"], "a plan on what was measured"


def check_wrong_ranks(program, launcher, folder):
    done = measure(program, launcher, 2, folder, "--ranks", "3")
    assert done.returncode != 0
    assert done.stderr.count("--ranks: is 3, but mpirun started 2 processes") == 1, done.stderr
    assert not list(folder.iterdir()), "something was written"


def main():
    check, program, *launcher = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if check == "wrong_ranks":
            check_wrong_ranks(program, launcher, folder)
        else:
            check_links(program, launcher, int(check.removeprefix("links_")), folder)


main()

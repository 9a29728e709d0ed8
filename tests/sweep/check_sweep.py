#!/usr/bin/env python3
"""Sweeps that are killed, starved, doubled and lied to: nothing measured is lost or counted twice.

Usage: check_sweep.py CHECK KUMIHIMO
"""

import collections
import contextlib
import json
import os
import pathlib
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

TRAINER = pathlib.Path(__file__).with_name("fake_trainer.py").resolve()
PROGRAM = ""


def command(store, *more):
    """A sweep of six layouts; flags in `more` take the place of its own."""
    usual = {"--warmup-steps": "1", "--min-steps": "3", "--max-steps": "4",
             "--micro-batch-size": "1,2"}
    words = [PROGRAM, "sweep", "--model", "llama-tiny", "--ranks", "2", "--global-batch-size", "8",
             "--trainer", str(TRAINER), "--out", str(store), "--strategy", "exhaustive",
             "--control-every", "4", "--vary", "tp,pp,micro-batch", *more]
    for flag, value in usual.items():
        if flag not in more:
            words += [flag, value]
    return words


def run(words, env=None, **more):
    return subprocess.run(words, capture_output=True, text=True, timeout=120,
                          env={**os.environ, **(env or {})}, **more)


def sweep(store, *more, env=None, **options):
    return run(command(store, *more), env, **options)


def trials(store):
    """Every trial with its steps, by id."""
    with tempfile.TemporaryDirectory() as folder:
        lines = pathlib.Path(folder, "trials.jsonl")
        done = run([PROGRAM, "store", "export", str(store), "--jsonl", str(lines)])
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in lines.read_text().splitlines()]


def processes_of_trainer(folder):
    """Trials of this test's store that are alive."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if str(TRAINER).encode() in words and any(str(folder).encode() in word for word in words):
            found.append(int(entry.name))
    return found


def expect_each_layout_once(found):
    counts = collections.Counter((trial["layout"], trial["repetition"])
                                 for trial in found if trial["state"] not in ("cancelled", "error"))
    twice = {key: count for key, count in counts.items() if count != 1}
    assert not twice, f"counted twice: {twice}"


def change(store, sql):
    with contextlib.closing(sqlite3.connect(store, isolation_level=None)) as database:
        database.execute(sql)


def prime(store):
    """Measures the machine and runs one trial, so that what follows is quick."""
    done = sweep(store, "--budget", "1trials")
    assert done.returncode == 0, done.stderr


def check_killed_sweep(folder):
    store = folder / "s.db"
    prime(store)
    kept = {}
    dice = random.Random(1)
    interrupted_trials = 0
    for _ in range(30):
        process = subprocess.Popen(command(store), stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, start_new_session=True,
                                   env={**os.environ, "KUMIHIMO_FAKE_S": "0.03"})
        time.sleep(dice.uniform(0.02, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        now = {trial["run"]["table_or_row_id"]: trial
               for trial in trials(store) if trial["state"] == "ok"}
        for key, trial in kept.items():
            assert now.get(key) == trial, f"{key} was lost or changed"
        kept = now
        interrupted_trials += any(trial["state"] == "running" for trial in trials(store))
    assert interrupted_trials > 0, "no kill met a trial: the test shows nothing"
    assert 0 < len(kept), "nothing was ever finished"
    done = sweep(store)
    assert done.returncode == 0, done.stderr
    found = trials(store)
    expect_each_layout_once(found)
    assert not [trial for trial in found if trial["state"] == "running"]
    ok = {trial["layout"] for trial in found if trial["state"] == "ok"}
    # Five pairs (tp, pp) of two ranks: (1, 1), (1, 2), (2, 1) with micro-batches 1 and 2, without
    # and, for tp 2 alone, with nothing else.
    assert len(ok) == 6, ok
    for trial in found:
        if trial["state"] == "ok":
            steps = [step for step in trial["steps"] if not step[3]]
            assert 3 <= len(steps) == trial["timed_steps"], trial
            assert float(trial["run"]["step_time_s"]) == steps[0][1], trial
    time.sleep(0.3)
    assert not processes_of_trainer(folder), "trials outlived their sweep"


def check_killed_trial(folder):
    store = folder / "s.db"
    done = sweep(store, "--recompute", "none,full", "--micro-batch-size", "1")
    assert done.returncode == 0, done.stderr
    states = collections.Counter(trial["state"] for trial in trials(store)
                                 if trial["repetition"] == 0)
    assert states == {"ok": 3, "error": 3}, states
    reasons = {trial["reason"] for trial in trials(store) if trial["state"] == "error"}
    assert all("signal 9" in reason for reason in reasons), reasons
    again = sweep(store, "--recompute", "none,full", "--micro-batch-size", "1")
    assert again.returncode == 0
    count = len([trial for trial in trials(store) if trial["state"] == "error"])
    assert count == 3, "an error is not tried again unasked"
    sweep(store, "--recompute", "none,full", "--micro-batch-size", "1", "--retry-errors")
    count = len([trial for trial in trials(store) if trial["state"] == "error"])
    assert count == 6, "and is when asked"


def check_failing_trials(folder):
    """Out of memory and a hang cost their trials only."""
    store = folder / "s.db"
    done = sweep(store, "--micro-batch-size", "1,4,8", "--trial-timeout", "1s", "--tp", "2")
    assert done.returncode == 0, done.stderr
    states = {trial["layout"].split("micro-batch=")[1][0]: trial["state"]
              for trial in trials(store)}
    assert states == {"1": "ok", "4": "oom", "8": "timeout"}, states
    assert not processes_of_trainer(folder)


def begin_slow_trial(store):
    """A sweep whose next trial has begun and would take half a minute."""
    process = subprocess.Popen(command(store), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, env={**os.environ, "KUMIHIMO_FAKE_S": "5"})
    deadline = time.time() + 30
    while not any(trial["state"] == "running" for trial in trials(store)):
        assert time.time() < deadline
        time.sleep(0.02)
    return process


def check_interrupted(folder):
    store = folder / "s.db"
    prime(store)
    for times, how in enumerate((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), start=1):
        process = begin_slow_trial(store)
        process.send_signal(how)
        out, _ = process.communicate(timeout=30)
        assert process.returncode == 130, (how, process.returncode)
        assert "Best measured" in out, out
        states = [trial["state"] for trial in trials(store)]
        assert states.count("cancelled") == times and "running" not in states, states
        assert not processes_of_trainer(folder)
    done = sweep(store)
    assert done.returncode == 0
    expect_each_layout_once(trials(store))


def end_trial_of(process, folder):
    """SIGTERM to the trial alone; the sweep, too, names its trainer in its command."""
    while not (found := [pid for pid in processes_of_trainer(folder) if pid != process.pid]):
        time.sleep(0.02)
    for trial in found:
        os.kill(trial, signal.SIGTERM)


def check_all_told_to_end(folder):
    """A signal to sweep and trial alike, the trial first, as when a machine shuts down."""
    store = folder / "s.db"
    prime(store)
    process = begin_slow_trial(store)
    end_trial_of(process, folder)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 130, process.returncode
    states = [trial["state"] for trial in trials(store)]
    assert states == ["ok", "cancelled"], states
    # The trial alone: an error of its own, as a crash is.
    process = begin_slow_trial(store)
    end_trial_of(process, folder)
    while not any(trial["state"] == "error" for trial in trials(store)):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    reasons = [trial["reason"] for trial in trials(store) if trial["state"] == "error"]
    assert reasons == ["ended by signal 15"], reasons


def check_ended_trial(folder):
    """A trial that has measured enough is asked to end twice, as its trainer would finish a step
    when asked once, and is recorded as what it is."""
    store = folder / "s.db"
    asked = folder / "asked"
    done = sweep(store, "--max-steps", "2000", "--budget", "1trials",
                 env={"KUMIHIMO_FAKE_ASKED": str(asked)})
    assert done.returncode == 0, done.stderr
    assert [trial["state"] for trial in trials(store)] == ["ok"]
    assert asked.read_text() == "twice", asked.read_text()


def check_two_sweeps(folder):
    store = folder / "s.db"
    prime(store)
    first = subprocess.Popen(command(store), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                             env={**os.environ, "KUMIHIMO_FAKE_S": "0.3"})
    deadline = time.time() + 30
    while not any(trial["state"] == "running" for trial in trials(store)):
        assert time.time() < deadline
        time.sleep(0.02)
    second = sweep(store)
    assert second.returncode == 2, second
    assert f"is worked on by process {first.pid}" in second.stderr, second.stderr
    assert "--study NAME" in second.stderr
    status = run([PROGRAM, "status", str(store)])
    assert status.returncode == 0 and f"running, process {first.pid}" in status.stdout
    assert first.wait(timeout=60) == 0
    expect_each_layout_once(trials(store))


def check_disk_full(folder):
    store = folder / "s.db"
    prime(store)
    before = trials(store)

    def little_room():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        limit = os.path.getsize(store) + 8192
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    # Steps that fill the store's log; the trainer's own log stays small.
    done = sweep(store, "--max-steps", "2000", "--min-steps", "2000", preexec_fn=little_room,
                 env={"KUMIHIMO_FAKE_S": "0"})
    assert done.returncode == 4, (done.returncode, done.stdout, done.stderr)
    assert "disk" in done.stderr and "s.db" in done.stderr, done.stderr
    assert [trial for trial in trials(store) if trial["state"] == "ok"] == before
    assert not processes_of_trainer(folder)
    done = sweep(store)
    assert done.returncode == 0, done.stderr
    expect_each_layout_once(trials(store))


def check_wrong_store(folder):
    """Another program's, newer, truncated, no database at all, locked: refused and left alone."""
    other = folder / "other.db"
    change(other, "CREATE TABLE theirs (x)")
    text = folder / "notes.db"
    text.write_text("x" * 5000)
    newer = folder / "newer.db"
    prime(newer)
    change(newer, "PRAGMA user_version = 99")
    truncated = folder / "truncated.db"
    prime(truncated)
    os.truncate(truncated, 3000)
    for path, message in [(other, "another program's database"),
                          (text, "is not an SQLite database"),
                          (newer, "newer than this program's"),
                          (truncated, "damaged or cut short")]:
        before = path.read_bytes()
        done = sweep(path)
        assert done.returncode == 2, (path, done.returncode, done.stderr)
        assert message in done.stderr and path.name in done.stderr, done.stderr
        assert path.read_bytes() == before, f"{path} was changed"

    locked = folder / "locked.db"
    prime(locked)
    holder = sqlite3.connect(locked, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    done = sweep(locked)
    assert done.returncode == 4 and "another program holds it" in done.stderr, done.stderr
    holder.close()
    assert sweep(locked).returncode == 0

    done = sweep(locked, "--seq-length", "64")
    assert done.returncode == 2 and "of another job" in done.stderr, done.stderr


def check_clock_set_back(folder):
    """A sweep whose trials began in the future goes on, in the order of its trials."""
    store = folder / "s.db"
    prime(store)
    change(store, "UPDATE trials SET started_unix_s = started_unix_s + 1e6")
    change(store, "UPDATE studies SET created_unix_s = created_unix_s + 1e6")
    done = sweep(store, "--budget", "10min")
    assert done.returncode == 0, done.stderr
    expect_each_layout_once(trials(store))
    with contextlib.closing(sqlite3.connect(store)) as database:
        (spent,) = database.execute("SELECT spent_s FROM studies").fetchone()
    assert 0 < spent < 120, spent


def measured_stacks(store):
    with contextlib.closing(sqlite3.connect(store)) as database:
        return database.execute("SELECT workload, stack_toml FROM measured_stacks"
                                " ORDER BY workload").fetchall()


def check_measured_start(folder):
    """A sweep here starts from what was measured here, once, and says so."""
    store = folder / "s.db"

    def start(*more):
        done = sweep(store, "--budget", "1trials", "--json", *more)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["first_predictions_from"]

    source = start()
    assert source.startswith("what was measured at the shapes of llama-tiny, sequences of 256"), source
    assert "messages among 2 threads" in source and "the rest as kumihimo-cpu" in source, source
    first = measured_stacks(store)
    assert len(first) == 1 and "[spread]" in first[0][1], first
    assert start().endswith("(by an earlier session)")
    assert start("--stack", "kumihimo-cpu") == "kumihimo-cpu"
    assert measured_stacks(store) == first, "measured again unasked"
    assert not start("--measure-again").endswith("(by an earlier session)")
    assert len(measured_stacks(store)) == 1
    assert not start("--seq-length", "64", "--study", "short").endswith("(by an earlier session)")
    assert len(measured_stacks(store)) == 2
    with contextlib.closing(sqlite3.connect(store)) as database:
        (profile,) = database.execute("SELECT toml FROM profiles WHERE study_id = 1"
                                      " ORDER BY id LIMIT 1").fetchone()
    assert "measured at the shapes of llama-tiny" in profile, profile


def check_interrupted_measurement(folder):
    """Ctrl-C while the machine is measured ends that, too, and the next session begins anew."""
    store = folder / "s.db"
    process = subprocess.Popen(command(store), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (folder / "s.db.trials" / "measured-here.txt").exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 130
    assert not measured_stacks(store)
    assert not (folder / "s.db.trials").exists()
    assert sweep(store).returncode == 0
    assert len(measured_stacks(store)) == 1


def check_mpi(folder):
    """Ranks as processes; a rank that dies costs its trial only."""
    store = folder / "s.db"
    allowed = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    words = [PROGRAM, "sweep", "--model", "llama-tiny", "--layers", "2", "--seq-length", "32",
             "--ranks", "2", "--launcher", "mpi", "--vary", "tp", "--strategy", "exhaustive",
             "--out", str(store)]
    process = subprocess.Popen(words + ["--min-steps", "100000", "--max-steps", "100000",
                                        "--budget", "1trials"],
                               env={**os.environ, **allowed}, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    deadline = time.time() + 60
    ranks = []
    while len(ranks) < 2:
        assert time.time() < deadline, "the ranks never came"
        time.sleep(0.1)
        ranks = [int(entry.name) for entry in pathlib.Path("/proc").iterdir()
                 if entry.name.isdigit() and is_rank_of(entry, store)]
    time.sleep(1)
    os.kill(ranks[1], signal.SIGKILL)
    process.wait(timeout=60)
    states = [trial["state"] for trial in trials(store)]
    assert states == ["error"], states
    done = run(words + ["--min-steps", "3", "--max-steps", "4", "--retry-errors"], allowed)
    assert done.returncode == 0, done.stderr
    states = collections.Counter(trial["state"] for trial in trials(store))
    assert states["ok"] == 2, (states, done.stdout)
    ((_, stack),) = measured_stacks(store)
    assert "messages among 2 processes" in stack, stack


def is_rank_of(entry, store):
    try:
        words = (entry / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return words[1:2] == [b"train"] and any(str(store).encode() in word for word in words)


def main():
    global PROGRAM
    check, PROGRAM = sys.argv[1:3]
    with tempfile.TemporaryDirectory() as folder:
        globals()["check_" + check](pathlib.Path(folder))


main()

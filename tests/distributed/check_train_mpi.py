#!/usr/bin/env python3
"""`kumihimo train` as an MPI job.

Usage: check_train_mpi.py CHECK PROGRAM MPIRUN...    MPIRUN... is the launcher up to the number of ranks

losses_2, losses_4, losses_8  so many processes log the losses of one rank as a thread
wrong_size       a job of another size than the layout's is refused, once, by all ranks
different_flags  ranks that were started with different flags end with one message
killed_rank      a rank that dies ends the job promptly, without success
out_of_memory    a rank over its budget ends the job with exit code 3
nan_loss         a gradient that is no number ends the job with one message
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

SHAPE = ("--model llama-tiny --hidden 16 --ffn-hidden 32 --layers 4 --seq-length 8"
         " --global-batch-size 8 --backend reference --peak 1GFLOP/s --warmup 0").split()
LAYOUTS = {2: "--tp 2 --sequence-parallel", 4: "--pp 2 --dp 2 --zero 3", 8: "--tp 2 --pp 2 --dp 2"}


class Job:
    def __init__(self, program, launcher):
        self.program, self.launcher = program, launcher

    def threads(self, *flags):
        return [self.program, "train", *SHAPE, *flags]

    def mpi(self, ranks, *flags):
        return [*self.launcher, str(ranks), *self.threads(*flags)]


def run(command, environment=None):
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)


def require(holds, what, result=None):
    if holds:
        return
    print(f"expected {what}")
    if result is not None:
        print(f"exit code {result.returncode}\n{result.stdout}\n{result.stderr}")
    sys.exit(1)


def steps_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def check_losses(job, ranks):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        one, many = folder / "one", folder / "many"
        # Not a job of the launcher that may have started this.
        result = run(job.threads("--steps", "3", "--ranks", "threads", "--json-log", str(one)))
        require(result.returncode == 0, "one rank to train", result)
        trace = folder / "trace.json"
        result = run(job.mpi(ranks, *LAYOUTS[ranks].split(), "--steps", "3", "--json-log", str(many),
                             "--trace", str(trace)))
        require(result.returncode == 0, f"{ranks} ranks to train", result)
        require(result.stdout.count("Training\n") == 1, "rank 0 alone to print", result)
        for alone, together in zip(steps_of(one), steps_of(many), strict=True):
            difference = abs(together["loss"] / alone["loss"] - 1)
            require(difference <= 1e-5, f"the loss {alone['loss']}, not {together['loss']}")
        tracks = {event["tid"] for event in json.loads(trace.read_text())["traceEvents"]
                  if event["name"] == "matrix products"}
        require(tracks == {2 * rank for rank in range(ranks)}, "a track for each rank")


def check_wrong_size(job):
    result = run(job.mpi(3, "--tp", "2"))
    require(result.returncode == 2, "exit code 2", result)
    message = "--tp --pp --dp: 2 x 1 x 1 are 2 ranks, but the launcher started 3; run mpirun -n 2"
    require(result.stderr.count(message) == 1, "one message", result)


def check_different_flags(job):
    first, second = job.threads("--dp", "2"), job.threads("--dp", "2", "--seed", "2")
    result = run([*job.launcher, "1", *first, ":", *job.launcher[-1:], "1", *second])
    require(result.returncode == 2, "exit code 2", result)
    require(result.stderr.count("different flags") == 1, "one message", result)


def processes_of(program, marker):
    """Ids of the processes that run `program` with that argument."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if entry.name.isdigit() and words[0] == program.encode() and marker.encode() in words:
            found.append(int(entry.name))
    return found


def check_killed_rank(job):
    with tempfile.TemporaryDirectory() as name:
        log = pathlib.Path(name) / "log"
        command = job.mpi(4, "--pp", "2", "--dp", "2", "--steps", "1000000", "--json-log", str(log))
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as mpirun:
            deadline = time.monotonic() + 60
            while not (log.exists() and log.read_text()) and time.monotonic() < deadline:
                time.sleep(0.05)
            ranks = processes_of(job.program, str(log))
            require(len(ranks) == 4, f"four ranks to train, not {len(ranks)}")
            os.kill(ranks[2], signal.SIGKILL)
            killed = time.monotonic()
            code = mpirun.wait(timeout=60)
            require(code != 0, "a failure")
            require(time.monotonic() - killed < 30, "a prompt end")
        time.sleep(0.5)
        require(not processes_of(job.program, str(log)), "all ranks to end")


def check_out_of_memory(job):
    result = run(job.mpi(2, "--dp", "2", "--device-memory", "64KiB"))
    require(result.returncode == 3, "exit code 3", result)
    require("out of memory" in result.stderr, "the report", result)


def check_nan_loss(job):
    result = run(job.mpi(2, "--tp", "2", "--learning-rate", "1e6", "--clip-norm", "0", "--optimizer",
                         "sgd", "--lr-schedule", "constant", "--steps", "50"))
    require(result.returncode == 4, "exit code 4", result)
    require(result.stderr.count("the gradient norm of step") == 1, "one message", result)


def main():
    check, program, *launcher = sys.argv[1:]
    job = Job(program, launcher)
    if check.startswith("losses_"):
        check_losses(job, int(check.removeprefix("losses_")))
    else:
        globals()[f"check_{check}"](job)


if __name__ == "__main__":
    main()

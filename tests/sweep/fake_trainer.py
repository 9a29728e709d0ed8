#!/usr/bin/env python3
"""Stands in for `kumihimo train`: logs steps whose times follow from the layout, quickly.

KUMIHIMO_FAKE_S=seconds  sleeps that long for each step
KUMIHIMO_FAKE_ASKED=file goes on when asked to end once, and writes how often it was asked
Layouts misbehave by their micro-batch: 4 runs out of memory, 8 hangs; recompute=full is killed.
"""

import json
import os
import signal
import sys
import time


def ends_when_asked_twice(path):
    asked = []

    def hear(number, frame):
        asked.append(number)
        with open(path, "w") as file:
            file.write(("once", "twice")[len(asked) - 1])
        if len(asked) == 2:
            os._exit(130)

    signal.signal(signal.SIGTERM, hear)


def main():
    if "KUMIHIMO_FAKE_ASKED" in os.environ:
        ends_when_asked_twice(os.environ["KUMIHIMO_FAKE_ASKED"])
    words = sys.argv[2:]
    flags = dict(zip(words[::2], words[1::2]))
    layout = dict(part.split("=") for part in flags["--layout"].split())
    if layout["micro-batch"] == "4":
        print("kumihimo: train: rank 0: out of memory", file=sys.stderr)
        sys.exit(3)
    if layout["recompute"] == "full":
        os.kill(os.getpid(), signal.SIGKILL)
    seconds = 0.1 * int(layout["tp"]) + 0.05 * int(layout["pp"]) + 0.01 * int(layout["micro-batch"])
    with open(flags["--json-log"], "w") as log:
        for step in range(1, int(flags["--steps"]) + 1):
            time.sleep(float(os.environ.get("KUMIHIMO_FAKE_S", "0.002")))
            if layout["micro-batch"] == "8":
                time.sleep(1000)
            line = {"schema": "kumihimo.train-step/1", "step": step, "loss": 5.0,
                    "step_time_s": seconds, "mfu": 0.05 / seconds, "hfu": 0.05 / seconds,
                    "tokens_per_s": 100 / seconds, "peak_memory_bytes": 2**30}
            log.write(json.dumps(line) + "\n")
            log.flush()


main()

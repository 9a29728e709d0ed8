#!/usr/bin/env python3
"""Eight ranks (tp 2, pp 2, dp 2) learn to write from the text that ships with the program: the loss
falls from that of guessing, ln 256 = 5.55 nats a byte, to below that of a model that knows pairs of
letters (about 2.45 nats in English text), and begins as one rank's does.

Usage: check_real_training.py PROGRAM
"""

import json
import subprocess
import sys

JOB = ["--model", "llama-tiny", "--seq-length", "128", "--global-batch-size", "16", "--learning-rate", "0.003",
       "--warmup", "10", "--seed", "3"]


def train(program, *flags):
    result = subprocess.run([program, "train", *JOB, *flags, "--json", "--peak", "100GFLOP/s"],
                            capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"train {' '.join(flags)} ended with {result.returncode}: {result.stderr}")
    return json.loads(result.stdout)


def main():
    program = sys.argv[1]
    braided = train(program, "--tp", "2", "--pp", "2", "--dp", "2", "--steps", "150")
    single = train(program, "--steps", "1")
    first, last = braided["loss_first"], braided["loss_last"]
    print(f"loss {first:.4f} at step 1 ({single['loss_first']:.4f} with one rank), {last:.4f} at step 150")
    faults = []
    if abs(first - single["loss_first"]) > 1e-5 * first:
        faults.append("the first loss is not that of one rank")
    if not 5.3 < first < 6.2:
        faults.append("the first loss is not that of guessing")
    if not last < 2.45:
        faults.append("the model has not learnt more than pairs of letters")
    if faults:
        sys.exit("; ".join(faults))


if __name__ == "__main__":
    main()

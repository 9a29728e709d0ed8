#!/usr/bin/env python3
"""How fast is a training step beside PyTorch's, at the same shapes, on this machine, in one run?

Runs bench/torch_llama_step.py and `kumihimo train` in turn, several times each, and prints for every
case both rates (medians over rounds), their ratio (median over rounds of pairs that ran one after the
other, with its range) and the share of the machine's own matrix-product peak. Then kumihimo alone:
two ranks against one, by each axis.

usage: compare_pytorch.py [--program build/kumihimo] [--rounds 3] [--steps 8] [--only TEXT]

PyTorch: apt-get install python3-torch libopenblas0-openmp. OpenBLAS of OpenMP is preloaded, without
which two threads of PyTorch run three times slower.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
OPENBLAS = "/usr/lib/x86_64-linux-gnu/openblas-openmp"
TORCH_PYTHON = "/usr/bin/python3"

# hidden, layers, ffn, vocabulary, sequence, sequences of a batch
SHAPES = {
    "hidden 256": (256, 4, 688, 1024, 256, 4),
    "hidden 512": (512, 4, 1376, 1024, 512, 4),
    "hidden 768": (768, 12, 2048, 1024, 1024, 1),
}
AIMS = {("fp32", 1): 1.25, ("fp32", 2): 1.4, ("bf16", 1): 1.4, ("bf16", 2): 1.6}


def torch_tokens_per_s(shape, precision, threads, steps):
    hidden, layers, ffn, vocab, sequence, batch = shape
    environment = dict(os.environ, LD_LIBRARY_PATH=OPENBLAS, OMP_NUM_THREADS=str(threads))
    command = [TORCH_PYTHON, str(HERE / "torch_llama_step.py"), "--bench", str(steps), "--steps", str(steps)]
    for flag, value in zip(("hidden", "layers", "heads", "ffn", "vocab", "seq", "batch", "threads"),
                           (hidden, layers, hidden // 64, ffn, vocab, sequence, batch, threads)):
        command += ["--" + flag, str(value)]
    command += ["--dtype", "float32" if precision == "fp32" else precision]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    milliseconds = float(re.search(r"step ([0-9.]+)", result.stdout).group(1))
    return sequence * batch / milliseconds * 1e3


def train(program, shape, precision, threads, steps, layout="", micro_batch=None):
    hidden, layers, ffn, vocab, sequence, batch = shape
    command = [program, "train", "--model", "llama-tiny", "--data", "synthetic", "--json",
               "--hidden", str(hidden), "--layers", str(layers), "--heads", str(hidden // 64),
               "--ffn-hidden", str(ffn), "--vocab-size", str(vocab), "--seq-length", str(sequence),
               "--global-batch-size", str(batch), "--micro-batch-size", str(micro_batch or batch),
               "--precision", precision, "--threads-per-rank", str(threads), "--steps", str(steps),
               "--warmup-steps", "2", "--lr-schedule", "constant"]
    result = subprocess.run(command + layout.split(), capture_output=True, text=True, check=True)
    return json.loads(result.stdout)


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def compare(arguments):
    """Kumihimo beside PyTorch, for the cases that --only leaves."""
    print(f"{'case':<30}{'PyTorch':>10}{'Kumihimo':>10}  tokens/s   ratio{'':<18}aim    MFU   matrix products")
    for name, shape in SHAPES.items():
        for (precision, threads), aim in AIMS.items():
            case = f"{name}, {precision}, {threads} thread{'s' if threads > 1 else ''}"
            if arguments.only not in case:
                continue
            theirs, ours, runs = [], [], []
            for _ in range(arguments.rounds):
                theirs.append(torch_tokens_per_s(shape, precision, threads, arguments.steps))
                runs.append(train(arguments.program, shape, precision, threads, arguments.steps))
                ours.append(runs[-1]["tokens_per_s"])
            ratios = [mine / torch for mine, torch in zip(ours, theirs)]
            middle = sorted(runs, key=lambda run: run["tokens_per_s"])[len(runs) // 2]
            share = middle["time"]["matrix_products_s"] / middle["step_time_s"]["median"]
            print(f"{case:<30}{statistics.median(theirs):>10.0f}{statistics.median(ours):>10.0f}"
                  f"  {'':<10} {spread(ratios):<23}{aim:<6} {100 * middle['mfu']:4.0f} %  {100 * share:3.0f} % of the step",
                  flush=True)


TWO_RANKS = (("tp 2", "--tp 2"), ("tp 2, sequence parallel", "--tp 2 --sequence-parallel"),
             ("dp 2", "--dp 2"), ("pp 2", "--pp 2"), ("pp 2, zero-bubble", "--pp 2 --schedule zb-h1"))


def two_ranks(arguments):
    """By how much each axis beats one rank, and where the rest of the step goes."""
    shape = SHAPES["hidden 512"]
    layouts = [(name, layout) for name, layout in TWO_RANKS if arguments.only in name]
    if not layouts:
        return
    print("\nTwo ranks of one thread against one rank of one thread, hidden 512, fp32, micro-batch 1")
    for name, layout in layouts:
        ratios, runs = [], []
        for _ in range(arguments.rounds):
            one = train(arguments.program, shape, "fp32", 1, arguments.steps, "", 1)
            runs.append(train(arguments.program, shape, "fp32", 1, arguments.steps, layout, 1))
            ratios.append(runs[-1]["tokens_per_s"] / one["tokens_per_s"])
        step = runs[-1]["step_time_s"]["median"]
        names = {key: key.removesuffix("_s").replace("_", " ") for key in runs[-1]["time"]}
        rest = ", ".join(f"{names[key]} {100 * value / step:.1f} %"
                         for key, value in runs[-1]["time"].items() if value / step > 0.005)
        print(f"  {name:<26} {spread(ratios)} times   {rest}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(HERE.parent / "build" / "kumihimo"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    arguments = parser.parse_args()
    if subprocess.run([TORCH_PYTHON, "-c", "import torch"], capture_output=True).returncode != 0:
        sys.exit("compare_pytorch.py: no PyTorch here; apt-get install python3-torch libopenblas0-openmp")
    compare(arguments)
    two_ranks(arguments)


if __name__ == "__main__":
    main()

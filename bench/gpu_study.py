#!/usr/bin/env python3
"""Everything that the CUDA back end has to show on a machine with an NVIDIA GPU, in one run.

  1 oracles     tests of kernels, products, attention and engine against the reference
  2 sanitizer   compute-sanitizer memcheck and racecheck on the tests of kernels
  3 measure     calibrate --measure: the GPU as a cluster file and a stack profile
  4 pytorch     tokens/s, MFU and peak memory beside PyTorch, 1.3 and 2.7 billion parameters, with and
                without --cuda-graphs; the faster one is judged
  5 fp8         fp8 against bf16: speed, and losses by --compare-precision
  6 llama8b     the shape of LLaMA-3 8B: AdamW with its states in host memory (96 GB), and momentum SGD without
  7 predict     64 configurations, some of them too large, every second one fitted, the others predicted:
                errors of time and memory, and whether running out of memory was foreseen

Prints a table and what each aim was; --out keeps every command's output and JSON, with commit and GPU.
On a machine that is there for a while only, --seconds says how long: what is under way then is broken
off, and the same command goes on later with what it finds in --out.

usage: gpu_study.py [--build build] [--out gpu-study] [--only pytorch,fp8] [--torch-python python3]
                    [--seconds 570]
"""

import argparse
import csv
import hashlib
import itertools
import json
import math
import os
import pathlib
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
# hidden, layers, heads, kv heads, ffn, vocabulary
SHAPES = {"1.3B": (2048, 24, 16, 16, 5504, 32000), "2.7B": (2560, 32, 20, 20, 6912, 32000),
          "8B": (4096, 32, 32, 8, 14336, 128256)}
OUT_OF_MEMORY = 3
GPU_TIMEOUT_S = 120  # a GPU that hangs is not to hold up the rest
RUN_LIMIT_S = 1800  # nor anything else
# Where MFU is not asked for: a run then need not find out what products reach, which takes seconds.
ANY_PEAK = ("--peak", "1TFLOP/s")


class OutOfTime(Exception):
    pass


def run_for(command, seconds):
    """Exit code, or 124 where it was ended after so many seconds, with all that it had started; output; errors."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
                               start_new_session=True)
    try:
        output, errors = process.communicate(timeout=seconds)
        return process.returncode, output, errors
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, errors = process.communicate()
        return 124, output, errors
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise


class Study:
    def __init__(self, arguments, version=""):
        self.build = pathlib.Path(arguments.build)
        self.out = pathlib.Path(arguments.out)
        self.torch_python = arguments.torch_python
        self.end_s = time.monotonic() + (arguments.seconds or math.inf)
        self.rows = []
        self.failed = False
        self.failed_runs = set()  # by name: neither measured nor out of memory
        self.runs_file = self.out / "runs.json"
        self.kept = {"version": version, "runs": {}}
        if self.runs_file.exists():
            kept = json.loads(self.runs_file.read_text())
            if kept["version"] == version:
                self.kept = kept

    def run(self, name, command, allowed=(0,)):
        """Output and exit code; the whole of it is kept, and what went well is not run again."""
        command = [str(word) for word in command]
        kept = self.kept["runs"].get(name)
        if kept and kept["command"] == command:
            return kept["output"], kept["code"]
        left_s = self.end_s - time.monotonic()
        if left_s < 1:
            raise OutOfTime(name)
        code, output, errors = run_for(command, min(RUN_LIMIT_S, left_s))
        (self.out / f"{name}.txt").write_text(f"$ {' '.join(command)}\n{output}{errors}exit code {code}\n")
        if code == 124 and left_s < RUN_LIMIT_S:
            raise OutOfTime(name)
        if code in allowed:
            self.kept["runs"][name] = {"command": command, "code": code, "output": output}
            self.write("runs.json", self.kept)
        elif code == 124:
            self.report(name, f"did not end within {RUN_LIMIT_S} s", "", False)
        else:
            self.report(name, f"exit code {code}: {self.out / name}.txt", "", False)
        return output, code

    def write(self, name, content):
        """Whole, or as it was before."""
        half = self.out / f"{name}.half"
        half.write_text(json.dumps(content, indent=1))
        half.replace(self.out / name)

    def report(self, what, value, aim, met):
        self.rows.append((what, value, aim, met))
        self.write("table.json", self.rows)
        self.failed |= met is False
        mark = {True: "met", False: "NOT MET", None: ""}[met]
        print(f"{what:<44} {value:<44} {aim:<28} {mark}", flush=True)

    def train(self, name, shape, *, seq=4096, micro_batch=1, batch=8, steps=14, warmup=4, more=()):
        """The document kumihimo.train/1, or None where it ran out of memory or failed, which `failed_runs` tells apart."""
        hidden, layers, heads, kv_heads, ffn, vocab = SHAPES[shape]
        command = [self.build / "kumihimo", "train", "--backend", "cuda", "--model", "llama-2-7b", "--data", "synthetic",
                   "--json", "--hidden", hidden, "--layers", layers, "--heads", heads, "--kv-heads", kv_heads,
                   "--ffn-hidden", ffn, "--vocab-size", vocab, "--seq-length", seq, "--micro-batch-size", micro_batch,
                   "--global-batch-size", batch, "--steps", steps, "--warmup-steps", warmup,
                   "--gpu-timeout", GPU_TIMEOUT_S, *more]
        text, code = self.run(name, command, (0, OUT_OF_MEMORY))
        if code not in (0, OUT_OF_MEMORY):
            self.failed_runs.add(name)
        return json.loads(text) if code == 0 else None


def oracles(study):
    for program, names in (("test_tensor", "OnGpu*:*/cuda"), ("test_engine", "EngineOnGpu*")):
        text, code = study.run(f"oracles-{program}", [study.build / "tests" / program, f"--gtest_filter={names}"])
        last = [line for line in text.splitlines() if "PASSED" in line or "FAILED" in line]
        study.report(f"oracles, {program}", last[0].strip() if last else "no output", "all pass",
                     code == 0 and "SKIPPED" not in text)


def sanitizer(study):
    if not shutil.which("compute-sanitizer"):
        study.report("compute-sanitizer", "not installed", "clean", None)
        return
    # Libraries ask for what a driver may lack, and a test for more memory than there is: those are answers, no faults.
    # What libraries' own kernels do in shared memory is theirs.
    for tool, options in (("memcheck", ("--track-stream-ordered-races", "all")),
                          ("racecheck", ("--kernel-name", "kns=kumihimo"))):
        _, code = study.run(f"sanitizer-{tool}", ["compute-sanitizer", "--tool", tool, *options, "--report-api-errors", "no",
                                                  "--error-exitcode", "99", study.build / "tests" / "test_tensor",
                                                  "--gtest_filter=*/cuda:OnGpu*"])
        study.report(f"compute-sanitizer {tool}", f"exit code {code}", "clean", code == 0)


def measure(study):
    text, code = study.run("measure", [study.build / "kumihimo", "calibrate", "--measure", "--backend", "cuda", "--model",
                                       "llama-7b", "--seq-length", "2048", "--cluster-out", study.out / "gpu.toml", "--out",
                                       study.out / "stack.toml"])
    if code == 0:
        study.report("measured products and memory", text.splitlines()[1].strip()[:44], "", None)


def pytorch(study):
    for shape, micro_batch in (("1.3B", 4), ("1.3B", 2), ("2.7B", 2)):
        hidden, layers, heads, kv_heads, ffn, vocab = SHAPES[shape]
        name = f"{shape}, micro-batch {micro_batch}"
        batch = 8
        text, code = study.run(f"torch-{shape}-{micro_batch}", [
            study.torch_python, HERE / "torch_llama_gpu.py", "--hidden", hidden, "--layers", layers, "--heads", heads,
            "--kv-heads", kv_heads, "--ffn", ffn, "--vocab", vocab, "--micro-batch", micro_batch, "--micro-batches",
            batch // micro_batch], (0, OUT_OF_MEMORY))
        runs = {way: study.train(f"kumihimo-{shape}-{micro_batch}{way}", shape, micro_batch=micro_batch, batch=batch,
                                 more=("--precision", "bf16", *way.split()))
                for way in ("", " --cuda-graphs")}
        way = faster(runs)
        if way is None:
            continue
        ours = runs[way]
        rates = ", ".join(f"{'with' if each else 'without'} {run['tokens_per_s']:.0f}" if run else
                          f"{'with' if each else 'without'} none" for each, run in runs.items())
        study.report(f"{name}: tokens/s, --cuda-graphs", rates, "the faster one is judged", None)
        name += way
        study.report(f"{name}: MFU of the stated peak", f"{100 * ours.get('mfu_of_stated', 0):.1f} %", "at least 50 %",
                     ours.get("mfu_of_stated", 0) >= 0.5)
        study.report(f"{name}: of measured products", f"{100 * ours['mfu']:.1f} %", "at least 65 %", ours["mfu"] >= 0.65)
        if code != 0:
            continue
        theirs = json.loads(text.splitlines()[-1])
        speed = batch * 4096 / statistics.median(theirs["seconds"])
        ratio = ours["tokens_per_s"] / speed
        study.report(f"{name}: tokens/s beside PyTorch {theirs['torch']}", f"{ours['tokens_per_s']:.0f} / {speed:.0f} = {ratio:.2f}",
                     "at least 1.15", ratio >= 1.15)
        # Of both what was asked for, without what allocators keep besides.
        study.report(f"{name}: peak memory beside PyTorch",
                     f"{ours['peak_memory_bytes'] / 2**30:.1f} / {theirs['peak_memory_bytes'] / 2**30:.1f} GiB", "lower",
                     ours["peak_memory_bytes"] < theirs["peak_memory_bytes"])
        study.report(f"{name}: reserved, in use by the driver",
                     f"{ours['gpu']['memory_in_use_bytes'] / 2**30:.1f} / {theirs['reserved_bytes'] / 2**30:.1f} GiB", "", None)


def faster(runs):
    """Of runs by name, None where one did not run: the name of the fastest, or None."""
    ran = {name: run for name, run in runs.items() if run}
    return max(ran, key=lambda name: ran[name]["tokens_per_s"]) if ran else None


def fp8(study):
    runs = {precision: study.train(f"fp8-{precision}", "2.7B", micro_batch=2, more=("--precision", precision, *ANY_PEAK))
            for precision in ("bf16", "fp8")}
    if all(runs.values()):
        ratio = runs["fp8"]["tokens_per_s"] / runs["bf16"]["tokens_per_s"]
        study.report("fp8 over bf16, tokens/s", f"{ratio:.2f}", "at least 1.2", ratio >= 1.2)
    text, code = study.run("fp8-losses", [study.build / "kumihimo", "train", "--backend", "cuda", "--model", "llama-tiny",
                                          "--steps", "200", "--compare-precision", "bf16,fp8"], (0, 1))
    study.report("fp8 against bf16, losses", text.splitlines()[0][:44] if text else "no output", "within tolerance", code == 0)


def llama8b(study):
    # All optimizer states cross the host's link once a step: a batch of 64 sequences, 262,144 tokens.
    for optimizer, batch, more in (("adamw", 64, ("--offload", "optimizer")), ("sgd", 8, ())):
        best = None
        # Steps of the large batch take half a minute: the first that trains is the best of those that may.
        for micro_batch, recompute in ((2, "none"), (1, "none"), (2, "full"), (1, "full")):
            run = study.train(f"llama8b-{optimizer}-{micro_batch}-{recompute}", "8B", micro_batch=micro_batch, batch=batch,
                              steps=6, warmup=3, more=("--precision", "bf16", "--optimizer", optimizer,
                                                       "--recompute", recompute, *ANY_PEAK, *more))
            if run:
                best = run
                break
        value = "does not fit" if best is None else f"{best['tokens_per_s']:.0f} tokens/s"
        name = "AdamW, offloaded" if optimizer == "adamw" else "momentum SGD"
        met = best is not None and best["tokens_per_s"] > 11000
        study.report(f"LLaMA-3 8B shape, bf16, {name}", value, "above 11,000" if optimizer == "adamw" else "",
                     met if optimizer == "adamw" else None)


def configurations():
    """64, the last 16 of them with micro-batches that a GPU may have no room for."""
    def some(micro_batches, sequences, count, seed):
        everything = list(itertools.product(micro_batches, sequences, ("none", "selective", "full"),
                                            ("flash2", "fused-softmax", "unfused"), ("fused", "unfused"), ("bf16", "fp8")))
        return random.Random(seed).sample(everything, count)
    return some((1, 2, 4, 8), (1024, 2048, 4096), 48, 1) + some((16, 32), (4096, 8192), 16, 2)


def judge_predictions(measured, predicted):
    """Errors of predictions (lines of validate --predictions) for measured rows of a run file, by id.

    `time_mape` and `memory_mape`: over rows that ran and have a predicted figure, or None; `judged_right`: the share
    of rows, of those that could be predicted, whose running out of memory was said rightly; `skipped`: rows without
    a prediction, which count as failures of no kind but are reported. Memory is GiB in both."""
    by_id = {row["table_or_row_id"]: row for row in predicted}
    time_errors, memory_errors, right, judged, out_of_memory, skipped = [], [], 0, 0, 0, 0
    for row in measured:
        said = by_id.get(row["table_or_row_id"])
        if said is None or said["predicted_status"] not in ("ok", "oom"):
            skipped += 1
            continue
        judged += 1
        out_of_memory += row["status"] == "oom"
        right += said["predicted_status"] == row["status"]
        if row["status"] != "ok" or not said["predicted_step_time_s"]:
            continue
        time_errors.append(abs(float(said["predicted_step_time_s"]) / float(row["step_time_s"]) - 1))
        memory_errors.append(abs(float(said["predicted_memory_gb"]) / float(row["memory_gb"]) - 1))
    mean = lambda values: statistics.fmean(values) if values else None  # noqa: E731
    return {"time_mape": mean(time_errors), "memory_mape": mean(memory_errors), "timed": len(time_errors),
            "judged_right": right / judged if judged else None, "judged": judged, "out_of_memory": out_of_memory,
            "skipped": skipped}


def report_predictions(study, result):
    def judged(what, value, count, aim, met):
        text = "no rows" if value is None else f"{100 * value:.1f} % of {count} rows"
        study.report(f"held out: {what}", text, aim, value is not None and met(value))
    judged("step time, mean error", result["time_mape"], result["timed"], "at most 6 %", lambda x: x <= 0.06)
    judged("memory, mean error", result["memory_mape"], result["timed"], "at most 3 %", lambda x: x <= 0.03)
    judged("out of memory said rightly", result["judged_right"], result["judged"], "at least 98 %", lambda x: x >= 0.98)
    none = "" if result["out_of_memory"] else ": the line above says nothing of large ones"
    study.report("held out: ran out of memory", f"{result['out_of_memory']} rows{none}", "some", result["out_of_memory"] > 0)
    study.report("held out: without a prediction", f"{result['skipped']} rows", "none", result["skipped"] == 0)


def measured_rows(study, chosen):
    """A row of a run file for each configuration that ran or ran out of memory, by its number; a run that failed
    otherwise says nothing of either."""
    columns = ("source,table_or_row_id,model_name,hidden,layers,heads,kv_heads,ffn_hidden,vocab,seq_len,global_batch,gpus,"
               "gpu_type,gpus_per_node,tp,pp,dp,micro_batch,recompute,seq_parallel,zero_stage,precision,attention_kernel,"
               "step_time_s,status,memory_gb,notes").split(",")
    hidden, layers, heads, kv_heads, ffn, vocab = SHAPES["1.3B"]
    rows, gpu = {}, "NVIDIA H200"
    for number, (micro_batch, seq, recompute, attention, norm, precision) in enumerate(chosen):
        batch, name = max(8, micro_batch), f"predict-{number:02}"
        run = study.train(name, "1.3B", seq=seq, micro_batch=micro_batch, batch=batch, steps=8,
                          more=("--precision", precision, "--recompute", recompute, "--attention", attention, "--norm", norm,
                                *ANY_PEAK))
        if name in study.failed_runs:
            continue
        gpu = run["gpu"]["name"] if run else gpu
        rows[number] = dict(zip(columns, [
            "gpu_study", name, "LLaMA-1.3B", hidden, layers, heads, kv_heads, ffn, vocab, seq, batch, 1, gpu, 1,
            1, 1, 1, micro_batch, recompute, 0, 0, precision,
            {"flash2": "flash2", "fused-softmax": "fused softmax", "unfused": "unfused"}[attention]
            + (" + RMS kernel" if norm == "fused" else ""),
            run["step_time_s"]["median"] if run else "", "ok" if run else "oom",
            run["peak_memory_bytes"] / 2**30 if run else "", ""]))
    return rows


def predict(study):
    rows = measured_rows(study, configurations())
    fitted, held_out = ([row for number, row in rows.items() if number % 2 == rest] for rest in (0, 1))
    for name, part in (("fitted", fitted), ("held-out", held_out)):
        with open(study.out / f"{name}.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, next(iter(rows.values())) if rows else [])
            writer.writeheader()
            writer.writerows(part)
    base = study.out / "stack.toml"
    study.run("predict-fit", [study.build / "kumihimo", "calibrate", "--from", study.out / "fitted.csv", "--base",
                              base if base.exists() else "uncalibrated", "--out", study.out / "fitted.toml"])
    _, code = study.run("predict-validate", [study.build / "kumihimo", "validate", "--runs", study.out / "held-out.csv",
                                             "--stack", study.out / "fitted.toml", "--predictions",
                                             study.out / "predictions.csv"])
    if code == 0:
        with open(study.out / "predictions.csv", newline="") as file:
            report_predictions(study, judge_predictions(held_out, list(csv.DictReader(file))))


def main():
    steps = {step.__name__: step for step in (oracles, sanitizer, measure, pytorch, fp8, llama8b, predict)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=str(HERE.parent / "build"))
    parser.add_argument("--out", default="gpu-study")
    parser.add_argument("--only", default=",".join(steps))
    parser.add_argument("--torch-python", default="python3")
    parser.add_argument("--seconds", type=float, help="end within so long; the same command goes on later")
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    if unknown := set(names) - set(steps):
        sys.exit(f"gpu_study.py: --only: no step {', '.join(sorted(unknown))}; there are {', '.join(steps)}")
    program = pathlib.Path(arguments.build) / "kumihimo"
    if not program.exists():
        sys.exit(f"gpu_study.py: no {program}; build it with CUDA first (docs/cuda.md)")
    code, _, errors = run_for([str(program), "train", "--backend", "cuda", "--model", "llama-tiny", "--steps", "1",
                               "--gpu-timeout", str(GPU_TIMEOUT_S)], GPU_TIMEOUT_S)
    if code != 0:
        sys.exit(f"gpu_study.py: this machine cannot train on a GPU:\n{errors.strip()}")
    version = version_of(pathlib.Path(arguments.build))
    pathlib.Path(arguments.out).mkdir(parents=True, exist_ok=True)
    study = Study(arguments, version)
    (study.out / "machine.txt").write_text(f"{version}\n{output_of('nvidia-smi')}")
    print(f"{'what':<44} {'measured':<44} {'aim':<28}")
    try:
        for name in names:
            steps[name](study)
    except OutOfTime as run:
        sys.exit(f"gpu_study.py: no time left for {run}: the same command goes on from there")
    sys.exit(1 if study.failed else 0)


def version_of(build):
    """Commit, and what tells builds of one commit apart."""
    packed = HERE.parent / "commit.txt"  # scripts/bundle_for_gpu.py
    commit = packed.read_text() if packed.exists() else output_of("git", "-C", HERE, "rev-parse", "HEAD")
    digest = hashlib.sha256()
    for name in ("kumihimo", "libkumihimo_cuda.so", "tests/test_tensor", "tests/test_engine"):
        if (build / name).exists():
            digest.update((build / name).read_bytes())
    return f"commit {commit.strip()}, build {digest.hexdigest()[:12]}"


def output_of(*command):
    """Or nothing, where there is no such program."""
    try:
        return subprocess.run([str(word) for word in command], capture_output=True, text=True).stdout
    except OSError:
        return ""


if __name__ == "__main__":
    main()

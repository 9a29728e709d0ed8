#!/usr/bin/env python3
"""What the CUDA kernels need of a multiprocessor, as the compiler says: registers, and what spills.

    scripts/cuda_budget.py [ARCHITECTURE ...]     80 90a 100a if none is given

Needs nvcc (in PATH, or named by CUDACXX), no GPU. Shared memory that a launch asks for is not the
compiler's to know; docs/cuda.md has it. Exits with 1 where a kernel spills registers.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).resolve().parent.parent


def find_nvcc():
    found = os.environ.get("CUDACXX") or shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    if not pathlib.Path(found).exists():
        sys.exit("cuda_budget.py: no nvcc; put it into PATH or name it in CUDACXX")
    return found


def compile_file(nvcc, source, architecture):
    """Seconds, and (kernel, registers, spilled bytes) of every kernel in the file."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        # Release builds of the program use the same options.
        run = subprocess.run(
            [nvcc, "-std=c++20", "-O3", "-DNDEBUG", f"-I{ROOT / 'src'}",
             "-gencode", f"arch=compute_{architecture},code=sm_{architecture}", "-Xptxas", "-v",
             "-c", str(source), "-o", f"{folder}/out.o"],
            capture_output=True, text=True)  # fmt: skip
        seconds = time.monotonic() - begin
    if run.returncode != 0:
        sys.exit(run.stderr)
    text = subprocess.run(["c++filt"], input=run.stderr, capture_output=True, text=True).stdout
    kernels = re.findall(
        r"Compiling entry function '(.*?)' for.*?(\d+) bytes spill stores.*?Used (\d+) registers",
        text,
        re.DOTALL,
    )
    return seconds, [(short_name(name), int(used), int(spilled)) for name, spilled, used in kernels]


def short_name(signature):
    """flash_forward_kernel<Bf16, 128> of a demangled signature."""
    name = re.sub(r"\(anonymous namespace\)::|kumihimo::cuda::|kumihimo::", "", signature)
    depth, end = 0, len(name)
    for i, letter in enumerate(name):
        depth += (letter == "<") - (letter == ">")
        if letter == "(" and depth == 0 and i > 0:
            end = i
            break
    return re.sub(r"^void ", "", name[:end])


def main():
    nvcc = find_nvcc()
    spills = False
    sources = sorted((ROOT / "src/tensor/cuda/simt").glob("*.cu"))
    for architecture in sys.argv[1:] or ["80", "90a", "100a"]:
        print(f"sm_{architecture}")
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            results = pool.map(lambda source: compile_file(nvcc, source, architecture), sources)
            for source, (seconds, kernels) in zip(sources, results):
                print(f"  {source.name}: {len(kernels)} kernels, {seconds:.0f} s")
                for name, registers, spilled in kernels:
                    note = f", {spilled} bytes spilled" if spilled else ""
                    print(f"    {registers:4d} registers{note}  {name}")
                    spills |= spilled > 0
    return 1 if spills else 0


if __name__ == "__main__":
    sys.exit(main())

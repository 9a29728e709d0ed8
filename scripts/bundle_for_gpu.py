#!/usr/bin/env python3
"""Packs a build for CUDA to be run on a machine that has a GPU but not our packages: program, modules, tests
of kernels and engine, bench/gpu_study.py, and the shared libraries that such a machine may lack. NVIDIA's
stay out: they are there, from the toolkit or pip (PyTorch brings them). So does what that machine has itself:
its own come before ours.

A small bundle is one for a single kind of GPU, without the back ends of CPUs and MPI:

  cmake -B build-gpu -G Ninja -DCMAKE_BUILD_TYPE=Release -DKUMIHIMO_CUDA=ON -DKUMIHIMO_CUDA_ARCHITECTURES=90a-real
        -DKUMIHIMO_CPU=OFF -DKUMIHIMO_MPI=OFF
  cmake --build build-gpu --target kumihimo kumihimo_cuda kumihimo_nccl test_tensor test_engine
  scripts/bundle_for_gpu.py --build build-gpu kumihimo-gpu.tar.gz

and there:

  tar xzf kumihimo-gpu.tar.gz && cd kumihimo-gpu && ./run python3 bench/gpu_study.py --seconds 570

usage: bundle_for_gpu.py [--build build] OUT.tar.gz
"""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARIES = ("kumihimo", "libkumihimo_cuda.so", "tests/test_tensor", "tests/test_engine")
NCCL_MODULE = "libkumihimo_nccl.so"  # needed by several GPUs
SCRIPTS = ("bench/gpu_study.py", "bench/torch_llama_gpu.py")
# Of every machine on which CUDA's compiler runs, and of its driver, toolkit or pip.
THERE = re.compile(r"(linux-vdso|ld-linux.*|lib(c|m|dl|rt|pthread|stdc\+\+|gcc_s|cublas|cublasLt|cudnn.*|nccl|cuda))\.so.*")

RUN = """#!/bin/sh
# Runs a command with NVIDIA's libraries, from where pip or the toolkit has put them, and with ours that are missing.
here=$(cd "$(dirname "$0")" && pwd)
nvidia=$(python3 -c '
import glob, importlib.util
nvidia = importlib.util.find_spec("nvidia")
for folder in nvidia.submodule_search_locations if nvidia else ():
    for libraries in sorted(glob.glob(folder + "/*/lib")): print(libraries, end=":")
' 2>/dev/null)
system=/usr/local/cuda/lib64:/lib/x86_64-linux-gnu:/usr/lib/x86_64-linux-gnu:/lib64:/usr/lib64
LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$here/build:$nvidia$system:$here/lib"
export LD_LIBRARY_PATH
exec "$@"
"""


def libraries_of(binary):
    """Paths of the shared libraries that it is loaded with, by the names that it asks for."""
    text = subprocess.run(["ldd", binary], capture_output=True, text=True, check=True).stdout
    found = dict(re.findall(r"^\s*(\S+) => (/\S+)", text, re.MULTILINE))
    missing = [name for name in re.findall(r"^\s*(\S+) => not found", text, re.MULTILINE) if not THERE.fullmatch(name)]
    if missing:
        sys.exit(f"bundle_for_gpu.py: {binary} needs {', '.join(missing)}, which this machine lacks")
    return {name: path for name, path in found.items() if not THERE.fullmatch(name) and not name.startswith("libkumihimo")}


def pack(build, folder):
    libraries = {}
    for name in BINARIES + ((NCCL_MODULE,) if (build / NCCL_MODULE).exists() else ()):
        if not (build / name).exists():
            sys.exit(f"bundle_for_gpu.py: no {build / name}; build it with CUDA first (docs/cuda.md)")
        libraries |= libraries_of(build / name)
        copy(build / name, folder / "build" / name, strip=True)
    for name, path in libraries.items():
        copy(path, folder / "lib" / name, strip=True)
    for name in SCRIPTS:
        copy(ROOT / name, folder / name)
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True).stdout
    (folder / "commit.txt").write_text(commit)
    (folder / "run").write_text(RUN)
    (folder / "run").chmod(0o755)


def copy(source, target, strip=False):
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)  # what a link points to
    if strip:
        subprocess.run(["strip", "--strip-unneeded", target], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=str(ROOT / "build"))
    parser.add_argument("out")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch) / "kumihimo-gpu"
        pack(pathlib.Path(arguments.build), folder)
        with tarfile.open(arguments.out, "w:gz") as archive:
            archive.add(folder, folder.name)
        whole = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{arguments.out}: {pathlib.Path(arguments.out).stat().st_size / 2**20:.1f} MiB, unpacked {whole / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()

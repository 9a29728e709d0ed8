#!/usr/bin/env python3
"""What scripts/bundle_for_gpu.py packs runs in another folder, with nothing of the build's but what it holds.

usage: bundle_test.py SCRIPT BUILD"""
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile

script, build = sys.argv[1:]
if not all((pathlib.Path(build) / name).exists() for name in ("kumihimo", "tests/test_tensor", "tests/test_engine")):
    print("not all of it is built")
    sys.exit(77)
with tempfile.TemporaryDirectory() as scratch:
    archive = pathlib.Path(scratch) / "bundle.tar.gz"
    subprocess.run([sys.executable, script, "--build", build, archive], check=True)
    with tarfile.open(archive) as packed:
        packed.extractall(scratch)
    folder = pathlib.Path(scratch) / "kumihimo-gpu"

    def run(*command):
        return subprocess.run([folder / "run", *command], capture_output=True, text=True, check=True, cwd=scratch,
                              env={"PATH": "/usr/bin:/bin"}).stdout

    assert run(folder / "build/kumihimo", "--version").startswith("kumihimo "), "the program runs"
    assert "EngineOnGpu." in run(folder / "build/tests/test_engine", "--gtest_list_tests"), "the tests run"
    assert (folder / "commit.txt").exists() and (folder / "bench/gpu_study.py").exists()
    held = {path.name for path in (folder / "lib").iterdir()}
    assert not [name for name in held if re.match(r"lib(c|stdc\+\+|cuda|cublasLt|cudnn|nccl)\.so", name)], held
    # All that the binaries need is there, or of the kinds that every such machine has.
    for binary in ("kumihimo", "libkumihimo_cuda.so", "tests/test_tensor", "tests/test_engine"):
        needed = set(re.findall(r"^\s*(\S+) => ", run("ldd", folder / "build" / binary), re.MULTILINE))
        outside = {name for name in needed - held if not re.match(
            r"lib(c|m|dl|rt|pthread|stdc\+\+|gcc_s|cublasLt|cudnn)\.so|linux-vdso|libkumihimo", name)}
        assert not outside, f"{binary} needs {outside}"
    listed = run("sh", "-c", 'echo "$LD_LIBRARY_PATH"').strip().split(":")
    assert listed[-1] == str(folder / "lib"), "the machine's own libraries come first"

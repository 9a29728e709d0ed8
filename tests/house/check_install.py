#!/usr/bin/env python3
"""Installs the build under a temporary prefix and uses it from elsewhere, as a packager would.

Usage: check_install.py CMAKE BUILD_DIR
"""

import pathlib
import subprocess
import sys
import tempfile

EXPECTED = [
    "bin/kumihimo",
    "share/man/man1/kumihimo.1",
    "share/bash-completion/completions/kumihimo",
    "share/zsh/site-functions/_kumihimo",
    "share/fish/vendor_completions.d/kumihimo.fish",
]


def check(prefix, elsewhere):
    """The faults of an installation."""
    faults = [f"{name} is missing or empty" for name in EXPECTED
              if not (prefix / name).is_file() or (prefix / name).stat().st_size == 0]
    for kind, extension in (("models", "json"), ("clusters", "toml"), ("stacks", "toml")):
        if not list((prefix / "share/kumihimo/catalog" / kind).glob(f"*.{extension}")):
            faults.append(f"share/kumihimo/catalog/{kind} has no {extension} files")

    # No variable may be needed to find the catalog.
    run = subprocess.run([prefix / "bin/kumihimo", "--version"], cwd=elsewhere, env={},
                         capture_output=True, text=True)
    if run.returncode != 0 or "." not in run.stdout:
        faults.append(f"kumihimo --version ended with {run.returncode}: {run.stdout}{run.stderr}")
    return faults


def main():
    cmake, build = sys.argv[1:]
    with tempfile.TemporaryDirectory() as prefix, tempfile.TemporaryDirectory() as elsewhere:
        subprocess.run([cmake, "--install", build, "--prefix", prefix], check=True,
                       stdout=subprocess.DEVNULL)
        faults = check(pathlib.Path(prefix), pathlib.Path(elsewhere))
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

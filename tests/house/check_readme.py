#!/usr/bin/env python3
"""Holds the output in a document to what the program prints.

A block that opens with ```console holds one command, "$ kumihimo ...", perhaps over several lines
that end in a backslash and with a pipe to shorten it, and then its output. The command runs in the
folder of the document; --update writes the true output into the document instead of comparing.

Usage: check_readme.py [--update] PROGRAM DOCUMENT...
"""

import os
import pathlib
import re
import subprocess
import sys

BLOCK = re.compile(r"^```console\n(\$ (?:[^\n]*\\\n)*[^\n]*\n)(.*?)^```$", re.MULTILINE | re.DOTALL)


def output_of(command, program, folder):
    """What the command prints; lines carry no space at their end."""
    path = f"{pathlib.Path(program).resolve().parent}:{os.environ['PATH']}"
    run = subprocess.run(["bash", "-c", command], cwd=folder, env={**os.environ, "PATH": path},
                         capture_output=True, text=True, timeout=60)
    if run.stderr:
        raise RuntimeError(f"{command.strip()}\n{run.stderr}")
    return "".join(line.rstrip() + "\n" for line in run.stdout.splitlines())


def with_true_output(text, program, folder):
    """The document as it should be."""
    def block(found):
        command, _ = found.groups()
        return f"```console\n{command}{output_of(command.removeprefix('$ '), program, folder)}```"
    return BLOCK.sub(block, text)


def main():
    arguments = sys.argv[1:]
    update = arguments[0] == "--update"
    program, *documents = arguments[update:]
    stale = 0
    for name in documents:
        document = pathlib.Path(name)
        text = document.read_text()
        if not BLOCK.search(text):
            print(f"{name}: has no ```console block")
            stale += 1
            continue
        true = with_true_output(text, program, document.parent)
        if update:
            document.write_text(true)
        elif true != text:
            shown, printed = text.splitlines(), true.splitlines()
            at = next((i for i, pair in enumerate(zip(shown, printed)) if pair[0] != pair[1]),
                      min(len(shown), len(printed)))
            print(f"{name}:{at + 1}: is not what the program prints; if the program is right, run\n"
                  f"  tests/house/check_readme.py --update {program} {name}\n"
                  f"  document: {shown[at] if at < len(shown) else ''}\n"
                  f"  program:  {printed[at] if at < len(printed) else ''}")
            stale += 1
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())

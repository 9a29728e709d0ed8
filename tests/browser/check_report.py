#!/usr/bin/env python3
"""Reports as users meet them: written by the program, opened in a browser.

  check_report.py files PROGRAM          what is written, and what is not when a store is damaged
  check_report.py browser PROGRAM WEB    pages in headless Chromium; WEB is the build's web/ folder

The browser's part ends with 77, "skipped", and says why where Node.js, the page's packages or
Chromium are missing.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

INPUTS = pathlib.Path(__file__).resolve().parent.parent / "golden" / "inputs"
SKIPPED = 77
HOSTILE = [
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "\"><svg onload=alert(1)>",
    "'quoted', \"twice\"\nand a new line",
    "x" * 10_000,
    "\u202eturned around",
    "=cmd|' /C calc'!A0",
]
JOB = [
    "--model", str(INPUTS / "small-llama.json"), "--cluster", str(INPUTS / "two-nodes.toml"),
    "--stack", str(INPUTS / "stack.toml"), "--seq-length", "1024", "--global-batch-size", "64",
    "--current", "tp=4 pp=2 micro-batch=1 recompute=full attention=flash1 norm=unfused",
]


def run(program, *arguments, expect=0):
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=300)
    if done.returncode != expect:
        sys.exit(f"{arguments}: exit {done.returncode}, not {expect}\n{done.stderr[-2000:]}")
    return done


def trial(number, study, text, clock, state):
    """A line kumihimo.trial/1 whose free texts are `text`."""
    step = 2.0 + number % 37 / 10
    cells = {
        "source": text, "table_or_row_id": f"{text}#{number}", "model_name": text, "gpus": "8",
        "gpu_type": text, "tp": str(1 << number % 4), "pp": "1", "dp": str(8 >> number % 4),
        "micro_batch": str(1 << number % 3), "recompute": text, "seq_len": "1024",
        "global_batch": "64", "attention_kernel": text, "notes": text,
        "step_time_s": str(step) if state == "ok" else None,
        "mfu": str(round(1 / step, 4)) if state == "ok" else None, "status": state,
    }
    layout = f"tp={1 << number % 4} dp={8 >> number % 4} micro-batch={1 << number % 3}"
    return json.dumps({
        "schema": "kumihimo.trial/1", "study": study, "layout": layout, "repetition": None,
        "clock": clock, "state": state, "reason": text, "started_unix_s": None, "duration_s": None,
        "device_hours": None, "timed_steps": None, "step_time_spread": None, "outlier_steps": None,
        "run": cells, "steps": [],
    })


def make_store(program, folder, name, texts, count):
    lines = []
    for i in range(count):
        clock = ["measured", "emulated", "quoted"][i % 3]
        state = "oom" if i % 7 == 6 else "ok"
        # One trial of a layout is enough for a measured study; each has a study of its own.
        study = f"{texts[i % len(texts)][:60]} {i}"
        lines.append(trial(i, study, texts[i % len(texts)], clock, state))
    source = folder / f"{name}.jsonl"
    source.write_text("\n".join(lines) + "\n")
    store = folder / f"{name}.db"
    run(program, "store", "import", store, "--jsonl", source)
    return store


def check_files(program, folder):
    store = make_store(program, folder, "hostile", HOSTILE, 40)
    page = folder / "hostile.html"
    run(program, "report", store, "--out", page)
    html = page.read_text()
    for marker in ("<script>alert", "<img", "<svg onload"):
        if marker in html.replace("<script>/*", ""):
            sys.exit(f"{marker} stands in the page as markup")
    if len(html.encode()) > 2 << 20:
        sys.exit("the page is larger than 2 MB")
    for form in ("md", "csv", "json"):
        text = run(program, "report", store, "--format", form).stdout
        if form == "json":
            assert len(json.loads(text)["rows"]) == 40
        if form == "csv":
            assert text.startswith("kind,study,model,gpus,state,")
    # A store cut short: an error that names it, and the file of before is as it was.
    damaged = folder / "damaged.db"
    damaged.write_bytes(store.read_bytes()[: store.stat().st_size // 2])
    out = folder / "kept.html"
    out.write_text("as before")
    done = subprocess.run([program, "report", damaged, "--out", out], capture_output=True, text=True)
    if done.returncode not in (2, 4) or "damaged.db" not in done.stderr:
        sys.exit(f"a damaged store: exit {done.returncode}, {done.stderr}")
    if out.read_text() != "as before" or list(folder.glob("kept.html?*")):
        sys.exit("a damaged store left half a file")
    nowhere = folder / "nowhere.html"
    run(program, "report", folder / "absent.db", "--out", nowhere, expect=2)
    if nowhere.exists():
        sys.exit("a store that is not there left a file")
    print("what is written, and what is not: as it should be")


def skip(why):
    print(f"skipped: {why}")
    sys.exit(SKIPPED)


def check_browser(program, web, folder):
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not shutil.which("node"):
        skip("no Node.js here")
    if not (web / "node_modules" / "playwright-core").is_dir():
        skip("the program was built without the page's packages")
    if not chromium:
        skip("no Chromium here; CHROMIUM may name one")
    pages = []
    for language in ("en", "ja"):
        pages.append(folder / f"plan-{language}.html")
        run(program, "report", *JOB, "--lang", language, "--out", pages[-1])
    hostile = make_store(program, folder, "hostile", HOSTILE, 40)
    pages.append(folder / "hostile.html")
    run(program, "report", hostile, "--lang", "ja", "--out", pages[-1])
    many = make_store(program, folder, "many", ["a plain name"], 2000)
    pages.append(folder / "both.html")
    run(program, "report", many, *JOB, "--out", pages[-1])
    done = subprocess.run(
        ["node", str(web / "test" / "browser.mjs"), *map(str, pages)],
        env={**os.environ, "CHROMIUM": chromium}, timeout=550)
    sys.exit(done.returncode)


def main():
    what, program = sys.argv[1:3]
    with tempfile.TemporaryDirectory() as name:
        if what == "files":
            check_files(program, pathlib.Path(name))
        else:
            check_browser(program, pathlib.Path(sys.argv[3]), pathlib.Path(name))


if __name__ == "__main__":
    main()

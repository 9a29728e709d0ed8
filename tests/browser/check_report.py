#!/usr/bin/env python3
"""Reports as users meet them: written by the program, opened in a browser.

  check_report.py files PROGRAM          what is written, and what is not when a store is damaged
  check_report.py browser PROGRAM WEB    pages in headless Chromium; WEB is the build's web/ folder

The browser's part ends with 77, "skipped", and says why where Node.js, the page's packages or
Chromium are missing.
"""

import csv
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from random import Random

INPUTS = pathlib.Path(__file__).resolve().parent.parent / "golden" / "inputs"
SKIPPED = 77
WHAT_IF_CASES = 40
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
        "predicted_step_time_s": 1.02 * step, "predicted_mfu": round(0.98 / step, 4),
        "predicted_memory_gib": 40.0, "predicted_fits": 0.9,
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


def make_comparison(folder):
    """A comparison of precisions as `train --compare-precision bf16,fp8 --json` prints it."""
    steps = [{"step": i + 1, "losses": [5 - i / 100, 5.01 - i / 100], "gap": 0.002,
              "smoothed_gap": 0.002, "gradient_cosine": 0.999} for i in range(50)]
    path = folder / "precision.json"
    path.write_text(json.dumps({
        "schema": "kumihimo.compare-precision/1", "fp8_emulated": True, "tolerance": 0.0025,
        "mean_gap": 0.002, "within_tolerance": True, "first_step_beyond": None,
        "trainings": [{"precision": p, "failure": None, "fp8_tensors": []} for p in ("bf16", "fp8")],
        "steps": steps, "parameters": []}))
    return path


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
            rows = list(csv.DictReader(io.StringIO(text)))
            assert len(rows) == 40 and all(row["gpus"] == "8" and None not in row for row in rows)
    if 'id="what_if"' in html:
        sys.exit("a store without machine and profile offers what-if")
    check_plan_file(program, folder)
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


def check_plan_file(program, folder):
    """The page of a plan's JSON has its layouts; a damaged one is refused by name."""
    job = JOB[: JOB.index("--current")]
    plan = folder / "plan.json"
    plan.write_text(run(program, "plan", *job, "--json").stdout)
    best = json.loads(plan.read_text())["best"]
    rows = json.loads(run(program, "report", plan, "--format", "json").stdout)["rows"]
    if [row["layout"] for row in rows] != [one["layout"]["text"] for one in best]:
        sys.exit("the report of a plan's JSON lists other layouts than the plan")
    page = run(program, "report", plan, "--lang", "ja").stdout
    if "含まれないもの" not in page or best[0]["layout"]["text"] not in page:
        sys.exit("the page of a plan's JSON lacks its best layout, or what it leaves out")
    run(program, "report", plan, *job, expect=2)  # two plans
    for text in (plan.read_text()[:2000], "{}", '{"schema": "kumihimo.train/1"}'):
        damaged = folder / "damaged.json"
        damaged.write_text(text)
        done = run(program, "report", damaged, "--out", folder / "none.html", expect=2)
        if "damaged.json" not in done.stderr or (folder / "none.html").exists():
            sys.exit(f"a damaged plan: {done.stderr}")


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
    run(program, "report", many, *JOB, "--out", pages[-1],
        "--precision-comparison", make_comparison(folder))
    for section in ("agreement", "precision", "steps", "frontier"):
        if f'<section id="{section}"' not in pages[-1].read_text():
            sys.exit(f"the page of everything lacks {section}")
    if pages[-1].stat().st_size > 2 << 20:
        sys.exit("the page of 2,000 trials and a plan is larger than 2 MB")
    what_if = folder / "what_if.json"
    controls = what_if_controls(pages[0])
    arguments = []
    if controls:
        what_if.write_text(json.dumps({"cases": what_if_cases(controls)}))
        arguments = ["--what-if", str(what_if)]
    done = subprocess.run(
        ["node", str(web / "test" / "browser.mjs"), *map(str, pages), *arguments],
        env={**os.environ, "CHROMIUM": chromium}, timeout=550)
    if controls:
        check_what_if(program, folder, controls, **json.loads(what_if.read_text()))
    sys.exit(done.returncode)


def what_if_controls(page):
    """The controls of a page that plans anew; none in a program built without Emscripten."""
    found = re.search(r'id="what_if_data">(.*?)</script>', page.read_text())
    return json.loads(found[1])["controls"] if found else []


def what_if_cases(controls):
    """Stops of each control: far from the plan and near to it, the same in every run."""
    random = Random(5)
    cases = []
    for number in range(WHAT_IF_CASES):
        moved = random.sample(range(len(controls)), random.randint(1, len(controls)))
        case = [control["today"] for control in controls]
        for i in moved:
            case[i] = random.randrange(len(controls[i]["stops"]))
        if case == [control["today"] for control in controls]:
            case[0] = (case[0] + 1) % len(controls[0]["stops"])
        cases.append(case)
    return cases


def plan_as_set(program, folder, settings):
    """What `plan` prints where a cluster file and flags say what the page's controls say."""
    cluster = (INPUTS / "two-nodes.toml").read_text()
    per_node = int(re.search(r"devices_per_node = (\d+)", cluster)[1])
    nics = int(re.search(r"nics_per_node = (\d+)", cluster)[1])
    nic = settings["inter_node_bandwidth"] * per_node / nics
    for pattern, value in (
        (r'(\[device\].*?\nmemory = )"[^"]*"', f'{settings["device_memory"]:.0f} B'),
        (r'(\[links.intra_node\].*?bandwidth = )"[^"]*"', f'{settings["intra_node_bandwidth"]:.0f} B/s'),
        (r'(nic_bandwidth = )"[^"]*"', f"{nic:.0f} B/s"),
    ):
        cluster, count = re.subn(pattern, rf'\1"{value}"', cluster, count=1, flags=re.DOTALL)
        if count != 1:
            sys.exit(f"two-nodes.toml lacks {pattern}")
    cluster = re.sub(r'price_per_hour = "[^"]*"\n', "", cluster)  # the page shows no cost
    path = folder / "what_if.toml"
    path.write_text(cluster)
    job = JOB[: JOB.index("--seq-length")]
    job[job.index("--cluster") + 1] = str(path)
    done = subprocess.run(
        [program, "plan", *job, "--gpus", f'{settings["devices"]:.0f}',
         "--seq-length", f'{settings["seq_length"]:.0f}',
         "--global-batch-size", f'{settings["global_batch_size"]:.0f}',
         "--attention", settings["attention"], "--norm", settings["norm"],
         "--precision", settings["precision"]],
        capture_output=True, text=True, timeout=300)
    if not done.stdout:
        sys.exit(f"plan says nothing about {settings}: {done.stderr}")
    return done.stdout


def table_of(text):
    """Title -> cells of the table of layouts that plan prints."""
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if re.match(r" *#  +tp ", line)), None)
    if start is None:
        return {}
    titles = re.split(r"  +", lines[start].strip())
    rows = []
    for line in lines[start + 1:]:
        cells = re.split(r"  +", line.strip())
        if len(cells) != len(titles):
            break
        rows.append(cells)
    return {title: [row[i] for row in rows] for i, title in enumerate(titles)}


def check_what_if(program, folder, controls, cases, answers=None):
    """The page's planner prints what the program's does, digit by digit."""
    if answers is None:
        sys.exit("the page planned nothing anew")
    names = {"causal MFU": "causal", "sequence parallel": "sp", "ZeRO": "zero", "communication": "comm"}
    compared = 0
    for case, shown in zip(cases, answers, strict=True):
        settings = {}
        for control, stop in zip(controls, case, strict=True):
            value = control["stops"][stop]
            settings[control["key"]] = value if control["choice"] else value[0]
        printed = plan_as_set(program, folder, settings)
        if shown["counts"] not in printed:
            sys.exit(f"{settings}: the page says {shown['counts']}; plan says\n{printed}")
        table = table_of(printed)
        if not table:
            if shown["rows"] or "No layout runs" not in shown["status"]:
                sys.exit(f"{settings}: plan finds nothing, the page {shown}")
            continue
        own = {}
        for i, title in enumerate(shown["titles"]):
            title = "step" if title.startswith("step time") else names.get(title, title)
            own[title] = [row[i] for row in shown["rows"]]
        for title, cells in table.items():
            if title == "#":
                continue
            mine = own.get(title.split(" ±")[0])
            if mine != cells:
                sys.exit(f"{settings}: {title}: the page shows {mine}, plan prints {cells}")
            compared += len(cells)
    if compared < 30 * 12:
        sys.exit(f"only {compared} figures of the page's planner were compared")
    print(f"the page's planner prints the program's digits: {compared} cells of {len(cases)} plans")


def main():
    what, program = sys.argv[1:3]
    with tempfile.TemporaryDirectory() as name:
        if what == "files":
            check_files(program, pathlib.Path(name))
        else:
            check_browser(program, pathlib.Path(sys.argv[3]), pathlib.Path(name))


if __name__ == "__main__":
    main()

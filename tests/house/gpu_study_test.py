#!/usr/bin/env python3
"""How bench/gpu_study.py runs commands, and judges what it measured on rows made up for it: no GPU is needed."""
import argparse
import contextlib
import io
import os
import pathlib
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "bench"))
import gpu_study  # noqa: E402


def ran(name, seconds, gibibytes):
    return {"table_or_row_id": name, "status": "ok", "step_time_s": seconds, "memory_gb": gibibytes}


def ran_out(name):
    return {"table_or_row_id": name, "status": "oom", "step_time_s": "", "memory_gb": ""}


def said(name, status, seconds="", gibibytes=""):
    return {"table_or_row_id": name, "predicted_status": status, "predicted_step_time_s": seconds,
            "predicted_memory_gb": gibibytes}


class Reports:
    def __init__(self):
        self.rows = {}

    def report(self, what, value, aim, met):
        self.rows[what] = met


class JudgePredictions(unittest.TestCase):
    def test_errors_are_means_of_what_ran(self):
        result = gpu_study.judge_predictions(
            [ran("a", 2.0, 10), ran("b", 1.0, 20), ran_out("c")],
            [said("a", "ok", "2.2", "10.0"), said("b", "ok", "0.9", "19.0"), said("c", "oom", "9.0", "99.0")])
        self.assertAlmostEqual(result["time_mape"], (0.1 + 0.1) / 2)
        self.assertAlmostEqual(result["memory_mape"], (0.0 + 0.05) / 2)
        self.assertEqual((result["timed"], result["judged"], result["out_of_memory"], result["skipped"]), (2, 3, 1, 0))
        self.assertEqual(result["judged_right"], 1)

    def test_both_kinds_of_wrong_judgement_count(self):
        result = gpu_study.judge_predictions(
            [ran("a", 1.0, 1.0), ran("b", 1.0, 1.0), ran_out("c"), ran_out("d")],
            [said("a", "oom", "1.0", "1.0"), said("b", "ok", "1.0", "1.0"), said("c", "ok", "1.0", "1.0"),
             said("d", "oom")])
        self.assertEqual(result["judged_right"], 2 / 4)

    def test_rows_without_a_prediction_are_counted(self):
        result = gpu_study.judge_predictions([ran("a", 1.0, 1.0), ran("b", 1.0, 1.0)], [said("a", "skipped")])
        self.assertEqual(result["skipped"], 2)
        self.assertIsNone(result["time_mape"])
        self.assertIsNone(result["judged_right"])

    def test_aims(self):
        good = {"time_mape": 0.06, "memory_mape": 0.03, "timed": 9, "judged_right": 0.98, "judged": 10,
                "out_of_memory": 1, "skipped": 0}
        for change, missed in (({}, set()), ({"time_mape": 0.061}, {"held out: step time, mean error"}),
                               ({"memory_mape": 0.031}, {"held out: memory, mean error"}),
                               ({"judged_right": 0.979}, {"held out: out of memory said rightly"}),
                               ({"out_of_memory": 0}, {"held out: ran out of memory"}),
                               ({"time_mape": None}, {"held out: step time, mean error"}),
                               ({"skipped": 1}, {"held out: without a prediction"})):
            reports = Reports()
            gpu_study.report_predictions(reports, {**good, **change})
            self.assertEqual({what for what, met in reports.rows.items() if not met}, missed)


class Choices(unittest.TestCase):
    def test_the_faster_way_is_named(self):
        slow, fast = {"tokens_per_s": 1.0}, {"tokens_per_s": 2.0}
        self.assertEqual(gpu_study.faster({"": slow, " --cuda-graphs": fast}), " --cuda-graphs")
        self.assertEqual(gpu_study.faster({"": slow, " --cuda-graphs": None}), "")
        self.assertIsNone(gpu_study.faster({"": None}))

    def test_configurations_are_64_different_ones_and_some_are_large(self):
        chosen = gpu_study.configurations()
        self.assertEqual(len(set(chosen)), 64)
        for part in (chosen[::2], chosen[1::2]):  # fitted, held out
            self.assertEqual(sum(micro_batch >= 16 for micro_batch, *_ in part), 8)


class Trainer:
    """Runs 0 and 3 train, 1 runs out of memory, 2 fails."""
    def __init__(self):
        self.failed_runs = set()

    def train(self, name, shape, **more):
        number = int(name.split("-")[1])
        if number == 2:
            self.failed_runs.add(name)
        return None if number in (1, 2) else {"gpu": {"name": "a GPU"}, "step_time_s": {"median": 2.0},
                                              "peak_memory_bytes": 3 * 2**30}


class MeasuredRows(unittest.TestCase):
    def test_what_failed_is_not_taken_for_out_of_memory(self):
        rows = gpu_study.measured_rows(Trainer(), gpu_study.configurations()[:4])
        self.assertEqual({number: row["status"] for number, row in rows.items()}, {0: "ok", 1: "oom", 3: "ok"})
        self.assertEqual(rows[3]["memory_gb"], 3)


class Runs(unittest.TestCase):
    """Each command adds a line to a file, so that how often it ran can be counted."""
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = pathlib.Path(folder.name)
        self.count = self.out / "count"

    def study(self, version="abc", seconds=None):
        return gpu_study.Study(argparse.Namespace(build="build", out=self.out, torch_python="python3", seconds=seconds), version)

    def run_once(self, study, code=0, name="a", allowed=(0,)):
        command = (f"import sys; open({str(self.count)!r}, 'a').write('ran '); print('out'); "
                   f"print('err', file=sys.stderr); sys.exit({code})")
        with contextlib.redirect_stdout(io.StringIO()):
            return study.run(name, [sys.executable, "-c", command], allowed)

    def times(self):
        return self.count.read_text().count("ran")

    def test_what_went_well_is_not_run_again(self):
        self.assertEqual(self.run_once(self.study()), ("out\n", 0))
        self.assertEqual(self.run_once(self.study()), ("out\n", 0))
        self.assertEqual(self.times(), 1)
        self.assertIn("err\nexit code 0", (self.out / "a.txt").read_text())
        self.run_once(self.study(), name="b")
        self.assertEqual(self.times(), 2)
        self.run_once(self.study(version="def"))
        self.assertEqual(self.times(), 3)

    def test_builds_of_one_commit_are_told_apart(self):
        (self.out / "kumihimo").write_text("one")
        one = gpu_study.version_of(self.out)
        self.assertEqual(gpu_study.version_of(self.out), one)
        (self.out / "kumihimo").write_text("two")
        self.assertNotEqual(gpu_study.version_of(self.out), one)

    def test_out_of_memory_is_an_answer_and_a_fault_is_none(self):
        for _ in range(2):
            self.assertEqual(self.run_once(self.study(), 3, allowed=(0, 3)), ("out\n", 3))
        self.assertEqual(self.times(), 1)
        for _ in range(2):
            study = self.study()
            self.assertEqual(self.run_once(study, 4, "b"), ("out\n", 4))
            self.assertTrue(study.failed)
        self.assertEqual(self.times(), 3)

    def test_another_command_of_the_same_name_is_run(self):
        self.run_once(self.study(), 3, allowed=(3,))
        self.run_once(self.study(), 0)
        self.assertEqual(self.times(), 2)

    def test_time_that_is_up_ends_a_command_with_all_that_it_started(self):
        started = self.out / "started"
        child = f"import os, time; open({str(started)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
        parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
        study = self.study(seconds=3)
        with self.assertRaises(gpu_study.OutOfTime):
            study.run("a", [sys.executable, "-c", parent])
        while os.path.exists(f"/proc/{started.read_text()}") and not self.is_zombie(started.read_text()):
            time.sleep(0.01)
        with self.assertRaises(gpu_study.OutOfTime):
            self.run_once(study)
        self.assertFalse(self.count.exists())
        self.assertFalse(study.failed)

    @staticmethod
    def is_zombie(process):
        try:
            return pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
        except OSError:
            return True


if __name__ == "__main__":
    unittest.main()

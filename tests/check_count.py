# SPDX-License-Identifier: Apache-2.0
"""tools/run-tests: what it makes of a program's output and verdict."""

import importlib.machinery
import importlib.util
import os
import pathlib
import sys

import tap

# name, verdict of meson, output, (passed, failed, skipped)
ROWS = [
    ("good", "OK", "ok 1 - a\n# ok\nok 2\n1..2\n", (2, 0, 0)),
    ("plan first", "OK", "1..1\nok 1 - a\n", (1, 0, 0)),
    ("a failed check", "FAIL", "ok 1\nnot ok 2 - b\n# why\nok 3\n1..3\n", (2, 1, 0)),
    ("skipped checks", "OK", "ok 1 # SKIP x\nok 2 # skip\nok 3 - a\n1..3\n", (1, 0, 2)),
    ("all skipped", "SKIP", "1..0 # SKIP x\n", (0, 0, 1)),
    ("unfinished", "EXPECTEDFAIL", "not ok 1 - a # todo x\n1..1\n", (0, 1, 0)),
    ("no plan", "OK", "ok 1\n", (1, 1, 0)),
    ("a wrong plan", "OK", "ok 1\n1..2\n", (1, 1, 0)),
    ("two plans", "OK", "1..1\nok 1\n1..1\n", (1, 1, 0)),
    ("silent", "OK", "", (0, 1, 0)),
    ("died", "ERROR", "ok 1\n", (1, 1, 0)),
    ("bad exit status", "ERROR", "ok 1\n1..1\n", (1, 1, 0)),
    ("failed and died", "ERROR", "not ok 1\n", (0, 1, 0)),
    ("out of time", "TIMEOUT", "ok 1\nok 2\n", (2, 1, 0)),
    ("gave up", "ERROR", "ok 1\nBail out! x\n", (1, 1, 0)),
    ("words that are no verdicts", "OK", "okay\n not ok\nnot okay\nok 1\n1..1\n", (1, 0, 0)),
]


def main() -> None:
    root = pathlib.Path(os.environ.get("RQC_SOURCE_ROOT") or pathlib.Path(__file__).parents[1])
    loader = importlib.machinery.SourceFileLoader("run_tests", str(root / "tools" / "run-tests"))
    spec = importlib.util.spec_from_loader("run_tests", loader)
    run_tests = importlib.util.module_from_spec(spec)
    loader.exec_module(run_tests)

    total = run_tests.Count()
    for name, verdict, output, want in ROWS:
        count = run_tests.Count()
        why = run_tests.count_test({"result": verdict, "stdout": output}, count)
        tap.equal((count.passed, count.failed, count.skipped), want, f"{name}: counts")
        tap.equal(bool(why), want[1] > 0, f"{name}: told why, if it failed")
        total.add(*want)
    tap.equal(str(total), "15 passed, 11 failed, 3 skipped", "the last line")
    total.skipped = 0
    tap.equal(str(total), "15 passed, 11 failed", "the last line when nothing was skipped")
    why = list(run_tests.explain("ok 1\n# a\nnot ok 2 - x\n# b\nok 3\n# c\n"))
    tap.equal(why, ["not ok 2 - x", "# b"], "a failed check is shown with its comments")
    tap.done()


sys.exit(main())

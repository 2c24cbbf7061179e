# SPDX-License-Identifier: Apache-2.0
"""The benchmarks run, however short, and tools/bench-report takes what they write: nothing here looks
at how long anything took."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

import tap

ROOT = pathlib.Path(os.environ.get("RQC_SOURCE_ROOT") or pathlib.Path(__file__).parents[1])
BENCH = pathlib.Path(os.environ.get("RQC_BENCH") or ROOT / "build" / "test" / "bench")
REPORT = ROOT / "tools" / "bench-report"
SMALL = ["--requests", "50"]
SHORT = ["--seconds", "0.02"]
# What runs, names of results that must be among the lines.
RUNS = [
    (["reads", *SMALL, *SHORT, "--no-redis"], ["get by id", "changes 1000", "metrics", "view"]),
    (["memory", *SMALL], ["packed records", "view pages, seq", "view fill, kids"]),
    (["concurrent", *SMALL, *SHORT], ["page of 25, 2 readers to 1, a writer"]),
    (["writes", *SMALL, *SHORT, "--no-redis", "--only", "transactions,threads,load,backup,open"],
     ["new rows, 1000 a transaction", "8 writers, 10 a transaction", "backup",
      "rqc_open, intact view"]),
]
GOOD = {
    "bench": "x", "name": "y", "contestant": "z", "unit": "us", "value": 1.5,
    "sizes": {"requests": 1, "workspaces": 1, "records": 2},
    "machine": {"cpu": "c", "cores": 1, "memory_bytes": 1, "kernel": "k", "file_system": "f"},
    "versions": {"reqcast": "0", "sqlite": "0", "lmdb": "0", "redis": "none", "compiler": "0"},
}
# What is changed in a good line, and what the report says of it.
BAD = [
    ({"value": None}, "value is no number"),
    ({"value": float("nan")}, "value is no number"),
    ({"unit": ""}, "unit is no text"),
    ({"sizes": {"requests": 1}}, "sizes.records is missing"),
    ({"machine": "fast"}, "machine is no object"),
    ({"samples": 3}, "p99 is no number"),
    ({"samples": 3, "p10": 2, "p50": 1, "p90": 3, "p99": 3, "max": 3}, "not in order"),
]


def report(*words):
    return subprocess.run([sys.executable, REPORT, *words], capture_output=True, text=True, timeout=60)


def check_lines(folder: pathlib.Path) -> None:
    """The report refuses what is no result, and says where."""
    path = folder / "lines.jsonl"
    path.write_text(json.dumps(GOOD) + "\n")
    tap.equal(report("--check", path).returncode, 0, "a good line is taken")
    for change, words in BAD:
        path.write_text(json.dumps(GOOD) + "\n" + json.dumps({**GOOD, **change}) + "\n")
        run = report("--check", path)
        tap.ok(run.returncode == 1 and ":2: " in run.stderr and words in run.stderr, f"refused: {words}")
    path.write_text("{\n")
    tap.equal(report("--check", path).returncode, 1, "refused: half a line")
    path.write_text("")
    tap.ok("no results" in report("--check", path).stderr, "refused: nothing")


def check_runs(folder: pathlib.Path, results: pathlib.Path) -> None:
    for words, names in RUNS:
        run = subprocess.run([BENCH / words[0], *words[1:], "--dir", folder, "--json", results],
                             capture_output=True, text=True, timeout=150)
        tap.equal((run.returncode, run.stderr), (0, ""), f"{words[0]} runs")
        lines = [json.loads(line) for line in results.read_text().splitlines()]
        found = {line["name"] for line in lines if line["bench"] == words[0]}
        tap.equal([n for n in names if n not in found], [], f"{words[0]}: its results are there")
    tap.equal([p.name for p in folder.iterdir()], [results.name], "nothing is left behind")


def check_page(folder: pathlib.Path, results: pathlib.Path) -> None:
    page = folder / "page.md"
    run = report(results, page)
    tap.equal((run.returncode, run.stderr), (0, ""), "the page is made")
    text = page.read_text()
    tap.ok("{{" not in text and "\nwhy " not in text, "nothing of the template is left")
    tap.equal(text.count("Not measured."), 1, "every part has figures but streams, which did not run")
    plots = re.findall(r"!\[[^]]+\]\(([^)]+\.svg)\)", text)
    tap.equal(sorted(plots), sorted(f"page/{p.name}" for p in (folder / "page").iterdir()),
              "the page shows the plots that were made")
    for name in plots:
        tree = xml.etree.ElementTree.parse(folder / name)
        width, height = (float(tree.getroot().get(k)) for k in ("width", "height"))
        texts = [e for e in tree.iter() if e.tag.endswith("}text")]
        inside = all(0 <= float(e.get("x")) <= width and 0 < float(e.get("y")) <= height for e in texts)
        tap.ok(len(texts) > 5 and inside, f"{name}: legible XML, all words inside")


def main() -> None:
    build = os.environ.get("RQC_BUILD_ROOT") or ROOT / "build" / "test"
    with tempfile.TemporaryDirectory(prefix="check-bench-") as lines:
        check_lines(pathlib.Path(lines))
    # Beside the build: durable writes are measured on a disk only, and /tmp may be in memory.
    with tempfile.TemporaryDirectory(prefix="check-bench-", dir=build) as name:
        folder = pathlib.Path(name)
        kind = subprocess.run(["stat", "-f", "-c", "%T", name], capture_output=True, text=True).stdout
        if kind.strip() == "tmpfs":
            tap.skip("the build folder is in memory: the benchmarks of writes need a disk")
        else:
            check_runs(folder, folder / "bench.jsonl")
            check_page(folder, folder / "bench.jsonl")
    tap.done()


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""Instructions of the hot reads: no more than a quarter above what tests/instructions.json says.

    python3 tests/check_instructions.py --renew     writes that file; RQC_BENCH names the folder build/…/bench

Counted by valgrind's callgrind, so neither load nor clock matters: the same build gives the same
numbers each time. A number stands for one operation on a small database (bench/instructions.c), LMDB
and the C library included. What a quarter allows for: another version of those, of the compiler, or
another processor, on which the C library copies in other steps.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import tap

BOUND = 1.25
FILE = pathlib.Path(__file__).with_name("instructions.json")
SECONDS = 150


def program() -> pathlib.Path:
    folder = os.environ.get("RQC_BENCH")
    if not folder:
        sys.exit("RQC_BENCH is not set: the folder bench of a build")
    return pathlib.Path(folder) / "instructions"


def why_not() -> str:
    """Why nothing can be counted here, or nothing."""
    if os.environ.get("RQC_SANITIZE", "none") != "none":
        return "a sanitizer adds instructions of its own"
    if not shutil.which("valgrind"):
        return "valgrind is not installed: instructions of the reads are NOT compared"
    return ""


def parse_dump(text: str):
    """What a dump of callgrind is of, and its instructions; None for one without a mark of ours."""
    name = re.search(r"^desc: Trigger: Client Request: (.+)$", text, re.MULTILINE)
    total = re.search(r"^totals: (\d+)$", text, re.MULTILINE)
    return (name.group(1), int(total.group(1))) if name and total else None


def count(folder: pathlib.Path):
    """The compiler, and instructions of one operation by name. None: built without the marks."""
    made = subprocess.run([program(), "make", folder], timeout=SECONDS)
    if made.returncode == 77:
        return None
    made.check_returncode()
    # Debian 12's valgrind gives up on clang's debug information.
    lean = folder / "instructions"
    subprocess.run(["strip", "--strip-debug", "-o", lean, program()], check=True)
    run = subprocess.run(
        ["valgrind", "--tool=callgrind", "--collect-atstart=no",
         f"--callgrind-out-file={folder}/out", lean, "read", folder],
        capture_output=True, text=True, timeout=SECONDS)
    if run.returncode != 0:
        raise RuntimeError(run.stderr)
    head, *lines = run.stdout.splitlines()
    compiler = head.split("\t")[1]
    operations = {name: int(n) for name, n, _ in (line.split("\t") for line in lines)}
    totals = dict(filter(None, (parse_dump(f.read_text()) for f in folder.glob("out.*"))))
    return compiler, {name: round(totals[name] / n) for name, n in operations.items()}


def too_many(counts: dict, baseline: dict) -> list:
    """Names whose count is above the bound."""
    return [name for name, n in counts.items() if name in baseline and n > BOUND * baseline[name]]


def renew(compiler: str, counts: dict) -> None:
    all_of_them = json.loads(FILE.read_text()) if FILE.exists() else {}
    all_of_them[compiler] = counts
    FILE.write_text(json.dumps(all_of_them, indent=2, sort_keys=True) + "\n")


def check(compiler: str, counts: dict) -> None:
    baseline = json.loads(FILE.read_text()).get(compiler)
    if baseline is None:
        tap.bail(f"no numbers of {compiler} in {FILE.name}; --renew writes them")
    tap.equal(sorted(counts), sorted(baseline), "the reads are those that have a baseline")
    for name, n in counts.items():
        was = baseline.get(name, 0)
        tap.ok(n > 0 and name not in too_many(counts, baseline),
               f"{name}: {n} instructions, {was} before, {n / was if was else 0:.2f} times")
    cheaper = [name for name, n in counts.items() if BOUND * n < baseline.get(name, 0)]
    for name in cheaper:
        tap.note(f"{name} became cheaper by more than the bound: renew {FILE.name}")
    worse = {name: int(n * BOUND) + 1 for name, n in baseline.items()}
    tap.equal(sorted(too_many(worse, baseline)), sorted(baseline), "a quarter more would be seen")


def main() -> None:
    if why := why_not():
        tap.skip_all(why)
    with tempfile.TemporaryDirectory(prefix="reqcast-test-") as folder:
        counted = count(pathlib.Path(folder))
    if counted and counted[0] == "none":
        tap.skip_all("built without optimization: instructions are NOT compared")
    if counted is None:
        tap.skip_all("built without valgrind/callgrind.h: instructions are NOT compared")
    if sys.argv[1:] == ["--renew"]:
        renew(*counted)
        print(f"{FILE}: {len(counted[1])} reads, {counted[0]}")
        return
    check(*counted)
    tap.done()


if __name__ == "__main__":
    main()

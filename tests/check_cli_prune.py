# SPDX-License-Identifier: Apache-2.0
"""prune: old snapshots of runs go, nothing else does."""

import sys
import time

import cli
import cli_data as d
import tap

NOW = int(time.time())
RUNS = [cli.ulid(cli.fake_id(20, n)) for n in range(6)]


def run(n: int, request: str, at: int):
    yield d.record("http", RUNS[n], workspace_id=d.SHOP, name=f"run {n}", url="u", method="GET",
                   is_snapshot=True, created_at=at, updated_at=at)
    yield d.record("http_version", RUNS[n], http_id=request, version_name=f"run {n}")
    yield d.record("http_header", cli.ulid(cli.fake_id(21, n)), http_id=RUNS[n], header_key="k",
                   header_value="v")


def runs():
    for n in range(4):
        yield from run(n, d.BASES[0], NOW - (40 - 10 * n) * d.DAY)
    for n in range(4, 6):
        yield from run(n, d.BASES[1], NOW - 100 * d.DAY + n)


def left(c: cli.Cli):
    return [n for n, r in enumerate(RUNS) if c.run("get", "http", r).status == 0]


def main() -> None:
    with cli.database() as c:
        c.put(d.records())
        c.put(runs())
        before = c.one("stats")["records"]
        tap.equal(left(c), [0, 1, 2, 3, 4, 5], "six runs")
        a = c.one("prune", "shop", "--keep", "3")
        # The one of cli_data has no version: it is the only one of no request.
        tap.equal({k: a[k] for k in ("snapshots", "versions", "deleted")},
                  {"snapshots": 1, "versions": 1, "deleted": 3}, "the counts")
        tap.ok(cli.position_ok(a), "the position")
        tap.equal(left(c), [1, 2, 3, 4, 5], "the oldest of four goes")
        tap.equal(c.one("stats")["records"], before - 3, "and nothing else")
        tap.ok("1 snapshot of a run removed, " in c.text("prune", "shop", "--keep", "1", "--older", "99"),
               "with both limits: beyond both")
        tap.equal(left(c), [1, 2, 3, 5], "one is old, and not the newest")
        c.one("prune", d.SHOP, "--older", "25")
        tap.equal(left(c), [2, 3], "by age, in a workspace by id")
        tap.equal(c.one("prune", "shop", "--older", "25")["snapshots"], 0, "nothing more is old")
        tap.equal(len(c.json("changes", "shop", "--since", str(a["seq"]))) > 1, True,
                  "deletes are told")
        c.one("verify")
        c.fails(2, ["--keep", "--older"], "prune", "shop")
        c.fails(2, "arguments", "prune", "--keep", "1")
        for option, value in (("--keep", "-1"), ("--keep", "x"), ("--older", "-1"),
                              ("--older", "1.5"), ("--older", "99999999")):
            c.fails(2, option, "prune", "shop", option, value)
        c.fails(1, "nowhere", "prune", "nowhere", "--keep", "1")
        tap.equal(left(c), [2, 3], "what fails removes nothing")
    tap.done()


sys.exit(main())

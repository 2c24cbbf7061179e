# SPDX-License-Identifier: Apache-2.0
"""Imports of HAR files: real ones against an independent reading, and the test vectors."""

import base64
import json
import pathlib
import sys

import cli
import har_reader
import tap

SHOP_HAR = cli.ROOT / "docs/examples/shop.har"
KEYS = {"workspace_id", "workspace", "requests", "responses", "records", "skipped", "edited",
        "warnings", "seq", "position"}
TABLES = ("http", "http_header", "http_search_param", "http_body_form", "http_body_urlencoded",
          "http_body_raw", "http_response", "http_response_header")


def sample_files():
    found = [SHOP_HAR]
    folder = cli.data_folder()
    if folder and (folder / "har").is_dir():
        found += sorted((folder / "har").glob("*.har"))
    else:
        tap.skip("THE SAMPLE FILES ARE MISSING: set RQC_DATA to the folder that has har/")
    return found


def multiset(entries):
    return sorted(repr(e) for e in entries)


def check_file(c: cli.Cli, path: pathlib.Path) -> None:
    want = har_reader.read(path)
    name = path.name[:-4]
    got = c.one("import", path, quiet=False)
    tap.ok(set(got) == KEYS and cli.position_ok(got), f"{path.name}: summary")
    tap.equal((got["workspace"], got["requests"], got["responses"], got["records"],
               got["skipped"]),
              (name, len(want), len(want), har_reader.records(want), 0), f"{path.name}: counts")
    stored = har_reader.stored(c, got["workspace_id"])
    same = multiset(stored) == multiset(want)
    if not tap.ok(same, f"{path.name}: every request as an independent reading has it"):
        wrong = [(a, b) for a, b in zip(multiset(stored), multiset(want)) if a != b]
        tap.note(f"{len(wrong)} differ; stored {wrong[0][0][:600]}")
        tap.note(f"want {wrong[0][1][:600]}")
    tap.ok(all(a["at"] <= b["at"] for a, b in zip(stored, stored[1:])),
           f"{path.name}: ids sort by time")
    again = c.one("import", path, quiet=False)
    tap.equal((again["records"], again["skipped"], again["seq"], again["workspace_id"],
               again["requests"]),
              (0, got["records"], got["seq"], got["workspace_id"], got["requests"]),
              f"{path.name}: a second import changes nothing")
    tap.equal(again["warnings"], got["warnings"], f"{path.name}: the same warnings")


def check_invalid(c: cli.Cli) -> None:
    folder = cli.data_folder()
    files = sorted((folder / "invalid").iterdir()) if folder else []
    if not files:
        tap.skip("THE INVALID SAMPLE FILES ARE MISSING: set RQC_DATA")
    before = c.head()
    for path in files:
        c.fails(3, [path.name, "nothing was written"], "import", path)
        c.fails(3, [path.name, "nothing was written"], "import", SHOP_HAR, path)
    tap.equal(c.head(), before, "invalid files: nothing was written")


def ids(c: cli.Cli):
    return {t: sorted(i for i, in c.sql(f"SELECT hex(id) FROM {t}")) for t in TABLES}


def check_ids() -> None:
    """The same file in the same workspace has the same ids everywhere."""
    found = {}
    workspace = cli.ulid(cli.fake_id(1, 5))
    for name, text, in_workspace in (
            ("one", SHOP_HAR.read_text(), workspace),
            ("two", json.dumps(json.loads(SHOP_HAR.read_text()), indent=3), workspace),
            ("other", SHOP_HAR.read_text(), cli.ulid(cli.fake_id(1, 6)))):
        with cli.database() as c:
            c.put([{"entity": "workspaces", "id": in_workspace, "name": name}])
            (c.folder / f"{name}.har").write_text(text)
            got = c.one("import", "-w", in_workspace, c.folder / f"{name}.har")
            tap.equal(got["workspace_id"], in_workspace, f"import -w ID: {name}")
            found[name] = ids(c)
            tap.equal(sum(map(len, found[name].values())), got["records"], "all rows counted")
    tap.equal(found["one"], found["two"], "ids do not depend on the database or the layout")
    tap.ok(all(not set(found["one"][t]) & set(found["other"][t]) for t in TABLES),
           "ids depend on the workspace")


def check_more(c: cli.Cli) -> None:
    """What is there is left alone, what is new is added."""
    har = json.loads(SHOP_HAR.read_text())
    last = har["log"]["entries"].pop()
    path = c.folder / "grow.har"
    path.write_text(json.dumps(har))
    first = c.one("import", path)
    [record] = [o for o in c.json("page", "grow", "--limit", "1") if "entity" in o]
    c.one("patch", "http", record["id"], "name=Mine")
    har["log"]["entries"].append(last)
    path.write_text(json.dumps(har))
    second = c.one("import", path, quiet=False)
    tap.equal((second["requests"], second["skipped"], second["edited"], second["records"]),
              (17, first["records"], 1, har_reader.records([har_reader.entry(last)])),
              "an entry more: its records alone are written")
    tap.equal(c.one("get", "http", record["id"])["name"], "Mine", "edits survive an import")
    # Entries that are equal in all that makes an id are told apart by counting.
    har["log"]["entries"] = [last] * 3
    path.write_text(json.dumps(har))
    got = c.one("import", "-w", "equal", path)
    tap.equal((got["requests"], len(c.json("page", "equal")) - 1), (3, 3), "equal entries")


def check_workspaces(c: cli.Cli) -> None:
    got = c.one("import", "-w", "Ünï", SHOP_HAR)
    tap.equal(got["workspace"], "Ünï", "-w makes a workspace of a new name")
    for form in (["-wÜnï"], ["--workspace", "Ünï"], ["--workspace=Ünï"],
                 ["-w", got["workspace_id"]]):
        again = c.one("import", *form, SHOP_HAR)
        tap.equal((again["workspace_id"], again["records"]), (got["workspace_id"], 0),
                  f"import {form}")
    twins = [c.put([{"entity": "workspaces", "name": "twin"}]) for _ in range(2)]
    before = c.head()
    tap.ok(twins, "two workspaces of one name")
    c.fails(3, "2 workspaces", "import", "-w", "twin", SHOP_HAR)
    c.fails(1, cli.ulid(cli.fake_id(1, 99)), "import", "-w", cli.ulid(cli.fake_id(1, 99)),
            SHOP_HAR)
    c.fails(2, "''", "import", "-w", "", SHOP_HAR)
    c.fails(3, "nothing was written", "import", "-w", "\udcff", SHOP_HAR)
    tap.equal(c.head(), before, "refused imports wrote nothing")

    one, two = c.folder / "one.har", c.folder / "two.HAR"
    for path in (one, two):
        path.write_bytes(SHOP_HAR.read_bytes())
    lines = c.json("import", one, two)
    tap.equal([(o["workspace"], o["requests"], o["records"], o["skipped"]) for o in lines],
              [("one", 17, 209, 0), ("two", 17, 209, 0)], "two files: a workspace and line each")
    tap.equal(lines[0]["seq"], lines[1]["seq"], "two files: one transaction")
    lines = c.json("import", "-w", "both", one, two)
    tap.equal([(o["workspace"], o["requests"], o["records"], o["skipped"]) for o in lines],
              [("both", 34, 209, 209)], "two equal files in one workspace")
    third = c.folder / "three.har"
    third.write_bytes(SHOP_HAR.read_bytes())
    before = sum(len(c.rows(e)) for e in cli.ENTITIES)
    four = c.folder / "four.har"
    four.write_bytes(SHOP_HAR.read_bytes())
    lines = c.json("import", third, four, third, one, one)
    tap.equal([(o["workspace"], o["requests"], o["records"], o["skipped"]) for o in lines],
              [("three", 34, 209, 209), ("four", 17, 209, 0), ("one", 34, 0, 418)],
              "a file that is given twice beside others is counted once")
    tap.equal(sum(len(c.rows(e)) for e in cli.ENTITIES) - before,
              sum(o["records"] for o in lines) + 2, "records, and two workspaces that are not among them")
    got = c.one("import", "-", stdin=SHOP_HAR.read_bytes())
    tap.equal((got["workspace"], got["requests"]), ("standard input", 17), "import -")
    got = c.one("import", "-w", "empty", "-", stdin=b'{"log": {"entries": []}}')
    tap.equal((got["requests"], got["records"], c.one("count", "empty")["count"]), (0, 0, 0),
              "a file without entries")
    text = c.text("import", one)
    tap.ok("17 requests" in text and "209 were there already" in text and text.count("\n") == 1,
           "the summary for people")


def check_vectors() -> None:
    folder = cli.data_folder()
    path = folder.parent / "vectors" / "12_har_import.json" if folder else None
    if not path or not path.exists():
        tap.skip("THE TEST VECTORS ARE MISSING: 12_har_import.json beside the sample files")
        return
    # What docs/semantics.md decides where the vectors only tell what the existing system does.
    decided = {
        "ha-01": {"asserts": []},
        "ha-03": {"urlencoded": [["a", "1"], ["b", "2"]]},
        "ha-04": {"base": {"body_kind": 3}, "raw": b"--X\r\n..."},
    }
    for vector in json.loads(path.read_text())["vectors"]:
        want = dict(vector["expect"])
        if vector["status"] != "defined":
            want.update(decided.get(vector["id"], {}))
        with cli.database() as c:
            har = {"log": {"entries": [vector["args"]["entry"]]}}
            c.one("import", "-w", "v", "-", stdin=json.dumps(har).encode(), quiet=False)
            *page, _ = c.json("page", "v")
            [base] = page
            tap.equal([r["id"] for r in c.rows("http")], [base["id"]],
                      f"{vector['id']}: a base and nothing else")
            got = c.one("resolve", base["id"])
            for key, value in want.items():
                if key == "base":
                    # Names are a matter of taste, here method and path.
                    value = {k: v for k, v in value.items() if k != "name"}
                    seen = {k: base[k] for k in value}
                elif key == "raw":
                    raw = got["raw"] and got["raw"]["raw_data"]["$base64"]
                    seen = raw and base64.b64decode(raw)
                elif key == "asserts":
                    seen = [r["value"] for r in got[key]]
                elif key == "delta":
                    continue
                else:
                    seen = [[r["key"], r["value"]] for r in got[key]]
                tap.equal(seen, value, f"{vector['id']}: {key}: {vector['title']}")


def main() -> None:
    with cli.database() as c:
        for path in sample_files():
            check_file(c, path)
        check_invalid(c)
        check_more(c)
        check_workspaces(c)
        tap.equal(c.one("verify")["differences"], 0, "verify after the imports")
    check_ids()
    check_vectors()
    tap.done()


sys.exit(main())

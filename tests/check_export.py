# SPDX-License-Identifier: Apache-2.0
"""Exports as HAR: valid, read by an independent reader, and taken back by an import record for
record."""

import base64
import datetime
import json
import sys

import cli
import cli_data
import har_reader
import tap

HAR = cli.ROOT / "docs/examples/shop.har"
POSTMAN = cli.ROOT / "docs/examples/shop.postman_collection.json"
CURL = cli.ROOT / "docs/examples/shop.curl"
# What HAR carries, with what stands in members _reqcast: all columns of these tables but for what
# docs/semantics.md lists.
TABLES = ("http", "http_header", "http_search_param", "http_body_form", "http_body_urlencoded",
          "http_body_raw", "http_response", "http_response_header")
LEFT_OUT = {"http": {"folder_id", "content_hash", "last_run_at"}}
LEFT_OUT_CHILD = {"created_at", "updated_at"}
MEMORY = cli.memory_folder()
# Of a workspace, and of its requests' children.
BASES = "workspace_id = ? AND NOT is_delta AND NOT is_snapshot"
OF_BASES = f"http_id IN (SELECT id FROM http WHERE {BASES})"
WHERE = {"http": BASES, "http_response": OF_BASES,
         "http_response_header": f"response_id IN (SELECT id FROM http_response WHERE {OF_BASES})"}


def export(c: cli.Cli, workspace: str, lost=""):
    """The file, and what is in it, checked as HAR 1.2 has it. `lost`: what is said to be left
    out."""
    r = c.run("export", workspace, "--har")
    said = r.errors.partition("cannot carry them: ")[2].strip()
    if not tap.ok(r.status == 0 and said == lost, f"export: left out: {lost or 'nothing'}"):
        r.explain()
    har = json.loads(r.out)
    log = har["log"]
    tap.ok(set(har) == {"log"} and log["version"] == "1.2" and log["creator"]["name"] == "reqcast",
           "export: the log")
    wrong = [e for e in log["entries"] if not valid(e)]
    tap.equal(wrong[:1], [], f"export: {len(log['entries'])} entries as HAR 1.2 has them")
    return r.out, har


def members(o, **kinds) -> bool:
    return all(isinstance(o.get(k), t) and not isinstance(o.get(k), bool)
               for k, t in kinds.items())


def pair_list(items) -> bool:
    return all(members(i, name=str, value=str) for i in items)


def valid(e) -> bool:
    """The members that HAR 1.2 demands, and their types."""
    q, r = e["request"], e["response"]
    datetime.datetime.fromisoformat(e["startedDateTime"].replace("Z", "+00:00"))
    good = members(e, time=int, cache=dict) and members(e["timings"], send=int, wait=int,
                                                        receive=int)
    good = good and members(q, method=str, url=str, httpVersion=str, cookies=list, headers=list,
                            queryString=list, headersSize=int, bodySize=int)
    good = good and members(r, status=int, statusText=str, httpVersion=str, cookies=list,
                            headers=list, content=dict, redirectURL=str, headersSize=int,
                            bodySize=int)
    good = good and members(r["content"], size=int, mimeType=str)
    good = good and pair_list(q["headers"] + q["queryString"] + r["headers"])
    if "postData" in q:
        good = good and members(q["postData"], mimeType=str)
        good = good and ("params" in q["postData"]) + ("text" in q["postData"]) <= 1
    known = {"startedDateTime", "time", "request", "response", "cache", "timings", "comment"}
    return good and all(k in known or k.startswith("_") for k in e)


def rows(c: cli.Cli, workspace: str):
    """{table: {id: row}} of the base requests of a workspace, without what HAR does not carry."""
    found = {t: {} for t in TABLES}
    for table in TABLES:
        for r in c.rows(table, WHERE.get(table, f"NOT is_delta AND {OF_BASES}"),
                        cli.unulid(workspace)):
            # The other bodies of a request are left out.
            kind = {"http_body_form": 1, "http_body_urlencoded": 2, "http_body_raw": 3}.get(table)
            if kind and found["http"][r["http_id"]]["body_kind"] != kind:
                continue
            skipped = LEFT_OUT.get(table, LEFT_OUT_CHILD)
            if table == "http_response":
                skipped = set()
            found[table][r["id"]] = {k: v for k, v in r.items() if k not in skipped}
    return found


def check_round(c: cli.Cli, workspace: str, name: str, lost="", elsewhere=True) -> bytes:
    """Into a new database and out again, into the same one, into another workspace."""
    out, har = export(c, workspace, lost)
    want = rows(c, workspace)
    tap.equal(len(har["log"]["entries"]), len(want["http"]), f"{name}: every base request")
    with cli.database(parent=MEMORY) as new:
        got = new.one("import", "-", stdin=out, quiet=False)
        tap.equal((got["workspace_id"], got["requests"], got["warnings"]),
                  (workspace, len(want["http"]), 0), f"{name}: into the same workspace")
        have = rows(new, workspace)
        for table in TABLES:
            if not tap.ok(have[table] == want[table], f"{name}: {table}, every field and id"):
                different = [(have[table].get(i), r) for i, r in want[table].items()
                             if have[table].get(i) != r]
                tap.note(f"{len(different)} of {len(want[table])}; stored {different[:1]}")
        tap.ok(new.run("export", workspace, "--har").out == out,
               f"{name}: out again, byte for byte")
    head = c.head()
    got = c.one("import", "-", stdin=out)
    tap.equal((got["records"], got["edited"], c.head()), (0, 0, head),
              f"{name}: into its own database: nothing changes")
    if not elsewhere:
        return out
    copied = c.one("import", "-w", f"{name} elsewhere", "-", stdin=out)
    tap.equal((copied["requests"], copied["skipped"], copied["edited"]),
              (len(want["http"]), 0, 0), f"{name}: into another workspace")
    twice = c.one("import", "-w", f"{name} elsewhere", "-", stdin=out)
    tap.equal((twice["records"], twice["edited"]), (0, 0), f"{name}: there a second time")
    return out


def check_samples(c: cli.Cli) -> None:
    """Captures come out as an independent reading of the original has them."""
    paths = [HAR]
    folder = cli.data_folder()
    if folder and (folder / "har").is_dir():
        paths += sorted((folder / "har").glob("*.har"))
    else:
        tap.skip("THE SAMPLE FILES ARE MISSING: set RQC_DATA to the folder that has har/")
    for path in paths:
        got = c.one("import", path, quiet=False)
        out = check_round(c, got["workspace_id"], path.name, elsewhere=path == HAR)
        exported = c.folder / "exported.har"
        exported.write_bytes(out)

        def entries(file):
            return sorted(repr(e) for e in har_reader.read(file))
        tap.ok(entries(exported) == entries(path), f"{path.name}: read as the original")


def check_others(c: cli.Cli) -> None:
    got = c.one("import", POSTMAN, quiet=False)
    check_round(c, got["workspace_id"], "Postman",
                "13 places in folders, 1 bodies beside the one that is sent")
    got = c.one("import", "-w", "curl", CURL, quiet=False)
    check_round(c, got["workspace_id"], "curl")


def check_foreign(c: cli.Cli) -> None:
    """Rows that no import made: ids of all kinds, orders, times, disabled ones, odd texts."""
    c.put(list(cli_data.records()))
    lost = ("3 deltas, 1 snapshots of runs, 1 versions, 1 asserts, 1 results of asserts, "
            "1 places in folders, 2 bodies beside the one that is sent")
    header = cli.ulid(cli.fake_id(4, 99))
    response = cli.ulid(cli.fake_id(11, 99))
    form, field = (cli.ulid(cli.fake_id(6, n)) for n in (98, 99))
    [raw] = c.rows("http_body_raw", "id = ?", cli.unulid(cli_data.RAW))
    kinds = [dict(c.one("get", "http", cli_data.BASES[n]), body_kind=kind)
             for n, kind in enumerate((3, 1, 2, 3, 0))]
    c.put([*kinds, dict(raw, compression_type=2),
           cli_data.record("http_body_form", form, http_id=cli_data.BASES[1], key="f",
                           value="v", enabled=False, display_order=0.25, description="d"),
           cli_data.record("http_body_urlencoded", field, http_id=cli_data.BASES[2], key="u",
                           value="v", display_order=7),
           cli_data.record("http_header", header, http_id=cli_data.BASES[0], header_key="Large",
                           header_value="é" * 50000, display_order=-1.5, enabled=False),
           cli_data.record("http_response", response, http_id=cli_data.BASES[0], status=-1,
                           body=cli_data.encoded(b"\xff" * 70000), duration=0, size=0,
                           time="2025-10-09 08:53:20.5 +0000 UTC", created_at=5),
           cli_data.record("http_response", cli.ulid(cli.fake_id(11, 98)),
                           http_id=cli_data.BASES[1], status=0, body=None, duration=3, size=-1,
                           time="2025-10-09T08:53:20.5Z", created_at=cli_data.T0 + 1)])
    out = check_round(c, cli_data.SHOP, "foreign", lost)
    har = json.loads(out)
    [first] = [e for e in har["log"]["entries"] if e["_reqcast"]["id"] == cli_data.BASES[0]]
    names = [h["name"] for h in first["request"]["headers"]]
    tap.ok("Large" not in names and "X-Off" not in names, "disabled headers are no headers of HAR")
    tap.equal(len(first["_reqcast"]["responses"]), 1, "a second response")
    text = first["request"]["postData"]
    tap.equal((base64.b64decode(text["text"]), text["encoding"]), (cli_data.BYTES, "base64"),
              "bytes that are no text")


def check_hostile(c: cli.Cli) -> None:
    """What a file says in _reqcast is as suspicious as all else."""
    c.one("import", "-w", "victim", HAR)
    [victim] = [w["id"] for w in c.json("workspaces") if w.get("name") == "victim"]
    [there, *_] = c.rows("http", "workspace_id = ?", cli.unulid(victim))
    before = rows(c, victim)

    def har(own, workspace=victim, **more):
        entry = {"startedDateTime": "2025-10-09T08:53:20Z", "request": {
            "method": "GET", "url": "https://evil.test/", "headers": [
                {"name": "X", "value": "y", "_id": there["id"], "_order": 1e308}]},
            "response": {"status": 200}, "_reqcast": own, **more}
        return json.dumps({"log": {"_reqcast": {"workspace": {"id": workspace, "name": "evil"}},
                                   "entries": [entry, entry]}}).encode()

    for name, own in (("an id that is there", {"id": there["id"], "body_kind": 0}),
                      ("no id", {"id": 7, "body_kind": "x", "name": 5, "updated_at": "x"}),
                      ("lists", {"id": [], "disabled": [1], "responses": [1, {"response": 5}]}),
                      ("wild numbers", {"body_kind": 10**18, "compression": -10**18,
                                        "updated_at": 1e300, "created_at": -1e300,
                                        "response": {"size": 1e300, "time": [], "id": "x"}}),
                      ("disabled", {"disabled": {"headers": [5, {}, {"name": "a", "_at": -1},
                                                             {"name": "b", "_at": 10**15}]}})):
        for how in ("replace", "copy") if name == "an id that is there" else ("replace",):
            r = c.run("--json", "import", "-w", f"{name} {how}", "--edited", how, "-",
                      stdin=har(own))
            if not tap.ok(r.status == 0 and r.strict()[0]["requests"] == 2, f"{name}, {how}"):
                r.explain()
    tap.equal(rows(c, victim), before, "records of another workspace are as they were")
    # The id of a workspace that is there is not taken for the file's: only a name chooses one.
    got = c.one("import", "-", stdin=har({"id": there["id"]}), quiet=False)
    tap.ok(got["workspace"] == "evil" and got["workspace_id"] != victim, "a workspace of its own")
    tap.equal(rows(c, victim), before, "and nothing was added to the other")
    tap.equal(c.one("verify")["differences"], 0, "verify")


def check_command(c: cli.Cli) -> None:
    c.fails(2, "--har", "export", "shop")
    c.fails(2, "few", "export", "--har")
    c.fails(1, "no workspace", "export", "nowhere", "--har")
    [empty] = c.json("workspaces", "--create", "empty")
    out, har = export(c, "empty")
    tap.equal((har["log"]["entries"], har["log"]["_reqcast"]["workspace"]),
              ([], {"id": empty["id"], "name": "empty"}), "an empty workspace")
    one = c.run("--json", "export", "shop", "--har")
    several = c.run("export", "shop", "--har")
    tap.ok(one.strict() == [json.loads(several.out)] and one.out.count(b"\n") == 1
           and several.out.count(b"\n") == 17, "with --json one line, else an entry a line")
    r = c.run("-v", "export", "empty", "--har")
    tap.ok("0 requests" in r.errors, "--verbose tells how many")
    with open("/dev/full", "wb") as full:
        p = c.start("export", "shop", "--har", stdout=full, stderr=-1)
        _, err = p.communicate(timeout=60)
    tap.ok(p.returncode == 5 and err.count(b"\n") == 1, "a full disk: one line, status 5") \
        or tap.note(f"{p.returncode} {err}")
    # Texts that are not UTF-8 come from other programs only.
    [record] = c.json("page", "shop", "--limit", "1")[:1]
    with c.sqlite() as db:
        db.execute("UPDATE http SET name = CAST(x'61ff62' AS TEXT) WHERE id = ?",
                   (cli.unulid(record["id"]),))
    r = c.run("export", "shop", "--har")
    tap.ok(r.status == 0 and "U+FFFD" in r.errors and "a\ufffdb" in r.out.decode(),
           "a text that is not UTF-8 is mended, and said so")


def main() -> None:
    for check in (check_samples, check_others, check_foreign, check_hostile):
        with cli.database(parent=MEMORY) as c:
            check(c)
    with cli.database(parent=MEMORY) as c:
        c.one("import", HAR)
        check_command(c)
    tap.done()


sys.exit(main())

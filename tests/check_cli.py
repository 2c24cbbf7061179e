# SPDX-License-Identifier: Apache-2.0
"""Commands that read: their answers with --json are what SQLite says they should be."""

import sys

import cli
import cli_data as d
import tap

BASE_REQUEST = "workspace_id = ? AND is_delta = 0 AND is_snapshot = 0"
NEWEST_FIRST = "updated_at DESC, id"
SHOP = cli.unulid(d.SHOP)


def check_stored(c: cli.Cli, written: int) -> None:
    given = list(d.records())
    tap.equal(written, len(given), "put counts what it wrote")
    for entity in cli.ENTITIES:
        rows = {r["id"]: r for r in c.rows(entity)}
        mine = [r for r in given if r["entity"] == entity]
        tap.ok(mine and len(rows) == len(mine), f"{entity}: every record is a row")
        tap.ok(all(rows[r["id"]].items() >= r.items() for r in mine), f"{entity}: as it was given")


def check_get(c: cli.Cli) -> None:
    for entity in cli.ENTITIES:
        rows = c.rows(entity)
        got = c.json("get", entity, *[r["id"] for r in rows])
        tap.equal(cli.plain(got), rows, f"get {entity}: all columns, in the order asked for")
        tap.ok(all(list(r)[:3] == ["entity", "seq", "id"] for r in got), f"get {entity}: keys")
        tap.ok(all(type(r["seq"]) is int and r["seq"] > 0 for r in got), f"get {entity}: seq")
        hexadecimal = cli.unulid(rows[0]["id"]).hex()
        got = c.one("get", entity, hexadecimal)
        tap.equal(cli.plain([got]), rows[:1], f"get {entity}: by 32 hex digits")
    got = c.one("get", "http_body_raw", d.RAW)
    tap.equal(got["raw_data"], d.encoded(d.BYTES), "bytes are {\"$base64\"}")
    got = c.one("get", "http_header", d.HEADERS[2])
    tap.equal((got["enabled"], got["header_value"], got["delta_enabled"]), (False, d.ODD, None),
              "booleans, control characters and NULL survive")
    r = c.fails(1, "http", "get", "http", d.BASES[0], d.OTHER, d.BASES[1], shown=True)
    tap.equal([o["id"] for o in r.strict()], [d.BASES[0], d.BASES[1]],
              "get shows what there is when something is missing")


def walk(c: cli.Cli, limit: int, *args):
    """Pages to the end."""
    found, more = [], []
    for _ in range(100):
        *records, end = c.json("page", "shop", "--limit", limit, *args, *more)
        good = set(end) == {"next", "seq", "position"} and cli.position_ok(end)
        if not tap.ok(good and len(records) <= limit, "a page ends with next, seq, position"):
            break
        found += records
        if end["next"] is None:
            return found
        more = ["--cursor", end["next"]]
    return None


def check_pages(c: cli.Cli) -> None:
    tap.equal(cli.plain(c.json("workspaces")), c.rows("workspaces"), "workspaces: all, by id")
    whole = c.rows("http", BASE_REQUEST, SHOP, order=NEWEST_FIRST)
    tap.ok(len(whole) == 20, "the requests are there")
    for limit in (3, 20, 50):
        tap.equal(cli.plain(walk(c, limit) or []), whole, f"pages of {limit} to the end")
    *page, _ = c.json("page", d.SHOP)
    tap.equal(cli.plain(page), whole, "page by id, with the limit it has by itself")
    posts = [r for r in whole if r["method"] == "POST"]
    tap.equal(cli.plain(walk(c, 2, "--method", "POST") or []), posts, "page --method")
    until = d.T0 - 4 * d.DAY
    old = [r for r in whole if r["updated_at"] <= until]
    tap.ok(0 < len(old) < len(whole), "the cutoff cuts")
    tap.equal(cli.plain(walk(c, 3, "--until", until) or []), old, "page --until")
    tap.equal(c.one("count", "shop"), {"count": len(whole)}, "count")
    tap.equal(c.one("count", "shop", f"--until={until}"), {"count": len(old)}, "count --until=T")
    tap.equal(c.one("count", d.TWIN_1), {"count": 0}, "count of none")


def check_times(c: cli.Cli) -> None:
    since, until = d.T0 - 6 * d.DAY, d.T0 - d.DAY
    window = "workspace_id = ? AND is_snapshot = 0 AND updated_at > ? AND updated_at <= ?"
    rows = c.rows("http", window, SHOP, since, until, order="updated_at, id")
    tap.ok(any(r["is_delta"] for r in rows) and rows[0]["id"] != rows[-1]["id"], "a window")
    got = c.json("updates", "shop", "--since", since, "--until", until)
    tap.equal(cli.plain(got), rows, "updates: bases and deltas in the window, oldest first")
    got = c.json("updates", "shop", "--since", since, "--until", until, "--method", "GET")
    tap.equal(cli.plain(got), [r for r in rows if r["method"] == "GET"], "updates --method")
    tap.equal(len(c.json("updates", "shop", "--since", "-1")), 23, "updates since before 1970")

    ids = [d.BASES[3], d.BASES[0], d.SNAPSHOT, d.BASES[21], d.DELTA, d.BASES[3], d.FOLDER]
    blobs = [cli.unulid(i) for i in ids]
    marks = ", ".join("?" * len(blobs))
    rows = c.rows("http", f"id IN ({marks})", *blobs, order=NEWEST_FIRST)
    tap.equal(cli.plain(c.json("batch", *ids)), rows, "batch: newest first, each once")
    got = c.json("batch", *ids, "--until", until)
    tap.equal(cli.plain(got), [r for r in rows if r["updated_at"] <= until], "batch --until")

    parents = [d.DELTA, d.BASES[0], d.BASES[1]]
    marks = ", ".join("?" * len(parents))
    rows = c.rows("http", f"is_delta = 1 AND parent_http_id IN ({marks})",
                  *[cli.unulid(i) for i in parents], order="parent_http_id, updated_at, id")
    tap.equal(len(rows), 3, "there are deltas")
    tap.equal(cli.plain(c.json("deltas", *parents)), rows, "deltas: by parent, oldest first")
    got = c.json("deltas", *parents, "--since", d.T0 - d.DAY, "--until", d.T0)
    tap.equal(cli.plain(got), [r for r in rows if d.T0 - d.DAY < r["updated_at"] <= d.T0],
              "deltas in a window")


def check_numbers(c: cli.Cli) -> None:
    since = d.T0 - 2 * d.DAY
    [row] = c.sql("SELECT count(*), sum(NOT is_delta), sum(is_delta), max(updated_at),"
                  " min(updated_at), sum(updated_at > ?) FROM http WHERE workspace_id = ?",
                  since, SHOP)
    got = c.one("metrics", "shop", "--since", since)
    keys = ("total", "base", "delta", "latest", "earliest", "recent")
    tap.equal(tuple(got[k] for k in keys), row, "metrics")
    tap.ok(set(got) == {*keys, "seq", "position"} and cli.position_ok(got), "metrics: keys")
    got = c.one("metrics", d.TWIN_1)
    tap.equal(tuple(got[k] for k in keys), (0, 0, 0, None, None, 0), "metrics of nothing")
    rows = c.sql("SELECT date(updated_at, 'unixepoch'), count(*), sum(is_delta), sum(NOT is_delta)"
                 " FROM http WHERE workspace_id = ? AND updated_at >= ? GROUP BY 1 ORDER BY 1 DESC",
                 SHOP, since)
    tap.ok(len(rows) > 1, "there are days")
    got = c.json("activity", "shop", "--since", since)
    tap.equal(got, [dict(zip(("date", "changes", "deltas", "bases"), r)) for r in rows],
              "activity: days, newest first")


def check_children(c: cli.Cli) -> None:
    owners = [d.BASES[1], d.DELTA, d.BASES[0]]
    marks = ", ".join("?" * len(owners))
    blobs = [cli.unulid(i) for i in owners]
    for entity, columns in cli.ENTITIES.items():
        if "http_id" not in columns:
            continue
        # Entities without a time of their last update are in order of id alone.
        order = "http_id, " + (NEWEST_FIRST if "updated_at" in columns else "id")
        rows = c.rows(entity, f"http_id IN ({marks})", *blobs, order=order)
        enabled = [r for r in rows if r.get("enabled", True)]
        tap.ok(rows, f"{entity}: there are children")
        tap.equal(cli.plain(c.json("children", entity, *owners)), enabled, f"children {entity}")
        got = c.json("children", entity, *owners, "--all")
        tap.equal(cli.plain(got), rows, f"children {entity} --all")
    got = c.json("children", "http_header", *owners, "--until", d.T0 + 3, "--all")
    tap.equal({r["id"] for r in got}, set(d.HEADERS[:4]), "children --until")
    for entity, ids in (("http_response_header", d.RESPONSE_HEADERS),
                        ("http_response_assert", [d.RESPONSE_ASSERT])):
        got = c.json("children", entity, d.RESPONSE)
        tap.equal([r["id"] for r in got], list(ids), f"children {entity} of a response")


def check_resolve(c: cli.Cli) -> None:
    keys = ["http", "headers", "params", "form", "urlencoded", "asserts", "raw", "seq", "position"]
    got = c.one("resolve", d.BASES[0])
    tap.equal(list(got), keys, "resolve: keys")
    tap.equal(cli.plain([got["http"]]), c.rows("http", "id = ?", cli.unulid(d.BASES[0])),
              "resolve without a delta is the base")
    tap.equal([h["id"] for h in got["headers"]], d.HEADERS[:3], "resolve: headers in order")
    got = c.one("resolve", d.BASES[0], "--delta", d.DELTA)
    http = got["http"]
    tap.equal((http["url"], http["name"], http["method"], http["origin"]),
              ("https://staging.test/", "Staging", "POST", "override"), "resolve: the delta's url")
    tap.equal([(h["header_key"], h["header_value"], h["enabled"], h["origin"])
               for h in got["headers"]],
              [("Accept", "application/json", True, "override"),
               ("Accept", "text/plain", True, "base"), ("X-Off", d.ODD, False, "base"),
               ("X-New", "added", True, "addition")], "resolve: headers and where they come from")
    tap.equal(got["raw"], {"id": d.RAW, "raw_data": d.encoded(d.BYTES), "compression_type": 0,
                           "origin": "base"}, "resolve: an empty override inherits the body")
    for key, record_id in (("params", d.PARAMS[0]), ("form", d.FORM),
                           ("urlencoded", d.URLENCODED), ("asserts", d.ASSERT)):
        tap.equal([(r["id"], r["origin"]) for r in got[key]], [(record_id, "base")],
                  f"resolve: {key}")
    tap.equal(c.one("resolve", d.BASES[5])["raw"], None, "resolve: no body is null")
    c.fails(3, d.BASES[1], "resolve", d.BASES[1], "--delta", d.DELTA)
    c.fails(1, d.OTHER, "resolve", d.OTHER)
    c.fails(1, "", "resolve", d.BASES[0], "--delta", d.OTHER)

    got = c.one("chain", d.BASES[0])
    tap.equal((got["id"], got["url"], got["name"], got["method"], got["description"]),
              (d.DEEP, "https://staging.test/", "Staging", "POST", d.ODD),
              "chain: the deepest delta with all that it inherits")
    got = c.one("chain", d.BASES[0], "--until", d.T0 - 5)
    tap.equal((got["url"], got["method"]), ("https://shop.test/0?q=1", "PUT"),
              "chain --until: what was there then")
    got = c.one("chain", d.BASES[0], "--until", "5")
    tap.equal(cli.plain([got]), c.rows("http", "id = ?", cli.unulid(d.BASES[0])),
              "chain --until before all deltas: the base")
    for not_base in (d.DELTA, d.OTHER):
        c.fails(1, not_base, "chain", not_base)


def all_changes(c: cli.Cli, limit: int, since="0", workspace="shop"):
    found = []
    for _ in range(200):
        *lines, end = c.json("changes", workspace, "--since", since, "--limit", limit)
        keys = {"next", "head", "up_to_date", "seq", "position"}
        good = set(end) == keys and cli.position_ok(end) and len(lines) <= limit
        if not tap.ok(good, "changes end with next, head, up_to_date"):
            return found, end
        found += lines
        if end["up_to_date"]:
            return found, end
        since = end["next"]
    tap.ok(False, "changes come to an end")
    return found, end


def check_changes(c: cli.Cli) -> None:
    whole, end = all_changes(c, 100000)
    tap.ok(all(o["op"] == "upsert" for o in whole), "changes since 0 are upserts")
    seqs = [o["seq"] for o in whole]
    tap.ok(seqs == sorted(seqs) and seqs[-1] <= end["head"], "changes are in order of seq")
    want = sum((c.rows(e, "id = ?" if e == "workspaces" else "workspace_id = ?", SHOP)
                for e in ("workspaces", "files", "http")), [])
    children = [r for e in cli.ENTITIES if e not in ("workspaces", "files", "http")
                for r in c.rows(e)]
    by_id = {r["id"]: r for r in want + children}
    tap.equal({o["id"]: o for o in cli.plain(whole)}, by_id, "changes since 0 are the workspace")
    tap.equal(len(whole), len(by_id), "changes: each record once")
    for limit in (5, 16):
        pages, _ = all_changes(c, limit)
        tap.equal(pages, whole, f"changes, {limit} at a time")

    tap.equal(c.one("delete", "http_header", d.HEADERS[3])["deleted"], 1, "a header is deleted")
    c.one("patch", "http", d.BASES[19], "name=Changed")
    c.one("patch", "workspaces", d.OTHER, "name=other one")
    for since in (end["next"], end["position"], end["head"]):
        *lines, last = c.json("changes", "shop", "--since", since)
        tap.equal([(o["op"], o["entity"], o["id"]) for o in lines],
                  [("delete", "http_header", d.HEADERS[3]), ("upsert", "http", d.BASES[19])],
                  f"changes since {since}: a delete, an upsert, nothing of other workspaces")
        tap.equal(set(lines[0]), {"op", "entity", "id", "seq"}, "keys of a delete")
        tap.ok(last["up_to_date"] and last["next"] == last["head"], "changes are up to date")
    *lines, _ = c.json("changes", "shop", "--since", last["position"])
    tap.equal(lines, [], "nothing changed since")
    c.fails(4, "", "changes", "shop", "--since", last["head"] + 1)
    head, _, tail = last["position"].partition("@")
    for foreign in (f"{int(head) + 1}@{tail}", f"{head}@{d.SHOP}:1"):
        c.fails(4, "--since 0", "changes", "shop", "--since", foreign)
    place = f"1/http/{d.SHOP}/"
    for bad in ("x", "1/", "1/http", "1/http/nope/3", "-1", "1@2:3", "99999999999999999999",
                place, place + "-1", place + " 1", place + f"{2 ** 64}", place + "1x"):
        c.fails(2, bad, "changes", "shop", "--since", bad)


def check_whole(c: cli.Cli) -> None:
    got = c.one("verify")
    total = sum(len(c.rows(e)) for e in cli.ENTITIES)
    tap.equal((got["records"], got["differences"]), (total, 0), "verify: records, no differences")
    tap.ok(len(bytes.fromhex(got["digest"])) == 16 and cli.position_ok(got), "verify: a digest")
    got = c.one("stats")
    tap.equal((got["records"], got["workspaces"], got["owner"], got["view_lagging"]),
              (total, 4, True, False), "stats")
    tap.equal(got["db_bytes"], c.db.stat().st_size, "stats: the file's size")
    numbers = ("head", "horizon", "tombstones", "wal_bytes", "view_bytes", "view_map_bytes",
               "generation", "readers", "unmirrored")
    tap.ok(all(type(got[k]) is int for k in numbers), "stats: numbers are numbers")
    tap.ok(cli.position_ok(got) and got["head"] == got["seq"], "stats: position")


def check_foreign(c: cli.Cli) -> None:
    """Rows that another program wrote are there at the next command."""
    row = cli.fake_id(4, 77)
    c.sql("INSERT INTO http_header (id, http_id, header_key, header_value, updated_at)"
          " VALUES (?, ?, 'latin', CAST(x'e9ff' AS TEXT), 1)", row, cli.unulid(d.BASES[7]))
    got = c.one("get", "http_header", cli.ulid(row))
    tap.equal(got["header_value"], {"$base64": "6f8=", "$text": True},
              "text that is no UTF-8 is marked base64")
    c.sql("UPDATE http SET url = 'https://new.test/' WHERE id = ?", cli.unulid(d.BASES[7]))
    tap.equal(c.one("get", "http", d.BASES[7])["url"], "https://new.test/", "an update is seen")
    c.sql("DELETE FROM http WHERE id = ?", cli.unulid(d.BASES[7]))
    c.fails(1, d.BASES[7], "get", "http", d.BASES[7])
    c.fails(1, cli.ulid(row), "get", "http_header", cli.ulid(row))
    c.sql("INSERT INTO http (id, workspace_id, name, url, method) VALUES (x'01', ?, '', '', '')",
          SHOP)
    tap.equal(c.one("stats")["unmirrored"], 1, "stats count rows whose id is no id")
    tap.equal(c.one("verify")["differences"], 0, "verify after foreign writes")


def main() -> None:
    with cli.database(init=False) as c:
        got = c.one("init")
        tap.equal((got.get("db"), got.get("created")), (str(c.db), True), "init makes a database")
        tap.ok(cli.position_ok(got), "init: position")
        tap.equal(c.one("init").get("created"), False, "init again leaves it alone")
        answer = c.put(d.records())
        tap.ok(cli.position_ok(answer) and set(answer) == {"written", "seq", "position"},
               "put: keys")
        check_stored(c, answer["written"])
        check_get(c)
        check_pages(c)
        check_times(c)
        check_numbers(c)
        check_children(c)
        check_resolve(c)
        check_changes(c)
        check_whole(c)
        check_foreign(c)
    tap.done()


sys.exit(main())

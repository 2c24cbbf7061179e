# SPDX-License-Identifier: Apache-2.0
"""Imports of files whose records were edited since: nothing is overwritten without a word, and
--edited says which of the two wins."""

import json
import sys

import cli
import tap

HAR = cli.ROOT / "docs/examples/shop.har"
POSTMAN = cli.ROOT / "docs/examples/shop.postman_collection.json"
TABLES = ("files", "http", "http_header", "http_search_param", "http_body_form",
          "http_body_urlencoded", "http_body_raw", "http_response", "http_response_header")


def content(c: cli.Cli, workspace: str):
    """All rows of all workspaces but for times and ids of the workspace's own row."""
    return {t: {r["id"]: r for r in c.rows(t)} for t in TABLES}


def without_times(rows):
    times = ("created_at", "updated_at", "time")
    return {t: {i: {k: v for k, v in r.items() if k not in times} for i, r in found.items()}
            for t, found in rows.items()}


def find(c: cli.Cli, workspace: str, method: str, with_children=()):
    for r in c.rows("http", "workspace_id = ? AND method = ?", cli.unulid(workspace), method):
        if all(c.json("children", t, r["id"], "--all") for t in with_children):
            return r
    raise LookupError(method)


def edit(c: cli.Cli, request):
    """Of a request its name, a header, and a response header."""
    [header, *_] = c.json("children", "http_header", request["id"], "--all")
    [response] = c.json("children", "http_response", request["id"], "--all")
    [answered, *_] = c.json("children", "http_response_header", response["id"], "--all")
    c.one("patch", "http", request["id"], "name=Mine", "description=my notes")
    c.one("patch", "http_header", header["id"], "enabled=false")
    c.one("patch", "http_response_header", answered["id"], "value=mine")
    return header, answered


def importing(c: cli.Cli, path, *options):
    r = c.run("--json", "import", "-w", "w", *options, path)
    [summary] = r.strict() or [{}]
    if not tap.ok(r.status == 0 and summary, f"import {options}"):
        r.explain()
    return summary, [line for line in r.errors.splitlines() if "differ" in line]


def check_keep(c: cli.Cli) -> None:
    first, said = importing(c, HAR)
    tap.equal((first["edited"], said), (0, []), "the first import: nothing differs")
    request = find(c, first["workspace_id"], "POST", ("http_header",))
    edit(c, request)
    # What the file does not say is no difference: times, a folder, the last run.
    c.one("patch", "http", request["id"], "last_run_at=5", "updated_at=7", "created_at=8")
    before, head = content(c, first["workspace_id"]), c.head()
    for options in ([], ["--edited", "keep"]):
        got, said = importing(c, HAR, *options)
        tap.equal((got["records"], got["skipped"], got["edited"]), (0, first["records"], 3),
                  f"{options}: nothing is written, three records differ")
        good = len(said) == 1 and request["url"] in said[0] and "kept" in said[0]
        good = good and "3 records" in said[0] and "(http, http_header, http_response_header)" \
            in said[0]
        tap.ok(good, f"{options}: the request is named") or tap.note(said)
        tap.equal((content(c, first["workspace_id"]) == before, c.head()), (True, head),
                  f"{options}: every row as it was")


def check_replace(c: cli.Cli) -> None:
    """Goes on where check_keep ended."""
    workspace = c.one("import", "-w", "w", HAR, quiet=False)["workspace_id"]
    request = find(c, workspace, "POST", ("http_header",))
    got, said = importing(c, HAR, "--edited", "replace")
    tap.equal((got["records"], got["edited"]), (3, 3), "replace: three records are written")
    tap.ok(len(said) == 1 and "replaced" in said[0], "replace: it is said")
    with cli.database() as other:
        other.put([{"entity": "workspaces", "id": workspace, "name": "w"}])
        importing(other, HAR)
        want = without_times(content(other, workspace))
    have = content(c, workspace)
    row = have["http"][request["id"]]
    tap.equal((row["last_run_at"], row["created_at"]), (5, 8),
              "replace: what the file does not say stays")
    tap.ok(row["updated_at"] > 1760000000, "replace: the time of the change")
    have = without_times(have)
    have["http"][request["id"]]["last_run_at"] = None
    tap.equal(have, want, "replace: every row as the file has it")
    got, said = importing(c, HAR, "--edited", "replace")
    tap.equal((got["records"], got["edited"], said), (0, 0, []), "replace again: nothing differs")


def check_copy(c: cli.Cli) -> None:
    workspace = c.one("import", "-w", "w", HAR, quiet=False)["workspace_id"]
    request = find(c, workspace, "POST", ("http_header",))
    unedited = content(c, workspace)
    edit(c, request)
    before = content(c, workspace)
    got, said = importing(c, HAR, "--edited", "copy")
    tap.ok(len(said) == 1 and "copy" in said[0], "copy: it is said")
    after = content(c, workspace)
    tap.ok(all(after[t].get(i) == r for t in TABLES for i, r in before[t].items()),
           "copy: nothing that was there changed")
    new = {t: [r for i, r in after[t].items() if i not in before[t]] for t in TABLES}
    tap.equal([r["name"] for r in new["http"]], [f"{request['name']} (copy)"],
              "copy: the request is there again")
    tap.equal(got["records"], sum(map(len, new.values())), "copy: its rows are counted")

    def owned(rows, request_id):
        """What hangs on a request, without ids."""
        found, responses = [], {r["id"] for r in rows["http_response"].values()
                                if r["http_id"] == request_id}
        for t in TABLES[2:]:
            for _, r in sorted(rows[t].items()):
                owner = r.get("http_id", r.get("response_id"))
                if owner == request_id or owner in responses:
                    found.append({k: v for k, v in r.items()
                                  if k not in ("id", "http_id", "response_id")})
        return found

    [copied] = new["http"]
    tap.equal(owned(after, copied["id"]), owned(unedited, request["id"]),
              "copy: its rows are those of the file, in their order")
    for _ in range(2):
        head = c.head()
        got, said = importing(c, HAR, "--edited", "copy")
        tap.equal((got["records"], c.head(), len(said)), (0, head, 1),
                  "copy again: the copy is there")
    c.one("patch", "http", copied["id"], "url=https://mine.test/")
    got, _ = importing(c, HAR, "--edited", "copy")
    names = [r["name"] for r in c.rows("http", "name LIKE '%(copy%'")]
    tap.equal(sorted(names), [f"{request['name']} (copy 2)", f"{request['name']} (copy)"],
              "copy: an edited copy is not overwritten either")


def check_postman(c: cli.Cli) -> None:
    """A folder that was renamed, a request that was moved, and a file that has changed."""
    first, _ = importing(c, POSTMAN)
    where = cli.unulid(first["workspace_id"])
    [folder] = c.rows("files", "workspace_id = ? AND name = 'Inner'", where)
    [file] = c.rows("files", "workspace_id = ? AND name = 'JSON'", where)
    c.one("patch", "files", folder["id"], "name=My folder")
    c.one("patch", "files", file["id"], f"parent_id={folder['id']}")
    got, said = importing(c, POSTMAN)
    tap.equal((got["records"], got["edited"], len(said)), (0, 2, 2), "folders: kept and named")
    got, said = importing(c, POSTMAN, "--edited", "copy")
    [moved] = c.rows("files", "id = ?", cli.unulid(file["id"]))
    [renamed] = c.rows("files", "id = ?", cli.unulid(folder["id"]))
    [again] = c.rows("files", "name = 'JSON (copy)'")
    tap.equal((moved["parent_id"], renamed["name"], again["parent_id"]),
              (folder["id"], "My folder", file["parent_id"]),
              "folders are kept, a moved request is stored again where the file has it")
    [request] = c.rows("http", "id = ?", cli.unulid(again["content_id"]))
    tap.equal(request["name"], "JSON (copy)", "the copy's file points to the copy")
    got, said = importing(c, POSTMAN, "--edited", "replace")
    [moved] = c.rows("files", "id = ?", cli.unulid(file["id"]))
    tap.equal((moved["parent_id"], got["edited"]), (file["parent_id"], 2), "replace moves it back")

    # The ids of a collection stay when its content changes: the file is what changed then.
    changed = json.loads(POSTMAN.read_text())
    changed["item"][1]["item"][0]["request"]["url"] = "https://new.example.com/"
    path = c.folder / "changed.json"
    path.write_text(json.dumps(changed))
    got, said = importing(c, path, "--edited", "replace")
    tap.equal((got["edited"], len(said)), (1, 1), "a file that changed")
    tap.ok(c.rows("http", "url = 'https://new.example.com/'"), "replace updates the request")


def check_guards(c: cli.Cli) -> None:
    """An import never takes a record away from another workspace or request."""
    first, _ = importing(c, HAR)
    request = find(c, first["workspace_id"], "POST", ("http_header",))
    [header, *_] = c.json("children", "http_header", request["id"], "--all")
    other = find(c, first["workspace_id"], "GET")
    [elsewhere] = c.json("workspaces", "--create", "elsewhere")
    c.one("patch", "http_header", header["id"], f"http_id={other['id']}")
    for how in ("keep", "replace"):
        importing(c, HAR, "--edited", how)
        [row] = c.rows("http_header", "id = ?", cli.unulid(header["id"]))
        tap.equal(row["http_id"], other["id"], f"{how}: a header that was moved stays")
    c.one("patch", "http", request["id"], f"workspace_id={elsewhere['id']}", "name=Moved")
    count = c.sql("SELECT count(*) FROM http_header")
    for how in ("keep", "replace", "copy"):
        _, said = importing(c, HAR, "--edited", how)
        [row] = c.rows("http", "id = ?", cli.unulid(request["id"]))
        tap.equal((row["workspace_id"], row["name"], c.sql("SELECT count(*) FROM http_header")),
                  (elsewhere["id"], "Moved", count), f"{how}: a request that was moved stays")
        tap.ok(any("another workspace" in line for line in said), f"{how}: it is said")
    c.fails(2, "--edited", "import", "--edited", "burn", HAR)
    # A large body is compared by its hash.
    large = {"log": {"entries": [{"startedDateTime": "2025-10-09T08:53:20Z", "request": {
        "method": "POST", "url": "https://a.test/", "postData": {"mimeType": "t/p",
                                                               "text": "x" * 100000}}}]}}
    path = c.folder / "large.har"
    path.write_text(json.dumps(large))
    importing(c, path)
    tap.equal(importing(c, path)[0]["edited"], 0, "a large body: no difference")
    large["log"]["entries"][0]["request"]["postData"]["text"] = "x" * 99999 + "y"
    path.write_text(json.dumps(large))
    tap.equal(importing(c, path)[0]["edited"], 1, "a large body: a difference of one byte")


def main() -> None:
    with cli.database() as c:
        check_keep(c)
        check_replace(c)
        tap.equal(c.one("verify")["differences"], 0, "verify")
    for check in (check_copy, check_postman, check_guards):
        with cli.database() as c:
            check(c)
            tap.equal(c.one("verify")["differences"], 0, f"verify: {check.__name__}")
    tap.done()


sys.exit(main())

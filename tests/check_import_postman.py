# SPDX-License-Identifier: Apache-2.0
"""Imports of Postman collections: real ones and an example against an independent reading, and
what cannot be kept is named."""

import json
import sys

import cli
import postman_reader
import tap

EXAMPLE = cli.ROOT / "docs/examples/shop.postman_collection.json"


def sample_files():
    found = [EXAMPLE]
    folder = cli.data_folder()
    if folder and (folder / "postman").is_dir():
        found += sorted((folder / "postman").glob("*.json"))
    else:
        tap.skip("THE SAMPLE FILES ARE MISSING: set RQC_DATA to the folder that has postman/")
    return found


def comparable(request):
    """Without the time of an example that has none of its own."""
    responses = [[*r[:2], *r[3:]] for r in request["responses"]]
    dates = sorted(r[2] for r in request["responses"] if r[2])
    return repr(sorted(dict(request, responses=sorted(map(repr, responses))).items())), dates


def check_file(c: cli.Cli, path) -> None:
    folders, want = postman_reader.read(path)
    got = c.one("import", path, quiet=False)
    tap.equal((got["requests"], got["responses"]),
              (len(want), sum(len(r["responses"]) for r in want)), f"{path.name}: counts")
    stored_folders, stored = postman_reader.stored(c, got["workspace_id"])
    tap.equal(sorted(stored_folders), sorted(folders), f"{path.name}: folders")
    a, b = (sorted(comparable(r)[0] for r in rs) for rs in (stored, want))
    if not tap.ok(a == b, f"{path.name}: every request as an independent reading has it"):
        wrong = [(x, y) for x, y in zip(a, b) if x != y]
        tap.note(f"{len(wrong)} differ; stored {wrong[0][0][:900]}" if wrong else "other numbers")
        tap.note(f"want {wrong[0][1][:900]}" if wrong else "")
    dates = sorted(d for r in want for d in comparable(r)[1])
    kept = sorted(d for r in stored for d in comparable(r)[1])
    tap.ok(all(d in kept for d in dates), f"{path.name}: the examples' own dates")
    again = c.one("import", path, quiet=False)
    tap.equal((again["records"], again["skipped"], again["edited"], again["seq"],
               again["warnings"]), (0, got["records"], 0, got["seq"], got["warnings"]),
              f"{path.name}: a second import changes nothing")


def check_named(c: cli.Cli) -> None:
    """Each warning of the example, whole: what is lost is named where it stands."""
    r = c.run("import", "-w", "named", EXAMPLE)
    where = f"reqcast: {EXAMPLE}: "
    tap.equal([line.removeprefix(where) for line in r.errors.splitlines()], [
        "not kept: variable base, collection description",
        "Products: not kept: folder description",
        "Products/List products: not kept: 2 × name of an example",
        "Products/Inner/Product by id: not kept: value of the path variable id, test script",
        "Products/Digest: not kept: authentication digest (username)",
        "Bodies/Form with a file: field picture sends the file /home/ann/apple.png: its content is"
        " not in the collection",
        "Bodies/File: the body is the file /home/ann/list.csv, whose content is not in the"
        " collection: kept as @ and its path",
        "Bodies/Purge: the body is disabled: kept, and the request's body kind is \"none\"",
    ], "what the example loses is named")
    tap.ok("ann:pass" not in r.errors and "shop-token" not in r.errors, "no secret is named")


def collection(*items, **more) -> bytes:
    return json.dumps({"info": {"name": "made"}, "item": list(items), **more}).encode()


def request(**fields):
    return {"name": "r", "request": {"method": "GET", "url": "https://a.test/", **fields}}


def imported(c: cli.Cli, name: str, data: bytes, warnings: int, needle=""):
    r = c.run("--json", "import", "-w", name, "-", stdin=data)
    [summary] = r.strict() or [{}]
    good = r.status == 0 and summary.get("warnings") == warnings and needle in r.errors
    if not tap.ok(good and len(r.errors.splitlines()) == warnings, f"{name}: {warnings} warnings"):
        r.explain()
    _, requests = postman_reader.stored(c, summary["workspace_id"])
    return requests


def check_odd(c: cli.Cli) -> None:
    for name, item, left, needle in (
            ("null item", None, 0, "neither"), ("number item", 5, 0, "neither"),
            ("text item", "GET /", 0, "neither"), ("empty item", {}, 0, "neither"),
            ("request is a list", {"name": "n", "request": []}, 0, "neither"),
            ("url is a number", request(url=7), 1, "url that is a number"),
            ("header is a number", request(header=7), 1, "header that is a number"),
            ("method is a list", request(method=["GET"]), 1, "method that is a list"),
            ("body is a number", request(body=7), 1, "body that is a number"),
            ("unknown mode", request(body={"mode": "carrier pigeon"}), 1, "carrier pigeon"),
            ("certificate", request(certificate={"name": "c"}), 1, "request certificate"),
            ("proxy", request(proxy={"host": "h"}), 1, "request proxy"),
            ("unknown auth", request(auth={"type": "hawk", "hawk": [{"key": "authId",
                                                                      "value": "s3cret"}]}),
             1, "authentication hawk (authId)"),
            ("response is a text", {**request(), "response": ["x"]}, 1, "response that is a text"),
            ("file without a path", request(body={"mode": "formdata", "formdata": [
                {"key": "f", "type": "file", "src": None}]}), 1, "sends the file")):
        kept = imported(c, name, collection(item, request(url="https://a.test/good")), 1, needle)
        tap.equal(len(kept), left + 1, f"{name}: the other request is there")
    # An own setting beats the inherited one; none at all is a setting, too.
    tree = {"name": "f", "auth": {"type": "basic", "basic": {"username": "u", "password": "{{p}}"}},
            "item": [request(), request(auth={"type": "noauth"}),
                     request(auth={"type": "bearer", "bearer": {"token": "t"}},
                             header=[{"key": "authorization", "value": "old"}])]}
    kept = imported(c, "auth", collection(tree), 2, "variable")
    tap.equal(sorted(r["headers"] for r in kept),
              [[], [["Authorization", "Basic u:{{p}}", True, ""]],
               [["authorization", "old", False, ""], ["Authorization", "Bearer t", True, ""]]],
              "inherited, own and no authentication")
    twins = imported(c, "twins", collection(request(), request(), {"name": "f", "item": []},
                                            {"name": "f", "item": [request()]}), 0)
    tap.equal(len(twins), 3, "equal items are told apart")
    wrapped = b'{"collection": ' + collection(request()) + b"}"
    tap.equal(len(imported(c, "wrapped", wrapped, 0)), 1, "a collection within an object")
    body = imported(c, "body text", collection(request(body="abc", method="POST")), 0)
    tap.equal((body[0]["kind"], body[0]["raw"]), (3, b"abc"), "a body that is a text")
    large = "é" * 300000
    body = imported(c, "large", collection(request(body={"mode": "raw", "raw": large})), 0)
    tap.ok(body[0]["raw"] == large.encode(), "a large body")


def check_refused(c: cli.Cli) -> None:
    before = c.head()
    deep = b'{"info": {}, "item": [' + b'{"item": [' * 101 + b"]}" * 101 + b"]}"
    for name, data, needle in (
            ("format 1", b'{"requests": [], "order": [], "name": "x"}', "format 1"),
            ("an environment", b'{"values": [], "_postman_variable_scope": "environment"}',
             "environment"),
            ("a dump", b'{"collections": [], "environments": []}', "dump"),
            ("without items", b'{"info": {"name": "x"}}', "item"),
            ("cut off", collection(request())[:-3], "line 1"), ("too deep", deep, "100 deep")):
        c.fails(3, [needle, "nothing was written"], "import", "-w", "refused", "-", stdin=data,
                name=f"a collection that is {name}")
    c.fails(3, "not a HAR file", "import", "--format", "har", EXAMPLE)
    c.fails(3, "nothing was written", "import", "--format", "postman",
            cli.ROOT / "docs/examples/shop.har")
    c.fails(2, "--format", "import", "--format", "soap", EXAMPLE)
    tap.equal(c.head(), before, "nothing was written")
    tap.ok(imported(c, "forced", collection(request()), 0), "found without --format")
    good = c.one("import", "-w", "forced", "--format", "postman", "-",
                 stdin=collection(request()))
    tap.equal(good["records"], 0, "--format postman")


def main() -> None:
    with cli.database() as c:
        for path in sample_files():
            check_file(c, path)
        check_named(c)
        check_odd(c)
        check_refused(c)
        tap.equal(c.one("verify")["differences"], 0, "verify after the imports")
    tap.done()


sys.exit(main())

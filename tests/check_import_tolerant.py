# SPDX-License-Identifier: Apache-2.0
"""HAR files as they are found: an entry that is broken costs a warning, a file that is none is
refused whole."""

import base64
import functools
import json
import sys

import cli
import tap

ODD_TEXT = "\u0007 \u202e é 漢 😀 \u2028 \"\\"


def response(**fields):
    return {"status": 200, "statusText": "OK", "headers": [], "content": {"size": 0}, **fields}


def request(**fields):
    return {"method": "GET", "url": "https://a.test/x", "headers": [], "queryString": [], **fields}


def entry(req=None, res=None, **fields):
    return {"startedDateTime": "2025-10-09T08:53:20.125Z", "time": 5,
            "request": req or request(), "response": res or response(), **fields}


def without(holder, key):
    return {k: v for k, v in holder.items() if k != key}


def har(*entries) -> bytes:
    return json.dumps({"log": {"version": "1.2", "entries": list(entries)}}).encode()


class Imported:
    """One entry, imported alone into a workspace of its own."""

    def __init__(self, c: cli.Cli, name: str, data: bytes):
        r = c.run("--json", "import", "-w", name, "-", stdin=data)
        lines = r.strict() or [{}]
        self.summary = lines[0]
        self.messages = r.errors.splitlines()
        good = r.status == 0 and len(lines) == 1 and not cli.CONTROL.search(r.errors)
        if not tap.ok(good, f"{name}: imported"):
            r.explain()
        self.c = c
        self.requests = c.rows("http", "workspace_id = ?",
                               cli.unulid(self.summary["workspace_id"]))

    def children(self, entity: str, owner: str):
        """In recorded order, which their ids have."""
        return sorted(self.c.json("children", entity, owner, "--all"), key=lambda r: r["id"])

    @functools.cached_property
    def resolved(self):
        return self.c.one("resolve", self.requests[0]["id"])

    @property
    def response(self):
        [found] = self.children("http_response", self.requests[0]["id"])
        return found

    def pairs(self, key: str):
        names = ("header_key", "header_value") if key == "headers" else ("key", "value")
        return [tuple(r[n] for n in names) for r in self.resolved[key]]

    @property
    def raw(self):
        raw = self.resolved["raw"]
        return raw and base64.b64decode(raw["raw_data"]["$base64"])


def check_warnings(c: cli.Cli) -> None:
    """What is broken, how many requests and responses remain, and what the warning speaks of."""
    r = request()
    for name, e, requests, responses, needle in (
            ("entry is null", None, 0, 0, "request"), ("entry is a number", 5, 0, 0, "request"),
            ("entry is a list", [], 0, 0, "request"),
            ("no request", without(entry(), "request"), 0, 0, "request"),
            ("request is a text", entry("GET /"), 0, 0, "request"),
            ("no url", entry(without(r, "url")), 0, 0, "url"),
            ("url is empty", entry(request(url="")), 0, 0, "url"),
            ("url is a number", entry(request(url=7)), 0, 0, "url"),
            ("no method", entry(without(r, "method")), 1, 1, "GET"),
            ("method is null", entry(request(method=None)), 1, 1, "GET"),
            ("headers are a text", entry(request(headers="a: b")), 1, 1, "headers"),
            ("a header without a name", entry(request(headers=[{"value": "v"}])), 1, 1, "name"),
            ("a header is null", entry(request(headers=[None])), 1, 1, "headers"),
            ("query is an object", entry(request(queryString={"a": "b"})), 1, 1, "query"),
            ("a parameter is a number", entry(request(queryString=[3])), 1, 1, "query"),
            ("post data are a text", entry(request(postData="a=1")), 1, 1, "post data"),
            ("no response", without(entry(), "response"), 1, 0, "response"),
            ("response is a list", entry(r, [1]), 1, 0, "response"),
            ("response headers are a number", entry(r, response(headers=9)), 1, 1, "headers"),
            ("no start", without(entry(), "startedDateTime"), 1, 1, "time"),
            ("start is no date", entry(startedDateTime="yesterday"), 1, 1, "time"),
            ("start has a 13th month", entry(startedDateTime="2025-13-01T00:00:00Z"), 1, 1, "time"),
            ("start is an object", entry(startedDateTime={}), 1, 1, "time"),
            ("duration is negative", entry(time=-1), 1, 1, "duration"),
            ("damaged base64", entry(r, response(content={"text": "@", "encoding": "base64"})),
             1, 1, "base64"),
            ("damaged base64 of a request", entry(request(postData={
                "mimeType": "x/y", "text": "@@", "encoding": "base64"})), 1, 1, "base64"),
            ("a NUL in a url", entry(request(url="https://a.test/\0x")), 1, 1, "U+FFFD"),
            ("a body of params alone", entry(request(postData={
                "mimeType": "application/json", "params": [{"name": "{\"a\"", "value": "1}"}]})),
             1, 1, "params"),
            ("multipart that is none", entry(request(postData={
                "mimeType": "multipart/form-data; boundary=X", "text": "abc"})), 1, 1, "multipart"),
            ("a part without a name", entry(request(postData={
                "mimeType": "multipart/form-data; boundary=X", "text":
                "--X\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n"
                "--X\r\nContent-Type: text/plain\r\n\r\n2\r\n--X--\r\n"})), 1, 1, "part")):
        m = Imported(c, name, har(e, entry(request(url="https://a.test/good"))))
        got = tuple(m.summary.get(k) for k in ("requests", "responses", "warnings"))
        tap.equal(got, (requests + 1, responses + 1, 1), f"{name}: counts, the next entry too")
        good = len(m.messages) == 1 and ": entry 1" in m.messages[0] and needle in m.messages[0]
        if not tap.ok(good and m.messages[0].startswith("reqcast: standard input: "), f"{name}: the warning"):
            tap.note(m.messages)
        tap.ok("https://a.test/good" in {x["url"] for x in m.requests}, f"{name}: the next entry")


def check_many_warnings(c: cli.Cli) -> None:
    path = c.folder / "many.har"
    path.write_bytes(har(*[None] * 30, entry()))
    for options, lines in (([], 21), (["--verbose"], 30), (["-v"], 30)):
        r = c.run("--json", *options, "import", path)
        shown = r.errors.splitlines()
        tap.equal((r.status, r.strict()[0]["warnings"], len(shown)), (0, 30, lines),
                  f"30 warnings {options}")
        tap.ok(all(f"{path}: " in line for line in shown), "each names the file")
        tap.ok(f"{path}: entry 20:" in shown[19], "in order, with the entry's number")
    tap.ok("10" in c.run("import", path).errors.splitlines()[-1], "how many were not shown")


def check_nothing(c: cli.Cli) -> None:
    """A file of which everything is left out makes no workspace."""
    before = c.head()
    for name, data in (("a har without a url", har(entry(without(request(), "url")))),
                       ("curl without a url", b"curl -X POST -H 'a: b'\n"),
                       ("a quote without an end", b"curl 'https://a.test\n")):
        r = c.run("--json", "import", "-w", name, "-", stdin=data)
        last = (r.errors.splitlines() or [""])[-1]
        good = r.status == 3 and r.out == b"" and "nothing was written" in last
        if not tap.ok(good and r.errors.count("\n") == 2, f"{name}: status 3, and why"):
            r.explain()
    tap.equal(c.head(), before, "nothing was written")


def check_responses(c: cli.Cli) -> None:
    for status, want in ((0, 0), (-1, -1), (-2, -2), (599, 599), ("200", 200), (200.0, 200),
                         (200.6, 201), ("x", 0), (None, 0), (10**30, 2**53 - 1)):
        m = Imported(c, f"status {status!r}", har(entry(None, response(status=status))))
        tap.equal((m.response["status"], m.summary["warnings"]), (want, 0), f"status {status!r}")
        tap.equal(m.resolved["asserts"], [], "no assert is invented")
    data = bytes(range(256))
    text = base64.b64encode(data).decode()
    folded = "\r\n".join(text[i:i + 76] for i in range(0, len(text), 76))
    for name, content, want, size in (
            ("base64", {"text": text, "encoding": "base64", "size": 256}, data, 256),
            ("BASE64", {"text": text, "encoding": "BASE64"}, data, 256),
            ("folded base64", {"text": folded, "encoding": "base64"}, data, 256),
            ("url-safe base64 without padding",
             {"text": text.replace("+", "-").replace("/", "_").rstrip("="), "encoding": "base64"},
             data, 256),
            ("empty base64", {"text": "", "encoding": "base64"}, b"", 0),
            ("text", {"text": ODD_TEXT, "size": -1}, ODD_TEXT.encode(), len(ODD_TEXT.encode())),
            ("text with NUL", {"text": "a\0b"}, b"a\0b", 3),
            ("empty text", {"text": "", "size": 17}, b"", 17), ("no text", {"size": 9}, None, 9)):
        m = Imported(c, f"content: {name}", har(entry(None, response(content=content))))
        row = m.response
        body = row["body"] and base64.b64decode(row["body"]["$base64"])
        tap.equal((body, row["size"], m.summary["warnings"]), (want, size, 0), f"content: {name}")
    m = Imported(c, "response", har(entry(None, response(
        headers=[{"name": n, "value": v} for n, v in (("Set-Cookie", "a"), ("X", ""),
                                                      ("Set-Cookie", "b"))]), time=12.5)))
    headers = m.children("http_response_header", m.response["id"])
    tap.equal([(h["key"], h["value"]) for h in headers],
              [("Set-Cookie", "a"), ("X", ""), ("Set-Cookie", "b")], "response headers in order")
    tap.equal((m.response["duration"], m.response["time"]), (13, "2025-10-09T08:53:20.125Z"),
              "duration rounded, time as recorded")


def check_requests(c: cli.Cli) -> None:
    twice = [{"name": "a", "value": "2"}, {"name": "b", "value": ""}, {"name": "a", "value": "1"}]
    want = [("a", "2"), ("b", ""), ("a", "1")]
    m = Imported(c, "pairs", har(entry(request(
        url="https://a.test/?a=2&b=&a=1", headers=twice, queryString=twice, method="propfind"))))
    tap.equal((m.pairs("headers"), m.pairs("params")), (want, want), "duplicates, in order")
    tap.equal((m.requests[0]["method"], m.requests[0]["url"]),
              ("propfind", "https://a.test/?a=2&b=&a=1"), "method and url as recorded")
    m = Imported(c, "query", har(entry(request(url="https://a.test/?x=%C3%A9+1&&y&z=%zz#f?no"))))
    tap.equal(m.pairs("params"), [("x", "é 1"), ("y", ""), ("z", "%zz")],
              "parameters out of the url where the list is empty")
    m = Imported(c, "values", har(entry(request(headers=[
        {"name": "n", "value": 5}, {"name": "f", "value": 1.5}, {"name": "t", "value": True},
        {"name": "z", "value": None}, {"name": "m"}, {"name": "o", "value": ODD_TEXT}]))))
    tap.equal(m.pairs("headers"), [("n", "5"), ("f", "1.5"), ("t", "true"), ("z", ""), ("m", ""),
                                   ("o", ODD_TEXT)], "values that are no texts")
    form = ("--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n2\r\n--X\r\n"
            "Content-Disposition: form-data; name=\"f\"; filename=\"x.bin\"\r\n"
            "Content-Type: image/png\r\n\r\n\r\n--X--\r\n")
    for name, post, kind, key, value in (
            ("urlencoded params", {"mimeType": "application/x-www-form-urlencoded",
                                   "params": twice, "text": "no"}, 2, "urlencoded", want),
            ("urlencoded text", {"mimeType": "Application/X-WWW-Form-Urlencoded; charset=UTF-8",
                                 "text": "a=1+2&a=%26&b"}, 2, "urlencoded",
             [("a", "1 2"), ("a", "&"), ("b", "")]),
            ("multipart params", {"mimeType": "multipart/form-data; boundary=X", "params": twice},
             1, "form", want),
            ("multipart text", {"mimeType": "multipart/form-data; boundary=X", "text": form},
             1, "form", [("a", "1\r\n2"), ("f", "x.bin")]),
            ("multipart text without a boundary", {"mimeType": "multipart/form-data",
                                                   "text": form},
             1, "form", [("a", "1\r\n2"), ("f", "x.bin")])):
        m = Imported(c, name, har(entry(request(postData=post))))
        tap.equal((m.requests[0]["body_kind"], m.pairs(key), m.raw), (kind, value, None), name)
    for name, post, value in (
            ("JSON body", {"mimeType": "application/json", "text": "{\"a\":1}"}, b"{\"a\":1}"),
            ("body without a type", {"text": ODD_TEXT}, ODD_TEXT.encode()),
            ("base64 body", {"mimeType": "a/b", "text": "AP8=", "encoding": "base64"}, b"\0\xff")):
        m = Imported(c, name, har(entry(request(postData=post))))
        tap.equal((m.requests[0]["body_kind"], m.raw), (3, value), name)
    for post in (None, {}, {"mimeType": "", "text": ""}):
        m = Imported(c, f"no body {post}", har(entry(request(postData=post))))
        tap.equal((m.requests[0]["body_kind"], m.raw), (0, None), f"no body: {post}")


def check_streams(c: cli.Cli) -> None:
    """WebSocket and event streams: what the tables hold is kept, the rest is counted and named."""
    frames = [{"type": "send", "time": 1.5, "opcode": 1, "data": "hello"},
              {"type": "receive", "time": 2.5, "opcode": 2, "data": "AP8="}]
    events = [{"eventName": "tick", "eventId": "7", "data": "a\nb", "time": 1.5},
              {"eventName": "", "eventId": "", "data": "", "time": 2}, {"data": "c"}]
    text = "event: tick\nid: 7\ndata: a\ndata: b\n\ndata: \n\ndata: c\n\n"
    stream = {"mimeType": "text/event-stream", "size": 0}
    for name, e, body, losses in (
            ("web socket", entry(request(url="wss://a.test/"), response(status=101),
                                 _webSocketMessages=frames, _resourceType="websocket"), None,
             "2 WebSocket messages"),
            ("stream with its text", entry(None, response(content={**stream, "text": text})),
             text, ""),
            ("stream of events alone", entry(None, response(content=stream),
                                             _eventSourceMessages=events), text, ""),
            ("stream with both", entry(None, response(content={**stream, "text": "data: x\n\n"}),
                                       _eventSourceMessages=events), "data: x\n\n",
             "3 events beside the text of their stream"),
            ("blocked", entry(None, response(status=0, _error="net::ERR_BLOCKED")), None,
             "error of the browser"),
            ("comments", entry(request(comment="q", postData={"text": "x", "comment": "p"}),
                               response(comment="r", content={"comment": "c"}, headers=[
                                   {"name": "A", "value": "b", "comment": "h"}])), None,
             "comment of the body, comment of a response header, comment of the response, "
             "comment of the content, comment of the request"),
            ("cookies alone", entry(request(cookies=[{"name": "a", "value": "b"}] * 2),
                                    response(cookies=[{"name": "c", "value": "d"}])), None,
             "cookies of a response without Set-Cookie, 2 cookies of a request without a header "
             "Cookie"),
            ("cookies beside headers", entry(
                request(cookies=[{"name": "a", "value": "b"}],
                        headers=[{"name": "cookie", "value": "a=b"}]),
                response(cookies=[{"name": "c", "value": "d"}],
                         headers=[{"name": "set-cookie", "value": "c=d"}])), None, "")):
        m = Imported(c, name, har(e))
        stored = m.response["body"] and base64.b64decode(m.response["body"]["$base64"]).decode()
        tap.equal((m.summary["requests"], stored, m.response["status"]),
                  (1, body, e["response"]["status"]), f"{name}: what is kept")
        said = [line.partition(": not kept: ")[2] for line in m.messages]
        tap.equal((said, m.summary["warnings"]), ([losses] if losses else [], len(said)),
                  f"{name}: what is lost")
    for name, content, needle in (
            ("odd encoding", {"text": "abc", "encoding": "gzip"}, "encoding gzip"),
            ("no text of that encoding", {"encoding": "gzip"}, "")):
        m = Imported(c, name, har(entry(None, response(content=content))))
        body = m.response["body"] and base64.b64decode(m.response["body"]["$base64"])
        tap.equal((body, m.summary["warnings"]), (b"abc" if "text" in content else None,
                                                  1 if needle else 0), name)
        tap.ok(needle in "".join(m.messages), f"{name}: named")
    nulls = {k: None for k in ("time", "comment", "cache", "timings", "pageref", "connection")}
    m = Imported(c, "nulls", har({**entry(
        request(httpVersion=None, cookies=None, headers=None, queryString=None, postData=None),
        response(statusText=None, headers=None, content=None, redirectURL=None)), **nulls}))
    tap.equal((m.summary["requests"], m.response["duration"], m.summary["warnings"]), (1, 0, 0),
              "null wherever it may stand")


def check_formats(c: cli.Cli) -> None:
    """A file is told by its first words; --format decides where they mislead."""
    head = c.head()
    for name, data, needle in (
            ("JSON of another kind", b'{"a": {"log": 1}, "b": ["item"]}', "neither a HAR"),
            ("HTML", b"<!doctype html>", "neither JSON"), ("a list", b'[{"log": 1}]', "neither"),
            ("a key as a value", b'{"a": "log", "b": "info"}', "neither a HAR")):
        c.fails(3, [needle, "nothing was written"], "import", "-", stdin=data, name=name)
    c.fails(3, "line 1", "import", "--format", "har", "-", stdin=b"curl https://a.test")
    c.fails(3, "no curl command", "import", "--format", "curl", "-", stdin=har(entry()))
    tap.equal(c.head(), head, "nothing was written")
    later = b'{"a": "\\"log", "b": {"log": [1]}, "creator": "\\\\", "log": {"entries": []}}'
    tap.equal(Imported(c, "later", later).summary["requests"], 0, "a log behind other members")
    for path, name in (("x.postman_collection.json", "x"), ("y.HAR", "y"), ("z.json", "z")):
        file = c.folder / path
        file.write_bytes(har())
        tap.equal(c.one("import", file)["workspace"], name, f"the workspace of {path}")


def check_times(c: cli.Cli) -> None:
    for text, want in (("2025-10-09T08:53:20Z", 1760000000),
                       ("2025-10-09T10:53:20.999+02:00", 1760000000),
                       ("2025-10-09T03:23:20.5-0530", 1760000000),
                       ("2025-10-09T08:53:20", 1760000000), ("2000-02-29T23:59:60Z", 951868800),
                       (1760000000, 1760000000), (1760000000123, 1760000000),
                       ("1969-12-31T23:59:59.5Z", None)):
        m = Imported(c, f"start {text}", har(entry(startedDateTime=text)))
        got = m.requests[0]["updated_at"]
        tap.ok(got == want if want else got in (-1, 0), f"start {text}: {got}")
        tap.equal(m.summary["warnings"], 0, f"start {text}: no warning")


def check_text(c: cli.Cli) -> None:
    good = har(entry(request(url="https://a.test/ok")))
    m = Imported(c, "BOM", b"\xef\xbb\xbf" + good)
    tap.equal((m.summary["requests"], m.summary["warnings"]), (1, 0), "a byte order mark")
    for name, old, new in (("invalid UTF-8", b"/ok", b"/\xe9\xffk"),
                           ("half a surrogate pair", b"/ok", b"/\\ud800k"),
                           ("an escaped NUL", b"/ok", b"/\\u0000k")):
        m = Imported(c, name, good.replace(old, new))
        tap.equal((m.summary["requests"], m.summary["warnings"] >= 1), (1, True),
                  f"{name}: mended, with a warning")
        tap.ok(isinstance(m.requests[0]["url"], str) and m.requests[0]["url"].endswith("k"),
               f"{name}: the url is text")
    m = Imported(c, "big numbers", good.replace(b'"time": 5', b'"time": ' + b"9" * 300))
    tap.equal(m.summary["requests"], 1, "an integer of 300 digits")
    long_url = "https://a.test/?" + "x" * 200000
    m = Imported(c, "long", har(entry(request(url=long_url))))
    tap.equal([r["id"] for r in c.rows("http", "length(url) = ?", len(long_url))],
              [m.requests[0]["id"]], "a url of 200,000 characters")


def check_refused(c: cli.Cli) -> None:
    before, files = c.head(), len(c.rows("workspaces"))
    good = har(entry())
    deep = b'{"log": {"entries": ' + b"[" * 200000 + b"]" * 200000 + b"}}"
    for name, data, needle in (
            ("empty", b"", "JSON"), ("blank", b" \n", "JSON"), ("no JSON", b"<html>", "line 1"),
            ("cut off", good[:-10], "line 1"), ("something behind", good + b" x", "JSON"),
            ("line and column", b'{\n "log": {\n  nope}}', "line 3"),
            ("UTF-16", good.decode().encode("utf-16"), "UTF-16"),
            ("compressed", b"\x1f\x8b\x08\0\0\0\0\0", "gzip"), ("NUL bytes", b"\0" * 100, "JSON"),
            ("deep", deep, "JSON"), ("deep without end", b'{"a":' * 200000, "JSON"),
            ("a list", b"[]", "log"), ("a text", b'"x"', ""), ("no log", b"{}", "log"),
            ("log is a list", b'{"log": []}', "log"), ("no entries", b'{"log": {}}', "entries"),
            ("entries are an object", b'{"log": {"entries": {}}}', "entries"),
            ("entries are null", b'{"log": {"entries": null}}', "entries")):
        c.fails(3, [needle, "nothing was written"], "import", "-w", "refused", "-", stdin=data,
                name=f"import of a file that is {name}")
    tap.equal((c.head(), len(c.rows("workspaces"))), (before, files), "nothing was written")
    one = c.folder / "good.har"
    one.write_bytes(good)
    c.fails(3, "nothing was written", "import", one, "-", stdin=b"{}")
    tap.equal((c.head(), len(c.rows("workspaces"))), (before, files),
              "all files of a command or none")


def main() -> None:
    with cli.database() as c:
        check_warnings(c)
        check_many_warnings(c)
        check_nothing(c)
        check_responses(c)
        check_requests(c)
        check_streams(c)
        check_formats(c)
        check_times(c)
        check_text(c)
        check_refused(c)
        tap.equal(c.one("verify")["differences"], 0, "verify after the imports")
    tap.done()


sys.exit(main())

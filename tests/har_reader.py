# SPDX-License-Identifier: Apache-2.0
"""What docs/semantics.md makes of a HAR file, read independently: one structure per request, to be
compared with what an import stored."""

import base64
import datetime
import email.parser
import json
import math
import urllib.parse

import cli

KINDS = {"multipart/form-data": 1, "application/x-www-form-urlencoded": 2}


def seconds(text: str) -> int:
    when = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    if when.tzinfo is None:
        when = when.replace(tzinfo=datetime.timezone.utc)
    return math.floor(when.timestamp())


def pairs(items):
    return [(i["name"], i.get("value") or "") for i in items or []]


def urlencoded(text: str):
    return [tuple(urllib.parse.unquote_plus(s) for s in (part.partition("=")[0],
                                                         part.partition("=")[2]))
            for part in text.split("&") if part]


def multipart(mime: str, text: str):
    whole = f"Content-Type: {mime}\r\n\r\n".encode() + text.encode()
    message = email.parser.BytesParser().parsebytes(whole)
    return [(part.get_param("name", header="content-disposition"),
             part.get_payload(decode=True).decode()) for part in message.get_payload()]


def content(holder) -> bytes:
    text = holder.get("text")
    if text is None:
        return None
    if holder.get("encoding") == "base64":
        return base64.b64decode(text)
    return text.encode()


def body(post):
    """Kind, form, urlencoded, raw."""
    if not post:
        return 0, [], [], None
    mime = post.get("mimeType", "")
    kind = KINDS.get(mime.partition(";")[0].strip().lower(), 3)
    given, text = pairs(post.get("params")), content(post) or b""
    if kind == 3:
        return (3, [], [], text) if text or given else (0, [], [], None)
    if kind == 2:
        return 2, [], given or urlencoded(text.decode()), None
    return 1, given or (multipart(mime, text.decode()) if text else []), [], None


def number(v) -> int:
    return math.floor(v + 0.5) if v and v > 0 else math.ceil((v or 0) - 0.5)


def response(r, duration, start):
    if not isinstance(r, dict):
        return None
    holder = r.get("content", {})
    data = content(holder)
    size = holder.get("size", 0)
    return {"status": number(r.get("status")), "body": data, "time": start,
            "duration": max(0, number(duration)),
            "size": size if size > 0 else len(data or b""), "headers": pairs(r.get("headers"))}


def entry(e):
    request = e["request"]
    kind, form, encoded, raw = body(request.get("postData"))
    query = urllib.parse.urlsplit(request["url"]).query
    params = pairs(request.get("queryString")) or urlencoded(query)
    return {"method": request["method"], "url": request["url"], "kind": kind,
            "at": seconds(e["startedDateTime"]), "headers": pairs(request.get("headers")),
            "params": params, "form": form, "urlencoded": encoded, "raw": raw,
            "response": response(e.get("response"), e.get("time"), e["startedDateTime"])}


def read(path):
    with open(path, encoding="utf-8-sig") as f:
        return [entry(e) for e in json.load(f)["log"]["entries"]]


def records(entries) -> int:
    """How many rows those are."""
    return sum(1 + sum(len(e[k]) for k in ("headers", "params", "form", "urlencoded"))
               + (e["raw"] is not None)
               + (1 + len(e["response"]["headers"]) if e["response"] else 0) for e in entries)


def stored(c: cli.Cli, workspace: str):
    """The same structures out of the database."""
    def children(table, key, value, owner="http_id", order="display_order, id"):
        found = {}
        for o, k, v in db.execute(f"SELECT {owner}, {key}, {value} FROM {table} ORDER BY {order}"):
            found.setdefault(o, []).append((k, v))
        return found

    with c.sqlite() as db:
        headers = children("http_header", "header_key", "header_value")
        params = children("http_search_param", "key", "value")
        form = children("http_body_form", "key", "value")
        encoded = children("http_body_urlencoded", "key", "value")
        answered = children("http_response_header", "key", "value", "response_id", "id")
        raw = dict(db.execute("SELECT http_id, raw_data FROM http_body_raw"))
        responses = {}
        for rid, hid, *values in db.execute(
                "SELECT id, http_id, status, body, time, duration, size FROM http_response"):
            keys = ("status", "body", "time", "duration", "size")
            responses[hid] = dict(zip(keys, values), headers=answered.get(rid, []))
        return [{"method": method, "url": url, "kind": kind, "at": at,
                 "headers": headers.get(hid, []), "params": params.get(hid, []),
                 "form": form.get(hid, []), "urlencoded": encoded.get(hid, []),
                 "raw": raw.get(hid), "response": responses.get(hid)}
                for hid, method, url, kind, at in db.execute(
                    "SELECT id, method, url, body_kind, updated_at FROM http"
                    " WHERE workspace_id = ? ORDER BY id", (cli.unulid(workspace),))]

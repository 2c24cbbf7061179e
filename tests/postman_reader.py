# SPDX-License-Identifier: Apache-2.0
"""What docs/semantics.md makes of a Postman collection, read independently: one structure per
request, to be compared with what an import stored."""

import base64
import email.utils
import json

import cli

TYPES = {"json": "application/json", "xml": "application/xml", "html": "text/html",
         "javascript": "application/javascript", "text": "text/plain"}


def text(v) -> str:
    if isinstance(v, dict):
        return text(v.get("content"))
    return "" if v is None else v if isinstance(v, str) else json.dumps(v, separators=(",", ":"))


def pair(item):
    return [text(item.get("key")), text(item.get("value")), not item.get("disabled", False),
            text(item.get("description"))]


def lines(given: str):
    for line in given.splitlines():
        off = line.startswith("//")
        name, _, value = (line[2:] if off else line).partition(":")
        if name.strip() or value.strip():
            yield [name.strip(), value.strip(), not off, ""]


def pairs(given):
    if isinstance(given, str):
        return list(lines(given))
    found = []
    for item in given or []:
        if isinstance(item, str):
            found += lines(item)
        elif item.get("type") == "file":
            src = item.get("src")
            for path in src if isinstance(src, list) else [src]:
                row = pair(dict(item, value=path))
                kind = item.get("contentType")
                row[3] = row[3] or f"file {path}" + (f", {kind}" if kind else "")
                found.append(row)
        else:
            found.append(pair(item))
    return found


def made_url(url) -> str:
    def joined(v, between):
        return v if isinstance(v, str) else between.join(v or [])
    scheme = url.get("protocol")
    made = (f"{scheme}://" if scheme else "") + joined(url.get("host"), ".")
    made += f":{url['port']}" if url.get("port") else ""
    path = joined(url.get("path"), "/")
    made += ("/" if path and not path.startswith("/") else "") + path
    query = "&".join(f"{q['key']}={q['value']}" for q in url.get("query", [])
                     if not q.get("disabled"))
    return made + (f"?{query}" if query else "") + (f"#{url['hash']}" if url.get("hash") else "")


def params_of(url, whole: str):
    if isinstance(url, dict) and url.get("query"):
        return pairs(url["query"])
    query = whole.partition("#")[0].partition("?")[2]
    return [[*part.partition("=")[::2], True, ""] for part in query.split("&") if part]


def auth_pair(auth):
    """Where it goes, and the pair; or nothing."""
    kind = (auth or {}).get("type")
    given = (auth or {}).get(kind) or {}
    if isinstance(given, list):
        given = {p["key"]: p.get("value") for p in given}
    if kind == "basic":
        both = f"{text(given.get('username'))}:{text(given.get('password'))}"
        coded = both if "{{" in both else base64.b64encode(both.encode()).decode()
        return "headers", ["Authorization", f"Basic {coded}", True, ""]
    if kind == "bearer":
        return "headers", ["Authorization", f"Bearer {given['token']}", True, ""]
    if kind == "apikey":
        where = "params" if given.get("in") == "query" else "headers"
        return where, [given["key"], given["value"], True, ""]
    return None, None


def body_of(body):
    """Kind, form, urlencoded, raw, content type that is added."""
    if not body:
        return 0, [], [], None, None
    mode = body.get("mode")
    form, encoded = pairs(body.get("formdata")), pairs(body.get("urlencoded"))
    raw, kind = None, None
    if mode == "raw":
        raw = body.get("raw") or None
        kind = TYPES.get(body.get("options", {}).get("raw", {}).get("language")) if raw else None
    elif mode == "graphql":
        ql = body["graphql"]
        raw = '{"query":' + json.dumps(ql["query"], ensure_ascii=False)
        raw += f',"variables":{ql["variables"]}' * bool(ql.get("variables")) + "}"
        kind = TYPES["json"]
    elif mode == "file" and body["file"].get("src"):
        raw = "@" + body["file"]["src"]
    number = {"formdata": 1 if form else 0, "urlencoded": 2 if encoded else 0}.get(
        mode, 3 if raw else 0)
    if body.get("disabled"):
        number, kind = 0, None
    return number, form, encoded, raw.encode() if raw else None, kind


def date_of(headers):
    for key, value, *_ in headers:
        if key.lower() == "date":
            when = email.utils.parsedate_to_datetime(value)
            return when.strftime("%Y-%m-%dT%H:%M:%SZ")
    return None


def responses_of(given):
    found = []
    for r in given or []:
        body = r.get("body")
        body = None if body is None else body.encode()
        headers = pairs(r.get("header"))
        found.append([r.get("code", 0), body, date_of(headers), int(r.get("responseTime") or 0),
                      len(body or b""), [h[:2] for h in headers]])
    return found


def request_of(item, path, auth):
    request = item["request"]
    bare = isinstance(request, str)
    request = {"url": request} if bare else request
    url = request.get("url", "")
    whole = url if isinstance(url, str) else url.get("raw") or made_url(url)
    kind, form, encoded, raw, added = body_of(request.get("body"))
    made = {"headers": pairs(request.get("header")), "params": params_of(url, whole)}
    where, extra = auth_pair(request.get("auth") or auth)
    if where:
        for row in made[where]:
            if row[0].lower() == extra[0].lower():
                row[2] = False
        made[where].append(extra)
    if added and not any(h[0].lower() == "content-type" and h[2] for h in made["headers"]):
        made["headers"].append(["Content-Type", added, True, ""])
    return {"path": path, "name": item["name"], "url": whole,
            "method": request.get("method") or "GET", "description":
            text(item.get("description")) or text(request.get("description")), "kind": kind,
            "form": form, "urlencoded": encoded, "raw": raw,
            "responses": responses_of(item.get("response")), **made}


def walk(items, path, auth):
    """Folders as their paths, requests as structures."""
    for item in items:
        if "item" in item:
            inner = (*path, item["name"])
            yield inner
            yield from walk(item["item"], inner, item.get("auth") or auth)
        else:
            yield request_of(item, path, auth)


def read(path):
    with open(path, encoding="utf-8") as f:
        collection = json.load(f)
    found = list(walk(collection["item"], (), collection.get("auth")))
    return ([x for x in found if isinstance(x, tuple)],
            [x for x in found if isinstance(x, dict)])


def stored(c: cli.Cli, workspace: str):
    """The same out of the database."""
    wid = cli.unulid(workspace)
    with c.sqlite() as db:
        files = {i: (parent, content, kind, name) for i, parent, content, kind, name in db.execute(
            "SELECT id, parent_id, content_id, content_kind, name FROM files"
            " WHERE workspace_id = ? ORDER BY display_order", (wid,))}

        def path_of(i):
            return () if i is None else (*path_of(files[i][0]), files[i][3])

        def children(table, key="key", value="value"):
            found = {}
            for o, *row in db.execute(f"SELECT http_id, {key}, {value}, enabled, description"
                                      f" FROM {table} ORDER BY display_order"):
                found.setdefault(o, []).append([*row[:2], bool(row[2]), row[3]])
            return found

        tables = {"headers": children("http_header", "header_key", "header_value"),
                  "params": children("http_search_param"), "form": children("http_body_form"),
                  "urlencoded": children("http_body_urlencoded")}
        raw = dict(db.execute("SELECT http_id, raw_data FROM http_body_raw"))
        headers = {}
        for rid, key, value in db.execute(
                "SELECT response_id, key, value FROM http_response_header ORDER BY id"):
            headers.setdefault(rid, []).append([key, value])
        responses = {}
        for rid, hid, *row in db.execute(
                "SELECT id, http_id, status, body, time, duration, size FROM http_response"):
            responses.setdefault(hid, []).append([*row, headers.get(rid, [])])
        of = {content: (i, name) for i, (_, content, kind, name) in files.items() if kind == 1}
        requests = []
        for hid, folder, name, method, url, kind, description in db.execute(
                "SELECT id, folder_id, name, method, url, body_kind, description FROM http"
                " WHERE workspace_id = ?", (wid,)):
            file_id, file_name = of[hid]
            assert path_of(folder) == path_of(files[file_id][0]) and file_name == name
            requests.append({"path": path_of(folder), "name": name, "url": url, "method": method,
                             "description": description, "kind": kind, "raw": raw.get(hid),
                             "responses": responses.get(hid, []),
                             **{t: rows.get(hid, []) for t, rows in tables.items()}})
        folders = [path_of(i) for i, (_, _, kind, _) in files.items() if kind == 0]
    return folders, requests

# SPDX-License-Identifier: Apache-2.0
"""What curl makes of command lines: the words by the shell itself, what is sent by curl itself,
against a server on loopback. Independent of any reading of ours."""

import contextlib
import email.parser
import http.server
import pathlib
import re
import shutil
import subprocess
import threading
import urllib.parse

import cli

BASH, CURL = shutil.which("bash"), shutil.which("curl")
# The shell's words of each curl command, with its input where it reads some; nothing else runs.
RECORD = """
curl() {
    { printf '%s\\0' curl "$#" "$@"
      case " $* " in *' @- '*) printf 'input\\0%s\\0' "$(cat; printf x)";; *) printf 'none\\0';; esac
    } >>"$RECORD_TO"
}
jq() { :; }
PATH=
. "$1"
"""


def words(script: pathlib.Path):
    """(arguments, input or None) of each command of a script that is ours."""
    out = script.with_suffix(".words")
    out.write_bytes(b"")
    subprocess.run([BASH, "-c", RECORD.replace("$(cat;", f"$({shutil.which('cat')};"), "bash",
                    str(script)], env={"RECORD_TO": str(out), "LC_ALL": "C.UTF-8"}, check=False, timeout=60,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    parts = out.read_bytes().split(b"\0")[:-1]
    found = []
    while parts:
        n = int(parts[1])
        given, parts = parts[2:2 + n], parts[2 + n:]
        if parts[0] == b"input":
            found.append((given, parts[1][:-1]))
            parts = parts[2:]
        else:
            found.append((given, None))
            parts = parts[1:]
    return found


class Recorder(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        size = int(self.headers.get("Content-Length") or 0)
        self.server.seen.append((self.command, self.path, list(self.headers.items()),
                                 self.rfile.read(size)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder) as s:
        s.seen = []
        thread = threading.Thread(target=s.serve_forever)
        thread.start()
        try:
            yield s
        finally:
            s.shutdown()
            thread.join()


def sent(commands, host: str, folder):
    """(method, path, headers, body) of all requests of the commands, sent to the server in place of
    `host`."""
    with server() as s:
        here = f"http://127.0.0.1:{s.server_address[1]}"
        for given, stdin in commands:
            given = [a.replace(host.encode(), here.encode()) for a in given]
            subprocess.run([CURL, "-q", "--noproxy", "*", "-s", "-o", "/dev/null", *given],
                           cwd=folder, input=stdin or b"", capture_output=True, timeout=60,
                           check=False, env={"PATH": "/usr/bin:/bin"})
        return [(method, path, [(k, v.replace(here, host)) for k, v in headers], body)
                for method, path, headers, body in s.seen]


# What curl adds by itself; Content-Type too, where the kind of the body tells it.
ESCAPE = re.compile("%[0-9a-f]{2}")
OWN = {"host", "content-length", "expect", "connection"}


def seen(requests):
    """As rows: (method, path, headers, params, kind, form, urlencoded, raw)."""
    found = []
    for method, path, headers, body in requests:
        kind = dict((k.lower(), v) for k, v in headers).get("content-type", "")
        query = urllib.parse.urlsplit(path).query
        form, encoded, raw, number = [], [], None, 0
        if kind.startswith("multipart/form-data"):
            number = 1
            whole = b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body
            for part in email.parser.BytesParser().parsebytes(whole).get_payload():
                file = part.get_filename()
                value = part.get_payload(decode=True).decode()
                name = part.get_param("name", header="content-disposition")
                form.append((name, file if file else value))
        elif kind.startswith("application/x-www-form-urlencoded") and body[:1] not in b"{[<\"":
            number, encoded = 2, pairs(body.decode())
        elif body:
            number, raw = 3, body
        told = number in (1, 2)
        kept = sorted((k.lower(), v) for k, v in headers if k.lower() not in OWN
                      and not (told and k.lower() == "content-type")
                      and (k.lower(), v) != ("accept", "*/*")
                      and not (k.lower() == "user-agent" and v.startswith("curl/")))
        path = ESCAPE.sub(lambda m: m[0].upper(), path)
        found.append((method, path, kept, pairs(query), number, form, encoded, raw))
    return sorted(found, key=repr)


def pairs(text: str):
    return [tuple(urllib.parse.unquote_plus(s) for s in part.partition("=")[::2])
            for part in text.split("&") if part]


def stored(c: cli.Cli, workspace: str, host=None):
    """The same out of the database, enabled rows only."""
    found = []
    for http in c.rows("http", "workspace_id = ?", cli.unulid(workspace)):
        def rows(entity, key="key", value="value", owner=http["id"]):
            return [(r[key], r[value]) for r in c.rows(
                entity, "http_id = ? AND enabled", cli.unulid(owner), order="display_order")]
        raw = c.sql("SELECT raw_data FROM http_body_raw WHERE http_id = ?",
                    cli.unulid(http["id"]))
        url = http["url"]
        if host is not None:
            # What a client makes of an url: the path alone, never empty, without the fragment.
            url = url.removeprefix(host).partition("#")[0]
            url = url if url.startswith("/") else "/" + url
        told = http["body_kind"] in (1, 2)
        headers = sorted((k.lower(), v) for k, v in rows("http_header", "header_key",
                                                         "header_value")
                         if host is None or (k.lower(), v) != ("accept", "*/*")
                         and not (told and k.lower() == "content-type"))
        found.append((http["method"], url, headers, rows("http_search_param"), http["body_kind"],
                      rows("http_body_form"), rows("http_body_urlencoded"),
                      raw[0][0] if raw else None))
    return sorted(found, key=repr)

# SPDX-License-Identifier: Apache-2.0
"""What people see: help, tables, and the progress bar, which is for terminals alone."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios

import cli
import cli_data as d
import tap

COMMAND = re.compile(r"^  ([a-z]+) +\S")


def commands(c: cli.Cli):
    """The commands that help lists."""
    lines = c.text("help").splitlines()
    return [m[1] for m in map(COMMAND.match, lines) if m and m[1] != "help"]


def check_help(c: cli.Cli) -> None:
    names = commands(c)
    known = {"init", "import", "workspaces", "page", "count", "changes", "get", "children",
             "resolve", "chain", "put", "patch", "delete", "verify", "stats", "updates", "batch",
             "deltas", "metrics", "activity"}
    tap.ok(known <= set(names), "help lists the commands")
    tap.equal(len(names), len(set(names)), "each once")
    for name in names:
        text = c.text(name, "--help")
        usage, rest = text.split("\n", 1)
        good = usage.startswith(f"usage: reqcast [--db FILE] [--json] {name}")
        tap.ok(good and not usage.endswith(" "), f"{name} --help begins with its usage")
        tap.ok(re.search(rf"^Example: .*reqcast (.* )?{name}\b", rest, re.M),
               f"{name} --help has an example")
        for form in (["help", name], [name, "-h"], ["--help", name], ["--json", name, "--help"]):
            tap.equal(c.text(*form), text, f"the same with {form}")
        for option in set(re.findall(r"--[a-z-]+", usage)) - {"--db", "--json"}:
            r = c.run(name, option + "=x", "--nosuchoption")
            tap.ok(f"no option {option}" not in r.errors, f"{name} knows its {option}")
    tap.equal(c.text("--help"), c.text("help"), "--help without a command")
    tap.ok(re.fullmatch(r"reqcast \d+\.\d+\.\d+\n", c.text("--version")), "--version")
    tap.ok("--db" in c.text("help") and "Exit status" in c.text("help"), "help: what is common")
    tap.equal([p.name for p in c.folder.iterdir() if p != c.view], [], "help opens no database")


def check_tables(c: cli.Cli) -> None:
    c.put(d.records())
    lines = c.text("page", "shop").splitlines()
    tap.ok(lines[0].split()[-4:] == ["METHOD", "NAME", "URL", "ID"], "page: titles")
    rows = c.rows("http", "workspace_id = ? AND is_delta = 0 AND is_snapshot = 0",
                  cli.unulid(d.SHOP), order="updated_at DESC, id")
    tap.equal([line.split()[-1] for line in lines[1:]], [r["id"] for r in rows], "page: rows")
    tap.ok(len({line.index("https://") for line in lines[1:]}) == 1, "columns are aligned")
    tap.ok("--cursor" in c.text("page", "shop", "--limit", "2").splitlines()[-1],
           "page says how to go on")
    tap.equal(c.text("count", "shop"), "20\n", "count")
    lines = c.text("workspaces").splitlines()
    tap.equal((lines[0].split()[:2], len(lines)), (["ID", "NAME"], 5), "workspaces")
    text = c.text("get", "http_header", d.HEADERS[2])
    tap.ok(all(s in text for s in ("X-Off", "\\x07", "\\x1b[31m", "\\u202e", "é 漢 😀", "false")),
           "get: control characters and direction marks are made visible")
    text = c.text("get", "http_body_raw", d.RAW)
    tap.ok("(256 bytes)" in text, "get: bytes that are no text are counted")
    text = c.text("resolve", d.BASES[0], "--delta", d.DELTA)
    tap.ok(text.startswith("POST https://staging.test/\nStaging\n"), "resolve")
    tap.ok(all(s in text for s in ("addition", "override", "disabled", "Headers (4)")),
           "resolve: where rows come from")
    tap.ok("3 requests" in c.text("chain", d.BASES[0]), "chain")
    text = c.text("changes", "shop", "--limit", "3")
    tap.ok(text.count(" upsert ") == 3 and "there is more; next: --since " in text, "changes")
    tap.ok("up to date" in c.text("changes", "shop"), "changes to the end")
    for command, title in ((["children", "http_header", d.BASES[0]], "OWNER"),
                           (["updates", "shop", "--since", "0"], "METHOD"),
                           (["batch", d.BASES[0]], "METHOD"), (["deltas", d.BASES[0]], "METHOD"),
                           (["activity", "shop"], "CHANGES"), (["metrics", "shop"], "total "),
                           (["stats"], "position "), (["verify"], "no difference")):
        tap.ok(title in c.text(*command), f"{command[0]} for people")
    for command in (["page", d.TWIN_1], ["updates", "shop", "--since", "9999999999"],
                    ["children", "http_assert", d.BASES[9]], ["batch", d.OTHER],
                    ["activity", d.TWIN_1]):
        tap.ok(c.text(*command).startswith("no"), f"{command[0]} of nothing says so")
    tap.ok("1 deleted" in c.text("delete", "http_header", d.HEADERS[5]), "delete for people")
    tap.ok("1 written" in c.text("put", stdin=json.dumps(
        {"entity": "workspaces", "name": "w"}).encode()), "put for people")


def on_terminal(c: cli.Cli, *args, columns=100, stdout=True, env=None):
    """Runs with standard error, and output when wanted, on a terminal. What it showed."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    given = dict(c.env, TERM="xterm", LC_ALL="C.UTF-8", **(env or {}))
    given.pop("COLUMNS", None)
    # A file, not a pipe: a pipe would be full before anybody reads it.
    kept = tempfile.TemporaryFile()
    p = subprocess.Popen([cli.REQCAST, *[str(a) for a in args]], cwd=c.folder, env=given,
                         stdin=subprocess.DEVNULL, stderr=follower,
                         stdout=follower if stdout else kept)
    os.close(follower)
    shown = b""
    try:
        while chunk := os.read(leader, 65536):
            shown += chunk
    except OSError:  # the other side was closed: this is how its end looks
        pass
    os.close(leader)
    status = p.wait(timeout=120)
    with kept:
        kept.seek(0)
        return status, shown.decode(errors="replace"), kept.read()


def large_har(c: cli.Cli):
    """Takes longer than the tenth of a second after which a bar is drawn anew."""
    entry = {"startedDateTime": "2025-10-09T08:53:20Z", "time": 1,
             "request": {"method": "GET", "url": "https://a.test/x",
                         "headers": [{"name": f"h{n}", "value": "v"} for n in range(10)]},
             "response": {"status": 200, "headers": [], "content": {}}}
    path = c.folder / "large.har"
    path.write_text(json.dumps({"log": {"entries": [entry] * 500}}))
    return path


def check_terminal(c: cli.Cli) -> None:
    har = large_har(c)
    status, shown, out = on_terminal(c, "--json", "import", "-w", "bar", har, stdout=False)
    tap.ok(status == 0 and json.loads(out)["requests"] == 500, "import on a terminal")
    tap.ok(re.search(r"large\.har \[#* *\] +\d+ %", shown), "a bar on a terminal")
    tap.ok(shown.endswith("\r\x1b[K"), "the bar is taken away at the end")
    status, shown, out = on_terminal(c, "--json", "export", "bar", "--har", stdout=False)
    tap.ok(status == 0 and len(json.loads(out)["log"]["entries"]) == 500, "export on a terminal")
    tap.ok(re.search(r"bar \[#* *\] +\d+ %", shown) and shown.endswith("\r\x1b[K"),
           "a bar for an export, taken away at the end")
    r = c.run("--json", "import", "-w", "pipe", har)
    tap.equal((r.status, r.err), (0, b""), "no bar, no control characters in a pipe")
    status, shown, _ = on_terminal(c, "import", "-w", "bar", har, c.folder / "nosuch.har")
    last = shown.replace("\r\n", "\n").rsplit("\x1b[K", 1)[-1]
    tap.ok(status == 3 and last.startswith("reqcast: ") and last.count("\n") == 1,
           "an error stands in a line of its own, not behind the bar")

    for columns in (100, 60, 30):
        _, shown, _ = on_terminal(c, "get", "http_header", d.HEADERS[2], columns=columns)
        lines = shown.replace("\r\n", "\n").splitlines()[1:]
        tap.ok(max(map(len, lines)) <= columns, f"a table fits into {columns} columns")
    _, shown, _ = on_terminal(c, "get", "http_header", d.HEADERS[2], "--field", "header_value")
    tap.ok("\x1b" not in shown and shown.count("\r\n") == 2 and "nl\r\n bell\\x07" in shown,
           "a field's lines stay lines, and its control characters are made visible")
    _, shown, out = on_terminal(c, "get", "http_header", d.HEADERS[2], "--field", "header_value",
                                stdout=False)
    tap.equal((shown, out.decode()), ("", d.ODD), "in a file it is as it is")
    _, shown, _ = on_terminal(c, "page", "shop")
    tap.ok(shown.startswith("\x1b[1mUPDATED") and "\x1b[0m\r\n" in shown, "titles are bold")
    _, shown, _ = on_terminal(c, "page", "shop", env={"NO_COLOR": "1"})
    tap.ok("\x1b" not in shown, "NO_COLOR is respected")
    _, shown, _ = on_terminal(c, "--json", "page", "shop")
    tap.ok("\x1b" not in shown and shown.startswith('{"entity":"http"'), "--json is never bold")
    r = c.run("get", "http_header", d.HEADERS[2], env={"LC_ALL": "C"})
    tap.ok(r.status == 0 and b"X-Off" in r.out, "without UTF-8 in the locale")


def main() -> None:
    with cli.database(init=False) as c:
        check_help(c)
        check_tables(c)
        check_terminal(c)
    tap.done()


sys.exit(main())

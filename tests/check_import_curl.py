# SPDX-License-Identifier: Apache-2.0
"""Imports of curl command lines: what a table says, what the shell makes of quotes, and what curl
itself sends."""

import base64
import random
import sys

import cli
import curl_reader
import tap

EXAMPLE = cli.ROOT / "docs/examples/shop.curl"
HOST = "https://shop.example.com"
ALL = "headers", "params", "form", "urlencoded"


def imported(c: cli.Cli, name: str, script, warnings=0):
    data = script if isinstance(script, bytes) else script.encode()
    r = c.run("--json", "import", "-w", name, "-", stdin=data)
    [summary] = r.strict() or [{}]
    good = r.status == 0 and summary.get("warnings") == warnings
    good = good and len(r.errors.splitlines()) == warnings
    if not tap.ok(good, f"{name[:100]}: {warnings} warnings"):
        r.explain()
    return curl_reader.stored(c, summary["workspace_id"]) if summary else [], r.errors


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


# Command, number of warnings, and what is stored: method, url, headers (names in lower case),
# parameters, kind of body, form, urlencoded, raw.
U = "https://a.test/"
JSON = ("content-type", "application/json")
FORM_TYPE = ("content-type", "application/x-www-form-urlencoded")
TABLE = (
    (f"curl {U}", 0, ("GET", U, [], [], 0, [], [], None)),
    ("curl a.test", 0, ("GET", "a.test", [], [], 0, [], [], None)),
    (f"$ curl -- {U}", 0, ("GET", U, [], [], 0, [], [], None)),
    (f"TOKEN=x sudo /usr/bin/curl --url {U}", 0, ("GET", U, [], [], 0, [], [], None)),
    (f"curl -X propfind {U}?a=1&b", 1, ("propfind", f"{U}?a=1", [], [("a", "1")], 0, [], [], None)),
    (f"curl '{U}?a=%20+&a=&c#f'", 0,
     ("GET", f"{U}?a=%20+&a=&c#f", [], [("a", "  "), ("a", ""), ("c", "")], 0, [], [], None)),
    (f"curl -H 'A: b' -HC:d -H 'E;' -H 'Gone:' -H 'a:  b:c ' {U}", 0,
     ("GET", U, [("a", "b"), ("a", "b:c"), ("c", "d"), ("e", "")], [], 0, [], [], None)),
    (f"curl -H @file -H nothing {U}", 1, ("GET", U, [], [], 0, [], [], None)),
    (f"curl -d a=1 -d 'b=2 3' --data-raw @c {U}", 0,
     ("POST", U, [], [], 2, [], [("a", "1"), ("b", "2 3"), ("@c", "")], None)),
    (f"curl -X PUT -d '' {U}", 0, ("PUT", U, [], [], 0, [], [], None)),
    (f"curl -d '{{\"a\":1}}' {U}", 0, ("POST", U, [FORM_TYPE], [], 3, [], [], b'{"a":1}')),
    (f"curl -H 'content-type: application/json' -d x=1 {U}", 0,
     ("POST", U, [JSON], [], 3, [], [], b"x=1")),
    (f"curl -H 'Content-Type: application/x-www-form-urlencoded; charset=x' -d '<a>=1' {U}", 0,
     ("POST", U, [("content-type", "application/x-www-form-urlencoded; charset=x")], [], 2, [],
      [("<a>", "1")], None)),
    (f"curl -d @secret {U}", 1, ("POST", U, [FORM_TYPE], [], 3, [], [], b"@secret")),
    (f"curl --data-urlencode 'a=ä &' --data-urlencode =b= --data-urlencode c {U}", 0,
     ("POST", U, [], [], 2, [], [("a", "ä &"), ("b=", ""), ("c", "")], None)),
    (f"curl --json '{{\"a\":' --json 1}} {U}", 0,
     ("POST", U, [("accept", "application/json"), JSON], [], 3, [], [], b'{"a":1}')),
    (f"curl -G -d a=1 --data-urlencode b=/ '{U}?x=y#f'", 0,
     ("GET", f"{U}?x=y&a=1&b=%2F#f", [], [("x", "y"), ("a", "1"), ("b", "/")], 0, [], [], None)),
    (f"curl --url-query a=ä --url-query +b=%20 {U}", 0,
     ("GET", f"{U}?a=%C3%A4&b=%20", [], [("a", "ä"), ("b", " ")], 0, [], [], None)),
    (f"curl -F a=b -F 'c=\"d;e\"' --form-string 'f=@g;h' {U}", 0,
     ("POST", U, [], [], 1, [("a", "b"), ("c", "d;e"), ("f", "@g;h")], [], None)),
    (f"curl -F 'f=@x.png;type=image/png;filename=y' -F 'g=<z' {U}", 2,
     ("POST", U, [], [], 1, [("f", "x.png"), ("g", "z")], [], None)),
    (f"curl -F 'a=b;type=x/y;headers=\"X: y\"' {U}", 1,
     ("POST", U, [], [], 1, [("a", "b")], [], None)),
    (f"curl -T file {U}", 1, ("PUT", U, [], [], 3, [], [], b"@file")),
    (f"curl -u me:päss {U}", 0, ("GET", U, [("authorization", basic("me:päss"))], [], 0, [], [],
                                None)),
    (f"curl -u me {U}", 1, ("GET", U, [("authorization", basic("me:"))], [], 0, [], [], None)),
    (f"curl -u me:pw --digest {U}", 1, ("GET", U, [], [], 0, [], [], None)),
    (f"curl -u \"me:$PW\" {U}", 2, ("GET", U, [("authorization", "Basic me:$PW")], [], 0, [], [],
                                   None)),
    (f"curl -u me:pw -H 'Authorization: x' {U}", 1,
     ("GET", U, [("authorization", "x")], [], 0, [], [], None)),
    (f"curl --oauth2-bearer t {U}", 0, ("GET", U, [("authorization", "Bearer t")], [], 0, [], [],
                                       None)),
    (f"curl -b a=b -b 'c=d; e=f' {U}", 0, ("GET", U, [("cookie", "a=b;c=d; e=f")], [], 0, [], [],
                                          None)),
    (f"curl -b jar.txt {U}", 1, ("GET", U, [], [], 0, [], [], None)),
    (f"curl -A x -e 'y;auto' -r 0-5 --compressed {U}", 0,
     ("GET", U, [("accept-encoding", "deflate, gzip, br, zstd"), ("range", "bytes=0-5"),
                 ("referer", "y"), ("user-agent", "x")], [], 0, [], [], None)),
    (f"curl -sSfvi#o out -w '%{{x}}' -D - -c jar {U}", 0, ("GET", U, [], [], 0, [], [], None)),
    (f"curl -kL --http2 -m 5 --retry 3 -x proxy:1 --cacert f {U}", 1,
     ("GET", U, [], [], 0, [], [], None)),
    (f"curl -I {U}", 0, ("HEAD", U, [], [], 0, [], [], None)),
    (f"curl --hea {U}", 1, ("GET", U, [], [], 0, [], [], None)),
    (f"curl --compressed --user-ag x {U}", 0,
     ("GET", U, [("accept-encoding", "deflate, gzip, br, zstd"), ("user-agent", "x")], [], 0, [],
      [], None)),
    (f"curl --no-progress-meter --no-keepalive --frobnicate 7 -~ {U}", 1,
     ("GET", U, [], [], 0, [], [], None)),
    (f"curl {U} -d", 1, ("GET", U, [], [], 0, [], [], None)),
    (f"curl {U} # -d x\n", 0, ("GET", U, [], [], 0, [], [], None)),
    (f"curl {U} > out 2>&1 < in", 1, ("GET", U, [], [], 0, [], [], None)),
    (f"curl {U} | jq . && echo done", 2, ("GET", U, [], [], 0, [], [], None)),
    (f"curl -d @- {U} <<EOF\na=1\nEOF\n", 0, ("POST", U, [], [], 2, [], [("a", "1")], None)),
    (f"curl --data-binary @- -H 'Content-Type: x' {U} <<-'EOF'\n\ta\n\t\tb\n\tEOF\n", 0,
     ("POST", U, [("content-type", "x")], [], 3, [], [], b"a\nb\n")),
    (f"curl --data-binary @/dev/stdin -H 'Content-Type: x' {U} <<< 'a b'", 0,
     ("POST", U, [("content-type", "x")], [], 3, [], [], b"a b\n")),
    (f"curl {U} \\\r\n  -X \\\n PUT\r\n", 0, ("PUT", U, [], [], 0, [], [], None)),
    (f"curl -H \"A: `rm -rf /` $(touch x \"y z\") ${{B:-c}}\" {U}", 1,
     ("GET", U, [("a", "`rm -rf /` $(touch x \"y z\") ${B:-c}")], [], 0, [], [], None)),
)


def check_table(c: cli.Cli) -> None:
    for i, (command, warnings, want) in enumerate(TABLE):
        stored, _ = imported(c, f"t{i}: {command}", command, warnings)
        tap.equal(stored, [want], command)


def check_files(c: cli.Cli) -> None:
    """No file that a command names is read, nothing is run."""
    secret = c.folder / "secret.txt"
    secret.write_text("TOP SECRET")
    script = c.folder / "many.sh"
    script.write_text(f"curl -d @{secret} -F f=@{secret} -b {secret} -H @{secret} -K {secret}"
                      f" -T {secret} {U}\ncurl \"{U}$(touch {c.folder}/ran)\" `touch"
                      f" {c.folder}/ran` ; touch {c.folder}/ran\n")
    c.one("import", script, quiet=False)
    tap.ok(not (c.folder / "ran").exists(), "nothing was run")
    rows = c.sql("SELECT raw_data FROM http_body_raw")
    tap.ok(all(b"TOP SECRET" not in (r[0] or b"") for r in rows), "no file was read")
    tap.equal(c.sql("SELECT count(*) FROM http_body_form WHERE value LIKE '%TOP SECRET%'"),
              [(0,)], "no file was read for a form")


def check_several(c: cli.Cli) -> None:
    script = (f"#!/bin/sh\nset -e\ncurl {U}1 {U}2 --next -X PUT {U}3; curl {U}4 &\n"
              f"if true; then curl {U}5; fi\n(curl {U}6)\ncurl\ncurl 'open {U}\n")
    stored, errors = imported(c, "several", script, 5)
    tap.equal([(r[0], r[1]) for r in stored],
              [("GET", f"{U}{i}") for i in (1, 2, 4, 5, 6)] + [("PUT", f"{U}3")],
              "several commands and requests")
    for needle in ("line 2: set is no curl command", "line 4: true is no curl", "fi is no curl",
                   "command 5 (line 6): no url", "command 6 (line 7): a quote does not end"):
        tap.ok(needle in errors, f"named: {needle}") or tap.note(errors)
    for windows in ('curl ^"https://a.test/^" ^\r\n  -H ^"A: b^"\r\n',
                    'curl "https://a.test/" ^\n  -H "A: b"\n'):
        r = c.run("import", "-w", "windows", "-", stdin=windows.encode())
        tap.ok(r.status == 3 and r.out == b"" and "Windows" in r.errors,
               "the Windows command prompt is named")
    same, _ = imported(c, "same", f"curl {U}\n" * 3)
    tap.equal(len(same), 3, "equal commands are told apart")
    before = c.head()
    c.fails(3, "no curl command", "import", "--format", "curl", "-", stdin=b"echo hello\n")
    c.fails(3, "nothing was written", "import", "-", stdin=b"wget https://a.test\n")
    c.fails(3, ["too many urls", "nothing was written"], "import", "-",
            stdin=b"curl" + b" u" * 2000 + b" -H 'a: b'" * 2000)
    tap.equal(c.head(), before, "refused: nothing was written")


def check_again(c: cli.Cli) -> None:
    got = c.one("import", "-w", "again", EXAMPLE, quiet=False)
    again = c.one("import", "-w", "again", EXAMPLE, quiet=False)
    tap.equal((again["records"], again["skipped"], again["edited"], again["seq"]),
              (0, got["records"], 0, got["seq"]), "a second import changes nothing")
    tap.equal((got["requests"], got["warnings"]), (11, 3), "requests of the example")
    bad = b"curl 'https://a.test/\xff' -H $'A: \\x00\\xfe'\n"
    stored, _ = imported(c, "bytes", bad, 3)
    tap.equal([(r[1], r[2]) for r in stored], [("https://a.test/\ufffd", [("a", "\ufffd\ufffd")])],
              "bytes that are no text")


def random_word(r: random.Random) -> str:
    plain = "abz019-_./:=@%+,{}[]~^é漢"
    pieces = []
    for _ in range(r.randint(1, 6)):
        kind = r.randrange(6)
        if kind == 0:
            pieces.append("".join(r.choices("abz019-_./:=@%+,^é漢", k=r.randint(1, 4))))
        elif kind == 1:
            pieces.append("'" + "".join(r.choices(plain + ' "\\$`\n#;&|<>()', k=r.randint(0, 6)))
                          + "'")
        elif kind == 2:
            pieces.append('"' + "".join(r.choices([*plain, " ", "'", "\\\\", '\\"', "\\$", "\\`",
                                                   "\\a", "\\\n", "\n", "#", ";"],
                                                  k=r.randint(0, 6))) + '"')
        elif kind == 3:
            pieces.append("$'" + "".join(r.choices(
                [*plain, " ", '"', "\\'", "\\\\", "\\n", "\\t", "\\r", "\\a", "\\b", "\\e", "\\E",
                 "\\f", "\\v", "\\\"", "\\?", "\\x41", "\\x7", "\\101", "\\7", "\\u00e9", "\\u4e2d",
                 "\\U0001F600", "\\cA", "\\z", "\n", "#", "`", "$"], k=r.randint(0, 6))) + "'")
        elif kind == 4:
            pieces.append("\\" + r.choice("abz \"'\\$`#;&|<>()~*"))
        else:
            pieces.append("\\\n")
    return "x" + "".join(pieces)


def check_words(c: cli.Cli) -> None:
    """Random words in all kinds of quotes, as bash reads them."""
    if not curl_reader.BASH:
        tap.skip("bash is not here: words against the shell")
        return
    r = random.Random(7)
    given = [random_word(r) for _ in range(tap.scaled(600))]
    script = c.folder / "words.sh"
    script.write_text("".join(f"curl -H 'Content-Type: t/p' {U}{i} --data-raw {word}\n"
                              for i, word in enumerate(given)))
    shell = curl_reader.words(script)
    tap.equal(len(shell), len(given), "the shell read every command")
    got = c.one("import", "-w", "words", "--format", "curl", script, quiet=False)
    tap.equal((got["requests"], got["warnings"]), (len(given), 0), "every word was read")
    stored = {r[1]: r[7] for r in curl_reader.stored(c, got["workspace_id"])}
    wrong = [(word, args[-1], stored.get(f"{U}{i}"))
             for i, (word, (args, _)) in enumerate(zip(given, shell))
             if stored.get(f"{U}{i}") != args[-1]]
    if not tap.ok(not wrong, f"{len(given)} words as bash reads them"):
        for word, want, have in wrong[:5]:
            tap.note(f"{word!r}: bash has {want!r}, stored is {have!r}")


def check_curl(c: cli.Cli) -> None:
    """The example and the table, sent by curl itself to a server of ours."""
    if not (curl_reader.BASH and curl_reader.CURL):
        tap.skip("curl or bash is not here: requests against curl itself")
        return
    (c.folder / "apple.png").write_bytes(b"an apple")
    (c.folder / "x.png").write_bytes(b"x")
    more = "".join(
        f"{command.replace(U, HOST + '/')}\n" for command in (
            f"curl -d a=1 -d 'b=2 3' --data-raw @c {U}", f"curl -d '{{\"a\":1}}' {U}",
            f"curl --data-urlencode 'a=ä &' --data-urlencode =b= --data-urlencode c {U}",
            f"curl -G -d a=1 --data-urlencode b=/ '{U}?x=y#f'", f"curl -b a=b -b 'c=d' {U}",
            f"curl -F a=b -F 'c=\"d;e\"' --form-string 'f=@g;h' {U}", f"curl -A x -e y {U}",
            f"curl -u me:pw -H 'Authorization: x' {U}", f"curl -X PUT -H 'A:' -H 'E;' {U}",
            f"curl -F 'f=@x.png;type=image/png' {U}", f"curl -X PATCH -I {U}",
            f"curl -H 'content-type: application/json' -d x=1 {U}"))
    script = c.folder / "sent.sh"
    # The server's own fields of forms are names of files, not paths.
    script.write_text(EXAMPLE.read_text() + more)
    commands = curl_reader.words(script)
    want = curl_reader.seen(curl_reader.sent(commands, HOST, c.folder))
    got = c.one("import", "-w", "sent", "--format", "curl", script, quiet=False)
    stored = curl_reader.stored(c, got["workspace_id"], HOST)
    tap.equal(len(stored), len(want), "as many requests as curl sends")
    for have, sent in zip(stored, want):
        tap.equal(have, sent, f"as curl sends it: {sent[0]} {sent[1]}")


def main() -> None:
    with cli.database() as c:
        check_table(c)
        check_files(c)
        check_several(c)
        check_again(c)
        check_words(c)
        check_curl(c)
        tap.equal(c.one("verify")["differences"], 0, "verify after the imports")
    tap.done()


sys.exit(main())

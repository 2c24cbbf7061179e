# SPDX-License-Identifier: Apache-2.0
"""A field of many bytes, through the command line and back."""

import base64
import hashlib

import cli
import cli_data as d
import tap


def check(c: cli.Cli, n: int) -> None:
    head = f'"entity":"http","id":"{d.BASES[0]}","workspace_id":"{d.SHOP}","name":"n","method":"GET"'
    line = b'{' + head.encode() + b',"url":"' + b"u" * n + b'"}\n'
    r = c.run("--json", "put", stdin=line)
    tap.equal((r.status, r.err), (0, b""), f"a text of {n} bytes")
    [[stored]] = c.sql("SELECT length(url) FROM http WHERE id = ?", cli.unulid(d.BASES[0]))
    tap.equal(stored, n, "is stored whole")
    want = {"length": n, "xxh3": None}
    for command in (["get", "http", d.BASES[0]], ["batch", d.BASES[0]]):
        got = c.one(*command)["url"]["$large"]
        tap.equal({**got, "xxh3": None}, want, f"{command[0]} shows its length")
    text = c.text("get", "http", d.BASES[0]) + c.text("resolve", d.BASES[0])
    tap.ok(len(text) < 5000 and f"({n} bytes" in text, "people are spared it")
    tap.equal(c.one("patch", "http", d.BASES[0], "url=short")["url"], "short", "and it can go")
    data = b"\0\xff" * (n // 2)
    line = (f'{{"entity":"http_body_raw","id":"{d.RAW}","http_id":"{d.BASES[0]}","raw_data":'
            f'{{"$base64":"{base64.b64encode(data).decode()}"}}}}\n').encode()
    tap.equal(c.one("put", stdin=line)["written"], 1, f"{n} bytes in base64")
    [[stored]] = c.sql("SELECT raw_data FROM http_body_raw WHERE id = ?", cli.unulid(d.RAW))
    tap.equal(hashlib.sha256(stored).digest(), hashlib.sha256(data).digest(), "are those bytes")
    c.put([d.record("http_body_raw", d.RAW, http_id=d.BASES[0], raw_data=d.encoded(d.BYTES))])

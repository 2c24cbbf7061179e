# SPDX-License-Identifier: Apache-2.0
"""reqcastd from outside: nngcat hears it, a subscriber in another language follows it, and bad peers
do it no harm."""

import json
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import cli
import stream
import tap
from sidecar import REQCASTD, sidecar


def put(c, n, workspace, at=0, size=10):
    rows = [{"entity": "http", "id": cli.ulid(cli.fake_id(1, at + i)), "name": "n" * size,
             "workspace_id": workspace, "url": "u", "method": "GET"} for i in range(n)]
    return c.put(rows)["seq"]


def workspace(c, name):
    return c.one("workspaces", "--create", name)["id"]


def keys_of(c):
    """What SQLite has: {(entity code, id)}."""
    return {(code, row[0]) for code, entity in enumerate(cli.ENTITIES, 1)
            for row in c.sql(f"SELECT id FROM {entity}")}


def check_vectors() -> None:
    """The examples of docs/protocol.md, read by the other implementation."""
    page = (cli.ROOT / "docs/protocol.md").read_text(encoding="utf-8")
    blocks = {name: bytes.fromhex(text) for name, text in
              re.findall(r"^```([a-z]+)\n((?:[0-9a-f ]+\n)+)```", page, re.M)}
    mark = stream.Frame(blocks["bookmark"])
    tap.equal((mark.bookmark, mark.prev, mark.seq, mark.records, mark.digest),
              (True, 7, 9, 1, "34dadc1acc1bfd5964e57030dd443fe0"), "the bookmark of the page")
    frame = stream.Frame(blocks["changes"])
    tap.equal([(seq, entity, len(record)) for seq, entity, _, record in frame.entries],
              [(7, 4, 112), (8, 3, 0)], "the changes of the page")
    what, body = stream.unseal(blocks["question"], b"rqcq")
    tap.equal((what, len(body)), (2, 88), "the question of the page")
    code, body = stream.unseal(blocks["answer"], b"rqcr")
    tap.equal((code, stream.Frame(body[40:]).page), (0, True), "the answer of the page")
    wrong = 0
    for i in range(len(blocks["changes"])):
        bad = bytearray(blocks["changes"])
        bad[i] ^= 1 << i % 8
        try:
            stream.Frame(bytes(bad))
            wrong += 1
        except stream.Bad:
            pass
    tap.equal(wrong, 0, "no changed bit passes")


def check_nngcat(c, s) -> None:
    if not shutil.which("nngcat"):
        tap.skip("nngcat is not here")
        return
    (path,) = s.sockets.glob("*/*.all")
    p = subprocess.Popen(["nngcat", "--sub", "--subscribe", "", "--dial", f"ipc://{path}", "--raw",
                          "--count", "3"], stdout=subprocess.PIPE)
    time.sleep(0.3)
    put(c, 3, workspace(c, "nngcat"), at=900)
    try:
        out, _ = p.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        p.kill()
        out, _ = p.communicate()
    tap.ok(out.count(b"rqcf\1\0\0\0") >= 3, "nngcat receives frames")


def check_follow(c, s) -> None:
    ws = workspace(c, "follow")
    other = workspace(c, "other")
    lost = []

    def lose(frame):
        # The second frame of changes never arrives.
        if not frame.bookmark and not lost and every.frames == 1:
            lost.append(frame)
            return True
        return False

    every = stream.Subscriber(s.url, lose=lose)
    one = stream.Subscriber(s.url, topic=cli.unulid(ws))
    for f in (every, one):
        f.attach()
    for i in range(6):
        seq = put(c, 4, ws, at=10 * i)
        put(c, 2, other, at=500 + 10 * i)
        if i < 3:
            every.follow(seq)
    c.one("delete", "http", cli.ulid(cli.fake_id(1, 0)))
    head = c.head()
    tap.ok(every.follow(head) and one.follow(head), "both follow to the head")
    tap.ok(len(lost) == 1 and every.gaps >= 1, "the frame that was lost was noticed as a gap")
    tap.equal(set(every.state), keys_of(c), "all: what SQLite has")
    mine = {key for key in keys_of(c) if key[1] in
            {row[0] for row in c.sql("SELECT id FROM http WHERE workspace_id = ?", cli.unulid(ws))}}
    tap.equal(set(one.state), mine | {(1, cli.unulid(ws))}, "one workspace: its records")
    seqs = {(r["entity"], r["id"]): r["seq"] for r in c.json("changes", "follow")[:-1]}
    names = list(cli.ENTITIES)
    tap.equal({(names[e - 1], cli.ulid(k)): v[0] for (e, k), v in one.state.items()},
              {k: v for k, v in seqs.items() if k in {(names[e - 1], cli.ulid(i))
                                                     for e, i in one.state}},
              "at the seqs that changes tells")

    # The last frame is lost: a bookmark tells.
    every.lose = lambda frame: not frame.bookmark
    before = every.gaps
    head = put(c, 1, ws, at=300)
    tap.ok(every.follow(head) and every.gaps > before, "a lost tail is noticed by a bookmark")
    every.lose = lambda frame: False

    # Kill and restart; changes while nobody listens.
    s.stop(signal.SIGKILL)
    put(c, 5, ws, at=310)
    s.start()
    head = put(c, 5, ws, at=320)
    tap.ok(every.follow(head) and one.follow(head), "both survive a killed sidecar")
    tap.equal(set(every.state), keys_of(c), "and have what SQLite has")
    tap.equal(every.resets + one.resets, 0, "without starting over")

    # A batch that is larger than a frame.
    head = put(c, 300, ws, at=1000, size=9000)
    tap.ok(every.follow(head), "a batch that fits in no frame arrives")
    tap.equal(set(every.state), keys_of(c), "completely")

    # Another program writes in the file.
    c.sql("UPDATE http SET name = 'foreign' WHERE id = ?", cli.fake_id(1, 310))
    until = time.monotonic() + 10
    record = b""
    while b"foreign" not in record and time.monotonic() < until:
        every.step()
        record = every.state[3, cli.fake_id(1, 310)][1]
    tap.ok(b"foreign" in record, "a change by another program is streamed")
    every.close()
    one.close()


def check_tcp(c, s, log) -> None:
    port = re.findall(r"url=tcp://127.0.0.1:(\d+)", log.read_text())[-1]
    f = stream.Subscriber(f"tcp://127.0.0.1:{port}", topic=cli.unulid(workspace(c, "tcp")))
    f.attach()
    head = c.head()
    tap.ok(f.follow(head), "over tcp")
    f.close()


def check_epoch(c, s) -> None:
    f = stream.Subscriber(s.url)
    f.attach()
    f.epoch = (b"x" * 16, 1)
    head = put(c, 1, workspace(c, "epoch"), at=600)
    tap.ok(f.follow(head) and f.resets == 1, "another epoch: it starts over")
    f.last, f.gaps = 1 << 40, 0
    f.catch_up()
    tap.ok(f.resets == 2 and f.last == head, "a position of the future: it starts over")
    tap.equal(set(f.state), keys_of(c), "and has what SQLite has")
    f.close()


def bucket(key):
    return stream.xxh3_64(key) & 255


def walk_buckets(a, topic, epoch, wanted):
    """Keys that a walk over some buckets gives."""
    bits = bytearray(32)
    for b in wanted:
        bits[b // 8] |= 1 << b % 8
    keys, cursor, pages = set(), bytes(40), 0
    while True:
        code, answer = a.ask(2, topic + epoch[0] + struct.pack("<II", epoch[1], 2 if any(topic) else 3)
                             + cursor + struct.pack("<II", 100, 4096) + bytes(bits))
        if code:
            raise stream.Bad(f"changes: {code}")
        pages += 1
        for _, entity, key, record in stream.Frame(answer[40:]).entries:
            (keys.add if record else keys.discard)((entity, key))
        cursor = answer[:17] + b"\0" + answer[18:40]
        if answer[17]:
            return keys, pages


def check_buckets(c, s) -> None:
    """The digests of buckets, and walks over some of them."""
    ws = workspace(c, "buckets")
    put(c, 300, ws, at=20000)
    a = stream.Asker(s.url)
    for name, topic in (("all", None), ("one", cli.unulid(ws))):
        f = stream.Subscriber(s.url, topic=topic)
        f.attach()
        f.bookmark = None
        while f.bookmark is None:
            f.step()
        question = (topic or bytes(16)) + f.epoch[0] + struct.pack("<II", f.epoch[1],
                                                                   0 if topic else 1)
        code, body = a.ask(6, question)
        digests = [int.from_bytes(body[8 + 16 * i:24 + 16 * i], "little") for i in range(256)]
        tap.equal((code, len(body), struct.unpack_from("<Q", body)[0]),
                  (0, 8 + 256 * 16, f.bookmark.seq), f"{name}: digests at the bookmark's seq")
        tap.equal(f"{sum(digests) % 2**128:032x}", f.bookmark.digest, f"{name}: their sum is its own")
        tap.ok({i for i, d in enumerate(digests) if d} == {bucket(key) for _, key in f.state},
               f"{name}: buckets with records have digests, the others none")
        for wanted in ({bucket(key) for _, key in list(f.state)[:3]}, set(range(128)), set()):
            keys, pages = walk_buckets(a, topic or bytes(16), f.epoch, wanted)
            tap.ok(keys == {k for k in f.state if bucket(k[1]) in wanted},
                   f"{name}: {len(wanted)} buckets, {pages} pages: their records and no others")
        f.close()
    code, _ = a.ask(6, bytes(16) + b"x" * 16 + struct.pack("<II", 1, 1))
    tap.equal(code, 12, "the digests of another history")
    for what, body in ((6, bytes(8)), (6, b"x" * 16 + bytes(20) + struct.pack("<I", 1)),
                       (2, bytes(36) + struct.pack("<I", 2) + bytes(40) + struct.pack("<II", 1, 1)),
                       (2, bytes(80) + struct.pack("<II", 1, 1) + bytes(32))):
        tap.equal(a.ask(what, body)[0], 4, f"told: no question {what} of {len(body)} bytes")
    a.close()


def check_questions(c, s) -> None:
    """Wrong questions get an answer that says so, and the connection lives on."""
    a = stream.Asker(s.url)
    good = stream.seal(b"rqcq", 1, struct.pack("<16sII", bytes(16), 1, 0))
    rows = [
        ("an unknown operation", stream.seal(b"rqcq", 99, bytes(8)), 4),
        ("nothing", b"", 4),
        ("another magic", b"XXXX" + good[4:], 4),
        ("another version", good[:4] + struct.pack("<I", 2) + good[8:], 20),
        ("a wrong check", good[:8] + bytes(8) + good[16:], 4),
        ("half a question", good[:40], 4),
        ("bytes behind it", good + bytes(8), 4),
        ("hello with unknown flags",
         stream.seal(b"rqcq", 1, struct.pack("<16sII", bytes(16), 64, 0)), 4),
        ("changes without a limit", stream.seal(b"rqcq", 2, bytes(88)), 4),
        ("a transaction of nothing that says one",
         stream.seal(b"rqcq", 3, struct.pack("<II", 1, 0) + bytes(8)), 4),
        ("a write of no entity",
         stream.seal(b"rqcq", 3, struct.pack("<IIBBBBIQ16s", 1, 0, 1, 99, 0, 0, 32, 0, bytes(16))),
         4),
        ("a large value of no field",
         stream.seal(b"rqcq", 4, bytes(56)), 4),
    ]
    for name, question, want in rows:
        code, _ = stream.unseal(a.ask_raw(question), b"rqcr")
        tap.equal(code, want, f"told: {name}")
    tap.ok(a.hello()[2] > 0, "and the connection goes on")
    # A failed write says which one it was.
    tap.equal(a.stats()["view_lagging"], False, "statistics")
    put_write = struct.pack("<BBBBIQ16s", 1, 1, 1, 0, 48, 0, cli.fake_id(7, 1)) + \
        struct.pack("<BBHI8s", 1, 5, 0, 3, b"abc")
    delete = struct.pack("<BBBBIQ16s", 4, 3, 0, 0, 32, 0, b"y" * 16)
    code, body = a.ask(3, struct.pack("<II", 2, 0) + put_write + delete)
    tap.equal((code, struct.unpack_from("<Q", body)[0]), (1, 1), "the write that failed is named")
    code, body = a.ask(3, struct.pack("<II", 1, 0) + put_write)
    tap.equal((code, struct.unpack_from("<Q", body, 32)[0]), (0, 1), "a write by hand is stored")
    keyed = struct.pack("<II8s", 1, 3, b"key") + delete.replace(b"y" * 16, cli.fake_id(7, 1)) \
        .replace(b"\x04\x03", b"\x04\x01", 1)
    first, again = a.ask(3, keyed), a.ask(3, keyed)
    tap.equal((first[0], again[0], first[1][20], again[1][20]), (0, 0, 1, 3),
              "with a key it may be asked for twice, and says so")
    tap.equal(first[1][24:], again[1][24:], "the answer is the same")
    tap.equal(a.ask(3, struct.pack("<II8s", 0, 3, b"key"))[0], 7, "the key for another request")
    tap.equal(a.ask(3, struct.pack("<II8s", 1, 3, b"keys") + delete)[0], 4, "bytes behind a key")
    tap.equal(a.ask(3, struct.pack("<II", 1, 256) + bytes(300))[0], 4, "a key that is too long")
    rng = random.Random(7)
    answered = 0
    for _ in range(tap.scaled(200)):
        question = bytearray(stream.seal(b"rqcq", rng.randint(1, 6),
                                         rng.randbytes(8 * rng.randint(0, 20))))
        stream.unseal(a.ask_raw(bytes(question)), b"rqcr")
        answered += 1
    tap.equal(answered, tap.scaled(200), "random questions are answered")
    a.close()


def check_peers(c, s) -> None:
    """Garbage, half messages, floods: the sidecar goes on."""
    ask = s.url[6:]
    (pub,) = s.sockets.glob("*/*.all")
    rng = random.Random(3)
    hello = {ask: b"\0SP\0\0\x30\0\0", str(pub): b"\0SP\0\0\x21\0\0"}
    n = 0
    for i in range(tap.scaled(10000)):
        path = (ask, str(pub))[i % 2]
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(0.05)
            try:
                peer.connect(path)
                kind = i // 2 % 6
                if kind == 1:
                    peer.send(rng.randbytes(rng.randint(1, 64)))
                elif kind == 2:
                    peer.send(b"\0SP\0")
                elif kind == 3:
                    peer.send(hello[path])
                elif kind == 4:
                    peer.send(hello[path] + b"\1" + struct.pack(">Q", 100) + b"half")
                elif kind == 5:
                    peer.send(hello[path] + b"\1" + struct.pack(">Q", 1 << 62))
                n += 1
            except OSError:
                time.sleep(0.002)
    tap.ok(n > tap.scaled(10000) // 4, f"{n} connections were opened and dropped")
    f = stream.Subscriber(s.url)
    f.attach()
    head = c.head()
    tap.ok(f.follow(head), "a subscriber attaches after that")
    f.close()


def check_worn() -> None:
    """With few descriptors the same flood makes it begin anew, in place: subscribers survive."""
    with sidecar() as (c, s):
        pid = s.process.pid
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (400, 400))
        ws = workspace(c, "worn")
        f = stream.Subscriber(s.url)
        f.attach()
        log = c.folder / "log"
        (pub,) = s.sockets.glob("*/*.all")
        until = time.monotonic() + 30
        while b"event=restarting" not in log.read_bytes() and time.monotonic() < until:
            for path in (s.url[6:], str(pub)) * 10:
                with socket.socket(socket.AF_UNIX) as peer:
                    peer.settimeout(0.05)
                    try:
                        peer.connect(path)
                        peer.send(b"\0SP\0")
                    except OSError:
                        time.sleep(0.002)
        tap.ok(b"event=restarting" in log.read_bytes(), "it notices that descriptors are lost")
        seq = 0
        for _ in range(100):
            r = c.run("--json", "put", stdin=json.dumps(
                {"entity": "http", "id": cli.ulid(cli.fake_id(1, 1)), "name": "n",
                 "workspace_id": ws, "url": "u", "method": "GET"}).encode())
            if r.status == 0:
                seq = r.strict()[0]["seq"]
                break
            time.sleep(0.1)
        tap.ok(seq > 0 and f.follow(seq), "and a subscriber follows afterwards")
        tap.ok(s.process.poll() is None, "in the same process")
        f.close()


def check_deaf(c, s) -> None:
    """A subscriber that never reads costs bounded memory, and is disconnected in the end."""
    a = stream.Asker(s.url)
    *_, where = a.hello()
    deaf = stream.Connection(where, 0x21)
    ws = workspace(c, "deaf")
    put(c, 100, ws, at=5000, size=8000)
    before = stream.rss_kib(s.process.pid)
    rounds = tap.scaled(110)
    for i in range(rounds):
        put(c, 100, ws, at=5000, size=8000 + i)
    grown = stream.rss_kib(s.process.pid) - before
    tap.ok(grown < 160 * 1024, f"{grown} KiB more after {rounds * 800} KB that nobody read")
    if rounds >= 110:
        tap.ok(a.stats()["disconnected"] >= 1, "it was disconnected")
    deaf.close()
    a.close()


def check_cli(c, s) -> None:
    ws = workspace(c, "cli")
    p = c.start("--json", "watch", "cli", "--since", "0", "--count", "5", stdout=subprocess.PIPE)
    seq = put(c, 4, ws, at=700)
    try:
        out, _ = p.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        p.kill()
        out, _ = p.communicate()
    lines = [json.loads(line) for line in out.splitlines()]
    tap.equal([line["op"] for line in lines], ["upsert"] * 5, "watch shows changes and ends")
    tap.ok(lines and lines[-1]["seq"] <= seq, "up to the newest")
    one = c.one("patch", "http", cli.ulid(cli.fake_id(1, 700)), "name=patched")
    tap.equal(one["name"], "patched", "patch goes through the sidecar, and is read at once")
    c.fails(1, "changed after", "patch", "http", cli.ulid(cli.fake_id(1, 700)), "name=x",
            "--if-seq", one["seq"] - 1, shown=True)
    c.fails(1, "nothing was deleted", "delete", "http", cli.ulid(b"z" * 16))
    c.fails(3, "line 2", "put", stdin=b'{"entity":"workspaces","name":"a"}\n{"entity":"http"}\n')
    c.one("import", "-w", "har", cli.ROOT / "docs/examples/shop.har")
    tap.equal(c.one("verify")["differences"], 0, "view and database agree")


def check_start(c, s) -> None:
    """Readiness, its ways, and how it fails."""
    def run(*words, env=None):
        return subprocess.run([REQCASTD, *map(str, words)], capture_output=True, text=True,
                              timeout=60, env=dict(c.env, **(env or {})))

    tap.equal(run("--help").returncode, 0, "--help")
    tap.ok("--listen URL" in run("--help").stdout, "which names the options")
    tap.equal(run("--nothing").returncode, 2, "an unknown option")
    tap.equal(run("--threads", "0").returncode, 2, "a number out of range")
    missing = run("--db", c.folder / "no" / "such.db")
    tap.equal(missing.returncode, 1, "a database that is not there")
    wide = run("--db", c.folder / "w.db", "--create", "--tcp", "0.0.0.0:0",
               "--socket-dir", s.sockets)
    tap.ok(wide.returncode == 3 and "allow-remote" in wide.stderr, "tcp is loopback unless told")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(c.folder / "notify"))
        notify.settimeout(20)
        config = c.folder / "config"
        config.write_text(f"# a second one\ndb = {c.folder / 'b.db'}\ncreate = true\n"
                          f"socket_dir = {s.sockets}\npid-file = {c.folder / 'pid'}\n"
                          f"log_file = {c.folder / 'b.log'}\n")
        env = {"NOTIFY_SOCKET": str(c.folder / "notify"), "REQCAST_CONFIG": str(config)}
        env["REQCAST_DB"] = ""
        r = run("--background", env=env)
        tap.equal(r.returncode, 0, "--background ends with 0 when it is ready")
        tap.ok(notify.recv(4096).startswith(b"READY=1\n"), "the service manager is told")
        pid = int((c.folder / "pid").read_text())
        tap.ok(pathlib.Path(f"/proc/{pid}").exists(), "and it runs")
        second = run("--db", c.folder / "b.db", "--socket-dir", s.sockets)
        tap.equal(second.returncode, 4, "a second one for the same database")
        os.kill(pid, signal.SIGTERM)
        tap.equal(notify.recv(4096), b"STOPPING=1", "its end is told")
        until = time.monotonic() + 20
        while (c.folder / "pid").exists() and time.monotonic() < until:
            time.sleep(0.05)
        tap.ok(not (c.folder / "pid").exists(), "and it ends")
        tap.ok(not (c.folder / "b.db.rqc-sidecar").exists(), "and takes its note away")
    lines = (c.folder / "b.log").read_text().splitlines()
    tap.ok(lines and all(re.match(r"\S+Z level=\w+ event=\w+ \S", line) for line in lines),
           "log lines have their form")


def check_writers_free(c, s) -> None:
    """Acknowledged is stored, whatever happens to the sidecar."""
    ws = workspace(c, "kept")
    done = []

    def write():
        for i in range(tap.scaled(60)):
            row = json.dumps({"entity": "http", "id": cli.ulid(cli.fake_id(9, i)), "name": "n",
                              "workspace_id": ws, "url": "u", "method": "GET"})
            if c.run("put", stdin=row.encode()).status == 0:
                done.append(i)

    t = threading.Thread(target=write)
    t.start()
    for how in (signal.SIGKILL, signal.SIGTERM):
        time.sleep(0.4)
        s.stop(how)
        s.start()
    t.join()
    rows = {row[0] for row in c.sql("SELECT id FROM http")}
    tap.ok(all(cli.fake_id(9, i) in rows for i in done),
           f"{len(done)} acknowledged writes are there after a kill and a restart")


def main() -> None:
    check_vectors()
    with sidecar("--tcp", "127.0.0.1:0") as (c, s):
        check_nngcat(c, s)
        check_follow(c, s)
        check_tcp(c, s, c.folder / "log")
        check_epoch(c, s)
        check_buckets(c, s)
        check_questions(c, s)
        check_cli(c, s)
        check_peers(c, s)
        check_deaf(c, s)
        check_writers_free(c, s)
        check_start(c, s)
        tap.equal(s.stop(), 0, "the sidecar ends cleanly")
    check_worn()
    tap.done()


sys.exit(main())

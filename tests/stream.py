# SPDX-License-Identifier: Apache-2.0
"""A subscriber written from docs/protocol.md alone, with nothing but Python's standard library: the
second implementation that the page promises is possible."""

import json
import socket
import struct
import time

M64 = (1 << 64) - 1
P32 = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)
P64 = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63,
       0x27D4EB2F165667C5)
# The constant of XXH3's definition.
SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e")


def _fold(a, b):
    p = a * b
    return (p & M64) ^ (p >> 64)


def _avalanche(h):
    h ^= h >> 37
    h = h * 0x165667919E3779F9 & M64
    return h ^ h >> 32


def _rotate(h, n):
    return (h << n | h >> 64 - n) & M64


def _mix(data, at, secret):
    a, b = struct.unpack_from("<QQ", data, at)
    c, d = struct.unpack_from("<QQ", SECRET, secret)
    return _fold(a ^ c, b ^ d)


def _stripe(acc, data, at, secret):
    values = struct.unpack_from("<8Q", data, at)
    keys = struct.unpack_from("<8Q", SECRET, secret)
    for i in range(8):
        key = values[i] ^ keys[i]
        acc[i ^ 1] = acc[i ^ 1] + values[i] & M64
        acc[i] = acc[i] + (key & 0xFFFFFFFF) * (key >> 32) & M64


def xxh3_64(data):
    """Of at least 8 bytes: nothing shorter is hashed in this protocol."""
    n = len(data)
    if 8 < n <= 16:
        a, b, c, d = struct.unpack_from("<4Q", SECRET, 24)
        low = struct.unpack_from("<Q", data)[0] ^ a ^ b
        high = struct.unpack_from("<Q", data, n - 8)[0] ^ c ^ d
        swapped = int.from_bytes(low.to_bytes(8, "little"), "big")
        return _avalanche((n + swapped + high + _fold(low, high)) & M64)
    if n == 8:
        a, b = struct.unpack("<II", data)
        c, d = struct.unpack_from("<QQ", SECRET, 8)
        h = (b + (a << 32)) ^ c ^ d
        h ^= _rotate(h, 49) ^ _rotate(h, 24)
        h = h * 0x9FB21C651E98DF25 & M64
        h ^= (h >> 35) + n
        h = h * 0x9FB21C651E98DF25 & M64
        return h ^ h >> 28
    h = n * P64[0] & M64
    if n <= 128:
        for i in range((n - 1) // 32, -1, -1):
            h += _mix(data, 16 * i, 32 * i) + _mix(data, n - 16 * (i + 1), 32 * i + 16)
        return _avalanche(h & M64)
    if n <= 240:
        for i in range(8):
            h += _mix(data, 16 * i, 16 * i)
        h = _avalanche(h & M64)
        for i in range(8, n // 16):
            h += _mix(data, 16 * i, 16 * (i - 8) + 3)
        return _avalanche(h + _mix(data, n - 16, 119) & M64)
    acc = [P32[2], P64[0], P64[1], P64[2], P64[3], P32[1], P64[4], P32[0]]
    for i in range((n - 1) // 64):
        _stripe(acc, data, 64 * i, 8 * (i % 16))
        if i % 16 == 15:
            keys = struct.unpack_from("<8Q", SECRET, 128)
            acc = [((a ^ a >> 47) ^ k) * P32[0] & M64 for a, k in zip(acc, keys)]
    _stripe(acc, data, n - 64, 121)
    for i in range(4):
        a, b = struct.unpack_from("<QQ", SECRET, 11 + 16 * i)
        h += _fold(acc[2 * i] ^ a, acc[2 * i + 1] ^ b)
    return _avalanche(h & M64)


class Bad(Exception):
    """What came breaks a rule of the protocol."""


class Connection:
    """The SP protocols, from the client's side."""

    def __init__(self, url, protocol, timeout=5.0):
        self.ipc = url.startswith("ipc://")
        if self.ipc:
            self.s = socket.socket(socket.AF_UNIX)
            self.s.settimeout(timeout)
            self.s.connect(url[6:])
        else:
            host, port = url[6:].rsplit(":", 1)
            self.s = socket.create_connection((host.strip("[]"), int(port)), timeout)
        self.s.sendall(struct.pack(">4sHH", b"\0SP\0", protocol, 0))
        if self.exactly(8) != struct.pack(">4sHH", b"\0SP\0", protocol ^ 1, 0):
            raise Bad("another protocol")

    def exactly(self, n):
        got = bytearray()
        while len(got) < n:
            piece = self.s.recv(min(n - len(got), 1 << 20))
            if not piece:
                raise ConnectionError("closed")
            got += piece
        return bytes(got)

    def send(self, data):
        self.s.sendall((b"\1" if self.ipc else b"") + struct.pack(">Q", len(data)) + data)

    def receive(self):
        if self.ipc and self.exactly(1) != b"\1":
            raise Bad("no message")
        (n,) = struct.unpack(">Q", self.exactly(8))
        if n > 1 << 26:
            raise Bad("a message that is too long")
        return self.exactly(n)

    def close(self):
        self.s.close()


def seal(magic, what, body):
    rest = struct.pack("<II", 24 + len(body), what) + body
    return magic + struct.pack("<IQ", 1, xxh3_64(rest)) + rest


def unseal(data, magic):
    if len(data) < 24 or data[:4] != magic or len(data) % 8:
        raise Bad("no message")
    version, check, size, what = struct.unpack_from("<IQII", data, 4)
    if version != 1 or size != len(data) or check != xxh3_64(data[16:]):
        raise Bad("a damaged message")
    return what, data[24:]


class Frame:
    def __init__(self, data):
        if len(data) < 112 or data[:4] != b"rqcf" or len(data) % 8:
            raise Bad("no frame")
        (version, check, size, self.flags, self.store, self.term, count, self.topic, self.prev,
         self.seq, self.horizon, self.records) = struct.unpack_from("<IQII16sII16sQQQQ", data, 4)
        if version != 1 or size != len(data) or check != xxh3_64(data[16:]):
            raise Bad("a damaged frame")
        low, high = struct.unpack_from("<QQ", data, 96)
        self.digest = f"{high:016x}{low:016x}"
        self.bookmark, self.gap, self.page = (bool(self.flags & f) for f in (2, 4, 16))
        self.entries, at = [], 112
        for _ in range(count):
            entity, op, zero, n, seq, key = struct.unpack_from("<BBHIQ16s", data, at)
            record = data[at + 32:at + 32 + n]
            if zero or op not in (1, 2) or (n == 0) != (op == 2) or len(record) != n:
                raise Bad("no entry")
            if n and (struct.unpack_from("<I4xQ16s", record) != (n, seq, key)
                      or record[43] != entity):
                raise Bad("a record that is not its entry's")
            self.entries.append((seq, entity, key, record))
            at += 32 + n
        if at != len(data):
            raise Bad("bytes behind the entries")


class Asker:
    def __init__(self, url):
        self.c = Connection(url, 0x30)
        self.id = 0x80000000

    def ask_raw(self, data):
        self.id = (self.id + 1) | 0x80000000
        self.c.send(struct.pack(">I", self.id) + data)
        while True:
            answer = self.c.receive()
            if answer[:4] == struct.pack(">I", self.id):
                return answer[4:]

    def ask(self, operation, body):
        """(code of the failure or 0, body)."""
        return unseal(self.ask_raw(seal(b"rqcq", operation, body)), b"rqcr")

    def hello(self, topic=None, tcp=False, nudge=False):
        flags = (1 if topic is None else 0) | (2 if tcp else 0) | (4 if nudge else 8)
        code, body = self.ask(1, struct.pack("<16sII", topic or bytes(16), flags, 0))
        if code:
            raise Bad(f"hello: {code}")
        store, term, most, seq, horizon, n = struct.unpack_from("<16sIIQQI", body)
        return store, term, seq, body[48:48 + n].decode()

    def stats(self):
        _, body = self.ask(5, b"")
        return json.loads(body[16:16 + struct.unpack_from("<Q", body, 8)[0]])

    def close(self):
        self.c.close()


class Subscriber:
    """State: {(entity, id): (seq, record)}. `lose` is called with each frame, and says whether it is
    lost on the way: for tests of what happens then."""

    def __init__(self, url, topic=None, lose=None):
        self.url, self.topic, self.lose = url, topic, lose or (lambda frame: False)
        self.state, self.last, self.epoch = {}, 0, (bytes(16), 0)
        self.gaps = self.resets = self.attached = self.frames = 0
        self.bookmark = None
        self.asker = self.stream = None

    def attach(self, patience=20.0):
        until = time.monotonic() + patience
        while True:
            try:
                return self.attach_once()
            except (OSError, Bad):
                self.close()
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)

    def attach_once(self):
        self.asker = Asker(self.url)
        tcp = not self.url.startswith("ipc://")
        *_, where = self.asker.hello(self.topic, tcp)
        if tcp:
            where = self.url.rsplit(":", 1)[0] + ":" + where.rsplit(":", 1)[1]
        self.stream = Connection(where, 0x21)
        self.stream.s.settimeout(0.05)
        for _ in range(40):
            self.asker.hello(self.topic, tcp, nudge=True)
            try:
                self.stream.receive()
                break
            except socket.timeout:
                pass
        else:
            raise ConnectionError("nothing comes")
        self.stream.s.settimeout(3.5)
        self.catch_up()
        self.attached += 1

    def catch_up(self):
        state, cursor = dict(self.state), struct.pack("<QQ8x16x", self.last, 0)
        while True:
            body = (self.topic or bytes(16)) + self.epoch[0] + struct.pack(
                "<II", self.epoch[1], 0 if self.topic else 1) + cursor + struct.pack(
                "<II", 1000, 1 << 18)
            code, answer = self.asker.ask(2, body)
            if code in (11, 12, 13):
                self.resets += 1
                self.last, self.epoch = 0, (bytes(16), 0)
                state, cursor = {}, bytes(40)
                continue
            if code:
                raise Bad(f"changes: {code}")
            frame = Frame(answer[40:])
            self.epoch = (frame.store, frame.term)
            self.apply(state, frame.entries)
            done = answer[17]
            cursor = answer[:17] + b"\0" + answer[18:40]
            if done:
                self.state, self.last = state, struct.unpack_from("<Q", answer)[0]
                return

    @staticmethod
    def apply(state, entries):
        for seq, entity, key, record in entries:
            if record:
                state[entity, key] = (seq, record)
            else:
                state.pop((entity, key), None)

    def step(self):
        """One frame."""
        frame = Frame(self.stream.receive())
        if self.lose(frame):
            return frame
        if (frame.store, frame.term) != self.epoch or (frame.bookmark and frame.seq < self.last):
            self.catch_up()
        elif frame.seq <= self.last and not frame.bookmark:
            pass
        elif frame.prev > self.last or frame.gap:
            self.gaps += 1
            self.catch_up()
        elif frame.bookmark:
            self.last, self.bookmark = frame.seq, frame
        else:
            self.frames += 1
            self.apply(self.state, [e for e in frame.entries if e[0] > self.last])
            self.last = frame.seq
        return frame

    def follow(self, seq, patience=20.0):
        """Until it has everything up to seq; attaches again whenever that is needed."""
        until = time.monotonic() + patience
        while self.last < seq and time.monotonic() < until:
            try:
                self.step()
            except (OSError, Bad):
                self.close()
                self.attach()
        return self.last >= seq

    def close(self):
        for c in (self.asker, self.stream):
            if c:
                c.close()
        self.asker = self.stream = None


def rss_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        for line in f:
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0

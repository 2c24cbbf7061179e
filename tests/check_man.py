# SPDX-License-Identifier: Apache-2.0
"""docs/reqcast.1 has every command that the program has, with its options, and formats without a
warning."""

import os
import re
import shutil
import subprocess
import sys

import cli
import tap

PAGE = cli.ROOT / "docs/reqcast.1"
SECTIONS = ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "COMMANDS", "EXIT STATUS", "ENVIRONMENT",
            "FILES", "EXAMPLES", "SEE ALSO")


def sections(text: str, macro: str):
    """{title: what follows}, without the backslashes of dashes."""
    parts = re.split(rf"^\.{macro} (.+)$", text.replace("\\-", "-"), flags=re.M)
    return {t.strip('"'): body for t, body in zip(parts[1::2], parts[2::2])}


def words(text: str):
    return set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", text))


def check_content(c: cli.Cli, text: str) -> None:
    top = sections(text, "SH")
    for name in SECTIONS:
        tap.ok(len(top.get(name, "")) > 20, f"there is a section {name}")
    help_text = c.text("help")
    commands = [m[1] for m in re.finditer(r"^  ([a-z]+) +\S", help_text, re.M) if m[1] != "help"]
    described = sections(top["COMMANDS"], "SS")
    tap.ok(len(commands) >= 20, "help lists the commands")
    tap.equal(sorted(set(described) - set(commands)), [], "the page has no command that is not")
    for name in commands:
        body = described.get(name)
        if not tap.ok(body, f"{name} has its section"):
            continue
        usage = c.text(name, "--help").split("\n", 1)[0]
        mine = words(usage) - {"--db", "--json"}
        tap.ok(f".B reqcast {name}\n" in body, f"{name}: synopsis")
        tap.equal(sorted(mine - words(body)), [], f"{name}: all options")
        for argument in set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)?\b", usage)) - {"FILE"}:
            tap.ok(argument in body, f"{name}: {argument}")
        tap.ok("Answer" in body, f"{name}: its answer")
    common = words(help_text.split("\n\n")[-2])
    tap.equal(sorted(common - words(top["OPTIONS"])), [], "the options of all commands")
    for status in range(6):
        tap.ok(f".B {status}\n" in top["EXIT STATUS"], f"exit status {status}")
    for entity in cli.ENTITIES:
        tap.ok(re.search(rf"\b{entity}\b", top["ARGUMENTS"]), f"entity {entity}")
    used = set()
    for path in (cli.ROOT / "api/cli").glob("*.c"):
        used |= set(re.findall(r'getenv\("(\w+)"\)', path.read_text()))
    tap.equal(sorted(v for v in used - {"TERM"} if f".B {v}\n" not in top["ENVIRONMENT"]), [],
              "the environment's variables")


def check_answers(c: cli.Cli, text: str) -> None:
    """Keys that the page names are the keys that answers have."""
    described = sections(sections(text, "SH")["COMMANDS"], "SS")
    c.one("import", "-w", "shop", cli.ROOT / "docs/examples/shop.har")
    for command in (["init"], ["import", "-w", "shop", cli.ROOT / "docs/examples/shop.har"],
                    ["page", "shop"], ["count", "shop"], ["changes", "shop"], ["metrics", "shop"],
                    ["activity", "shop"], ["put"], ["prune", "shop", "--keep", "1"],
                    ["verify"], ["stats"]):
        answer = described[command[0]].split("Answer", 1)[1]
        *_, last = c.json(*command)
        named = set(re.findall(r'"(\w+)"', answer))
        tap.equal(sorted(set(last) - named), [], f"{command[0]}: the keys of its answer")


def check_example(c: cli.Cli, text: str) -> None:
    """The one example that depends on nothing else, as a shell reads it."""
    [block] = re.findall(r"^\.RS\n(reqcast put .*?)^\.RE$", text, re.M | re.S)
    script = block.replace("\\\n", "").replace("\\-", "-")
    path = f"{os.path.dirname(cli.REQCAST)}:{os.environ['PATH']}"
    r = subprocess.run(["sh", "-c", script], env=dict(c.env, PATH=path), capture_output=True,
                       text=True, timeout=120)
    tap.ok(r.returncode == 0 and r.stdout.startswith("2 written"), "the example for put works")


def formatter(command, name: str) -> None:
    if not shutil.which(command[0]):
        tap.skip(f"{command[0]} is not here: {name}")
        return
    r = subprocess.run([*command, str(PAGE)], capture_output=True, text=True, timeout=120,
                       env=dict(os.environ, MANWIDTH="80"))
    if not tap.ok(r.returncode == 0 and r.stderr == "", f"{name}: no warnings"):
        tap.note(r.stderr)
    plain = re.sub(r"\x1b\[[0-9;]*m|.\x08", "", r.stdout)
    tap.ok("reqcast page WORKSPACE" in re.sub(r"\s+", " ", plain), f"{name}: shows the text")


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    version = re.search(r"version: '([^']+)'", (cli.ROOT / "meson.build").read_text())[1]
    tap.ok(f'"reqcast {version}"' in text, "the page is of this version")
    tap.ok(text.isascii(), "the page is ASCII")
    with cli.database() as c:
        check_content(c, text)
        check_answers(c, text)
        check_example(c, text)
    formatter(["groff", "-ww", "-man", "-Tutf8"], "groff")
    formatter(["man", "--warnings", "-l"], "man")
    formatter(["mandoc", "-W", "warning"], "mandoc")
    tap.done()


sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""What shells complete: asked of the shells themselves, held against help and docs/format.md."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import cli
import tap

COMMON = {"--db", "--json", "--verbose", "-v", "--help", "-h", "--version"}
BASH = r"""
source "$1"; shift
[[ $(complete -p reqcast) == 'complete -F _reqcast reqcast' ]] || exit 9
COMP_WORDS=(reqcast "$@"); COMP_CWORD=$#
_reqcast
((${#COMPREPLY[@]} == 0)) || printf '%s\n' "${COMPREPLY[@]}"
"""
# What the functions of zsh's own completion would be told.
ZSH = r"""
compdef() { defined="$*" }
compset() { : }
_files() { print -l -- ${words[CURRENT]#*=}*(N) }
compadd() {
    while [[ $1 != -- ]]; do shift; done; shift
    for word in "$@"; do [[ $word == ${words[CURRENT]#*=}* ]] && print -- $word; done
}
source "$1"; shift
[[ $defined == "_reqcast reqcast" ]] || exit 9
words=(reqcast "$@"); CURRENT=$((# + 1))
_reqcast; true
"""
FISH = r"""
source $argv[1]
complete -C "reqcast "(string join ' ' -- $argv[2..]) | string replace -r '\t.*' ''; true
"""


class Shell:
    def __init__(self, name: str, folder: pathlib.Path):
        self.name, self.folder = name, folder
        self.script = folder / f"completion.{name}"
        r = subprocess.run([cli.REQCAST, "completion", name], capture_output=True, timeout=120)
        tap.ok(r.returncode == 0 and r.stderr == b"" and name.encode() in r.stdout.split(b"\n")[
            1 if name == "zsh" else 0], f"completion {name}")
        self.script.write_bytes(r.stdout)

    def ask(self, *words):
        command = {"bash": ["bash", "--norc", "-c", BASH, "bash"], "zsh": ["zsh", "-f", "-c", ZSH, "zsh"],
                   "fish": ["fish", "--no-config", "-c", FISH]}[self.name]
        r = subprocess.run([*command, str(self.script), *words], cwd=self.folder / "files",
                           capture_output=True, text=True, timeout=120,
                           env=dict(os.environ, HOME=str(self.folder)))
        if r.returncode != 0 or r.stderr:
            tap.ok(False, f"{self.name}: no messages")
            tap.note(f"status {r.returncode}: {r.stderr}")
        return set(r.stdout.split("\n")) - {""}


def check(shell: Shell, commands, usages) -> None:
    def equal(words, want, name):
        tap.equal(shell.ask(*words), set(want), f"{shell.name}: {name}")

    # fish offers long options for "--" and short ones for "-" only.
    def options(found):
        return {o for o in found if o.startswith("--")} if shell.name == "fish" else set(found)

    equal([""], commands | {"help"}, "commands")
    equal(["pa"], {"page", "patch"}, "commands that begin so")
    equal(["nope"], (), "nothing that does not")
    for command in sorted(commands):
        mine = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", usages[command]))
        found = shell.ask(command, "--")
        longs = {o for o in mine | COMMON if o.startswith("--")}
        tap.equal(found & longs, longs, f"{shell.name}: all options of {command}")
        extra = {o for o in found if o.startswith("--")} - longs
        # -w has a long form that the usage does not tell.
        tap.ok(extra <= ({"--workspace"} if command == "import" else set()),
               f"{shell.name}: no others of {command}")
    equal(["get", ""], cli.ENTITIES, "entities")
    equal(["get", "http_resp"], [e for e in cli.ENTITIES if e.startswith("http_resp")], "some")
    equal(["--db", "x.db", "children", "--until", "5", "http_v"], ["http_version"],
          "an option's value is no argument")
    equal(["patch", "http", "X", "--unset", "delta_u"], ["delta_url"], "--unset FIELD")
    equal(["completion", ""], ["bash", "zsh", "fish"], "one of these")
    equal(["help", "sta"], ["stats"], "help COMMAND")
    equal(["--db", ""], ["a b.db", "sample.har"], "--db FILE")
    equal(["import", "-w", "shop", "sam"], ["sample.har"], "FILE")
    equal(["import", "one.har", "sam"], ["sample.har"], "FILE...")
    for words in (["put", ""], ["stats", ""], ["page", "shop", ""], ["page", "--limit", ""],
                  ["count", ""]):
        equal(words, (), f"nothing for {words}")
    if shell.name == "fish":
        return
    equal(["patch", "http", "X", "ur"], ["url="], "FIELD=VALUE")
    equal(["patch", "workspaces", "X", ""], [c + "=" for c in cli.ENTITIES["workspaces"] if
                                             c != "id"], "columns of that entity")
    equal(["get", "http", "X", ""], (), "nothing for ids")
    equal(["page", "--", "--l"], (), "no options behind --")
    equal(["page", "-5", ""], (), "a negative number is an argument")
    tap.ok("-w" in shell.ask("import", "-"), f"{shell.name}: short options")
    if shell.name == "bash":  # which makes a word of each =
        equal(["--db", "=", "sam"], ["sample.har"], "--db=FILE")
        equal(["--db", "="], ["a b.db", "sample.har"], "--db= and nothing yet")
        equal(["--db", "=", "x.db", "get", "http_v"], ["http_version"], "an argument behind it")
    else:
        equal(["--db=sam"], ["sample.har"], "--db=FILE")
        equal(["--db=x.db", "get", "http_v"], ["http_version"], "an argument behind it")


def main() -> None:
    with cli.database(init=False) as c:
        text = c.text("help")
        commands = {m[1] for m in re.finditer(r"^  ([a-z]+) +\S", text, re.M)} - {"help"}
        usages = {k: c.text(k, "--help").split("\n")[0].split(k, 1)[1] for k in commands}
        tap.ok(len(commands) > 20, "there are commands")
        c.fails(2, ["tcsh", "bash, zsh and fish"], "completion", "tcsh")
        got = c.one("completion", "bash")
        tap.equal(got, {"shell": "bash", "script": c.run("completion", "bash").text}, "with --json")
        tap.ok(not c.db.exists(), "no database is made")
    with tempfile.TemporaryDirectory(prefix="reqcast-test-") as made:
        folder = pathlib.Path(made)
        (folder / "files").mkdir()
        for name in ("a b.db", "sample.har"):
            (folder / "files" / name).touch()
        for name in ("bash", "zsh", "fish"):
            shell = Shell(name, folder)
            if shutil.which(name):
                check(shell, commands, usages)
            else:
                tap.skip(f"{name} is not here: ITS COMPLETION WAS NOT RUN")
    tap.done()


sys.exit(main())

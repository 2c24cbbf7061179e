# SPDX-License-Identifier: Apache-2.0
"""docs/cli.schema.json: every line that every command gives with --json is as it says, and a line
that is not so is refused.

    check_schema.py --write     makes the records of the file anew, from docs/format.md
"""

import copy
import json
import re
import sys

import cli
import cli_data as d
import tap
from json_schema import SchemaError, Validator

PATH = cli.ROOT / "docs/cli.schema.json"
# For each command: its arguments, once or more often. ALL and OWNERS stand for ids.
COMMANDS = {
    "init": [[]],
    "verify": [[], ["--repair"], ["--integrity"]],
    "stats": [[]],
    "import": [["-w", "shop", cli.ROOT / "docs/examples/shop.har"]],
    "workspaces": [[], ["--create", "another"]],
    "page": [["shop", "--large"], ["shop", "--limit", 2]],
    "count": [["shop"]],
    "changes": [["shop", "--since", 0, "--large"], ["shop", "--limit", 3]],
    "get": [[e, *large, "ALL"] for e in cli.ENTITIES for large in ([], ["--large"])],
    "children": [[e, "OWNERS", "--all"] for e in list(cli.ENTITIES)[3:]],
    "updates": [["shop", "--since", 0, "--large"]],
    "batch": [d.BASES[:3] + [d.DELTA]],
    "deltas": [[d.BASES[0]]],
    "metrics": [["shop"], [d.TWIN_1]],
    "activity": [["shop"]],
    "resolve": [[d.BASES[0], "--delta", d.DELTA], [d.BASES[5], "--large"]],
    "chain": [[d.BASES[0]]],
    "put": [[]],
    "patch": [["workspaces", d.TWIN_1, "name=x"], ["files", d.FOLDER, "name=x"],
              ["http", d.BASES[9], "name=x"], ["http_header", d.HEADERS[1], "enabled=false"],
              ["http_search_param", d.PARAMS[0], "key=x"], ["http_body_form", d.FORM, "key=x"],
              ["http_body_urlencoded", d.URLENCODED, "key=x"],
              ["http_body_raw", d.RAW, "compression_type=0"], ["http_assert", d.ASSERT, "value=x"],
              ["http_version", d.VERSION, "version_name=x"], ["http_response", d.RESPONSE, "size=1"],
              ["http_response_header", d.RESPONSE_HEADERS[0], "value=x"],
              ["http_response_assert", d.RESPONSE_ASSERT, "success=0"]],
    "delete": [["http_header", d.HEADERS[3]]],
    "prune": [["shop", "--keep", 100]],
    "completion": [["bash"]],
    # At the end: a term begins, and what was kept is gone.
    "backup": [["COPY"]],
    "restore": [["COPY"]],
    "detach": [[]],
    "attach": [["--dry-run"], []],
}


def generated():
    """The record of each entity, as docs/format.md lists their columns."""
    found = {}
    for entity, columns in cli.ENTITIES.items():
        properties = {"entity": {"const": entity}, "seq": {"$ref": "#/$defs/value.seq"},
                      "id": {"$ref": "#/$defs/value.id"}}
        properties.update({c: {"$ref": f"#/$defs/value.{t}"} for c, t in columns.items()
                           if c != "id"})
        found[f"record.{entity}"] = {"type": "object", "properties": properties,
                                     "required": list(properties)}
    return found


def write(schema) -> None:
    """A definition a line, so that changes are small."""
    defs = {k: v for k, v in schema["$defs"].items() if not k.startswith("record.")}
    defs.update(generated())
    lines = ",\n".join(f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in defs.items())
    top = "".join(f"  {json.dumps(k)}: {json.dumps(v)},\n" for k, v in schema.items()
                  if k != "$defs")
    PATH.write_text(f'{{\n{top}  "$defs": {{\n{lines}\n  }}\n}}\n', encoding="utf-8")


# ---- The validator -------------------------------------------------------------------------------


def check_validator() -> None:
    schema = {"$defs": {"n": {"type": "integer", "minimum": 0, "maximum": 9}}}
    ref = {"$ref": "#/$defs/n"}
    closed = {"allOf": [{"properties": {"a": True}}], "properties": {"b": ref},
              "required": ["b"], "unevaluatedProperties": False}
    v = Validator(schema)
    for rule, good, bad in (
            (ref, [0, 9, 3.0], [-1, 10, 1.5, "1", True, None, []]),
            ({"type": ["string", "null"]}, ["", None], [0, False, {}, []]),
            ({"type": "number"}, [0, -1.5], [True, "1"]),
            ({"type": "object"}, [{}], [[], "x", None]),
            ({"const": 1}, [1], [True, 2, "1", None]), ({"const": "x"}, ["x"], ["y", 1]),
            ({"enum": ["a", None]}, ["a", None], ["b", False]),
            ({"pattern": "^a+$"}, ["aa", 5], ["ab", ""]),
            ({"required": ["a"]}, [{"a": 1}, "x"], [{}, {"b": 1}]),
            ({"properties": {"a": ref}}, [{}, {"a": 1}, {"b": "x"}], [{"a": "x"}]),
            ({"properties": {"a": ref}, "additionalProperties": False}, [{"a": 1}],
             [{"b": 1}, {"a": 1, "b": 1}]),
            ({"additionalProperties": ref}, [{"x": 1}], [{"x": -1}]),
            ({"items": ref, "type": "array"}, [[], [1, 2]], [[1, "x"], {}]),
            ({"anyOf": [ref, {"type": "null"}]}, [1, None], ["x", 11]),
            ({"allOf": [ref, {"minimum": 5}]}, [5], [4, "x"]),
            ({"anyOf": [closed, {"required": ["z"]}]}, [{"b": 1}, {"z": 1}], [{"c": 1}]),
            (closed, [{"b": 1}, {"b": 1, "a": 2}], [{"b": 1, "c": 1}, {"a": 1}, {"b": "x"}]),
            (True, [1, None], []), (False, [], [1, None])):
        tap.equal([x for x in good if v.errors(x, rule)], [], f"valid: {rule}")
        tap.equal([x for x in bad if not v.errors(x, rule)], [], f"not valid: {rule}")
    for broken in ({"tpye": "string"}, {"type": "text"}, {"$ref": "#/$defs/m"}, {"$ref": "x.json"},
                   {"properties": {"a": {"maxLenght": 1}}}, {"items": [1]}, {"anyOf": [{"if": {}}]}):
        try:
            Validator({**schema, **broken}).check()
            tap.ok(False, f"no schema: {broken}")
        except SchemaError:
            tap.ok(True, f"no schema: {broken}")


# ---- Answers -------------------------------------------------------------------------------------


def mutants(line):
    """The line with one thing wrong."""
    for key, value in line.items():
        yield f"without {key}", {k: v for k, v in line.items() if k != key}
        yield f"{key} is a list of a list", {**line, key: [[]]}
        if isinstance(value, dict):
            for name, inner in mutants(value):
                yield f"{key}: {name}", {**line, key: inner}
        if isinstance(value, list) and value and isinstance(value[0], dict):
            for name, inner in mutants(value[0]):
                yield f"{key}[0]: {name}", {**line, key: [inner]}
    yield "with one more", {**line, "no_such_key": 1}


class Answers:
    """Validates lines, and remembers one of each shape."""

    def __init__(self, v: Validator):
        self.v, self.shapes, self.lines = v, {}, {}

    def add(self, command: str, lines) -> None:
        schema = {"$ref": f"#/$defs/{command}"}
        wrong = [(e, line) for line in lines for e in self.v.errors(line, schema)]
        if not tap.equal(wrong[:3], [], f"{command}: {len(lines)} lines are as the schema says"):
            return
        self.lines[command] = self.lines.get(command, 0) + len(lines)
        for line in lines:
            shape = (command, line.get("entity"), tuple(line), line.get("op"))
            self.shapes.setdefault(shape, copy.deepcopy(line))

    def check_forms(self) -> None:
        """Where an answer has lines of several forms, each was seen."""
        for command in self.lines:
            for i in range(len(self.v.root["$defs"][command].get("anyOf", []))):
                form = {"$ref": f"#/$defs/{command}/anyOf/{i}"}
                seen = any(not self.v.errors(line, form) for shape, line in self.shapes.items()
                           if shape[0] == command)
                tap.ok(seen, f"{command}: form {i} was seen")

    def check_mutants(self) -> None:
        let_through, n = [], 0
        for (command, *_), line in self.shapes.items():
            for name, mutant in mutants(line):
                n += 1
                if not self.v.errors(mutant, {"$ref": f"#/$defs/{command}"}):
                    let_through.append((command, line.get("entity"), name))
        tap.ok(n > 1000, f"{n} wrong lines of {len(self.shapes)} shapes were tried")
        # What may be missing from an answer, and says so in the schema.
        allowed = [x for x in let_through
                   if x[0] == "verify" and x[2] in ("without repaired", "without faults")]
        tap.equal([x for x in let_through if x not in allowed], [], "and none is let through")


def arguments(c: cli.Cli, words):
    if words == ["COPY"]:
        return [c.folder / "copy.db"]
    if words[-1:] == ["ALL"]:
        return [*words[:-1], *[cli.ulid(i) for i, in c.sql(f"SELECT id FROM {words[0]} LIMIT 40")]]
    if words[1:2] == ["OWNERS"]:
        owners = [d.RESPONSE] if words[0].startswith("http_response_") else d.BASES + [d.DELTA]
        return [words[0], *owners, *words[2:]]
    return words


def strange_rows(c: cli.Cli) -> None:
    """What other programs may store."""
    shop = cli.unulid(d.SHOP)
    c.sql("UPDATE http SET name = CAST(x'61ff' AS TEXT), body_kind = 'x' WHERE id = ?",
          cli.unulid(d.BASES[1]))
    c.sql("UPDATE http SET description = ? WHERE id = ?", "long " * 20000, cli.unulid(d.BASES[2]))
    c.sql("UPDATE workspaces SET display_order = 9e999, active_env = ? WHERE id = ?", b"short",
          shop)
    c.sql("UPDATE http_body_raw SET raw_data = zeroblob(40000) WHERE id = ?", cli.unulid(d.RAW))
    for n, value in enumerate((5, 1.5, "x" * 40000, b"\0\1", "t")):
        c.sql("INSERT INTO http_response (id, http_id, status, time, duration, size)"
              " VALUES (?, ?, 200, ?, 1, 1)", cli.fake_id(11, 50 + n), cli.unulid(d.BASES[3]), value)


def differences(c: cli.Cli, answers: Answers) -> None:
    """A view that was changed behind everybody's back."""
    for path in (p for p in c.view.rglob("*") if p.is_file()):
        data = path.read_bytes()
        for m in re.finditer(rb"https://shop\.test/11\?q=1", data):
            with open(path, "r+b") as f:
                f.seek(m.start())
                f.write(b"H")
    lines = c.json("verify", status=1)
    tap.ok(len(lines) > 1, "verify finds differences")
    answers.add("verify", lines)
    answers.add("verify", c.json("verify", "--repair", quiet=False))


def main() -> None:
    schema = json.loads(PATH.read_text(encoding="utf-8"))
    if sys.argv[1:] == ["--write"]:
        write(schema)
        return
    check_validator()
    v = Validator(schema)
    v.check()
    tap.equal(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "its draft")
    defs = schema["$defs"]
    tap.equal({k: v for k, v in defs.items() if k.startswith("record.")}, generated(),
              "records have the columns of docs/format.md; check_schema.py --write makes them anew")
    for name in [k for k in defs if "." in k]:
        tap.ok(f'"#/$defs/{name}"' in json.dumps(schema), f"{name} is used")
    with cli.database() as c:
        # What export writes is a HAR file; watch needs a sidecar, and gives what changes gives.
        others = {"help", "export", "watch"}
        commands = set(re.findall(r"^  ([a-z]+) +\S", c.text("help"), re.M)) - others
        tap.equal(sorted(k for k in defs if "." not in k), sorted(commands), "a schema per command")
        tap.equal(sorted(COMMANDS), sorted(commands), "every command is run")
        answers = Answers(v)
        answers.add("put", [c.put(d.records())])
        strange_rows(c)
        for command, runs in COMMANDS.items():
            for words in runs:
                answers.add(command, c.json(command, *arguments(c, words), quiet=False))
        since = c.head()
        c.one("delete", "http_header", d.HEADERS[0])
        answers.add("changes", c.json("changes", "shop", "--since", since))
        differences(c, answers)
        tap.equal([k for k in commands if not answers.lines.get(k)], [], "each gave an answer")
        answers.check_forms()
        answers.check_mutants()
    tap.done()


sys.exit(main())

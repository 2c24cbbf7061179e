# SPDX-License-Identifier: Apache-2.0
"""JSON Schema (draft 2020-12), as far as docs/cli.schema.json needs it. A keyword that is not
known here is an error, so that no rule goes unseen."""

import re

ANNOTATIONS = {"$schema", "$id", "$defs", "title", "description", "$comment", "examples"}
TYPES = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
    "integer": lambda v: (isinstance(v, int) and not isinstance(v, bool)
                          or isinstance(v, float) and v.is_integer()),
}


class SchemaError(Exception):
    """The schema itself is wrong."""


def same(a, b) -> bool:
    """Equal in JSON: true is not 1."""
    return a == b and isinstance(a, bool) == isinstance(b, bool)


class Validator:
    def __init__(self, root: dict):
        self.root = root

    def find(self, ref: str):
        if not ref.startswith("#/"):
            raise SchemaError(f"$ref {ref}: only within the file")
        at = self.root
        for part in ref[2:].split("/"):
            part = part.replace("~1", "/").replace("~0", "~")
            try:
                at = at[int(part) if isinstance(at, list) else part]
            except (KeyError, IndexError, ValueError, TypeError):
                raise SchemaError(f"$ref {ref}: there is no such thing") from None
        return at

    def errors(self, value, schema, path="$"):
        """What is wrong with a value: a list of texts, empty when it is valid."""
        return self._look(value, schema, path)[0]

    def _look(self, value, schema, path):
        """(what is wrong, the properties that were looked at)."""
        if isinstance(schema, bool):
            return ([] if schema else [f"{path}: nothing is allowed here"]), set()
        wrong, seen = [], set()
        for keyword, rule in schema.items():
            if keyword in ANNOTATIONS or keyword == "unevaluatedProperties":
                continue
            look = getattr(self, "_" + keyword.lstrip("$"), None)
            if look is None:
                raise SchemaError(f"unknown keyword {keyword}")
            more, properties = look(value, rule, path, schema)
            wrong += more
            seen |= properties
        if "unevaluatedProperties" in schema and isinstance(value, dict):
            if schema["unevaluatedProperties"] is not False:
                raise SchemaError("unevaluatedProperties: only false is known")
            wrong += [f"{path}: {k} is not known" for k in value if k not in seen]
            seen |= set(value)
        return wrong, seen

    def _ref(self, value, rule, path, _):
        return self._look(value, self.find(rule), path)

    def _type(self, value, rule, path, _):
        kinds = [rule] if isinstance(rule, str) else rule
        if not set(kinds) <= set(TYPES):
            raise SchemaError(f"unknown type {rule}")
        good = any(TYPES[k](value) for k in kinds)
        return ([] if good else [f"{path}: not {' or '.join(kinds)}"]), set()

    def _const(self, value, rule, path, _):
        return ([] if same(value, rule) else [f"{path}: not {rule!r}"]), set()

    def _enum(self, value, rule, path, _):
        return ([] if any(same(value, r) for r in rule) else [f"{path}: none of {rule}"]), set()

    def _pattern(self, value, rule, path, _):
        good = not isinstance(value, str) or re.search(rule, value)
        return ([] if good else [f"{path}: does not match {rule}"]), set()

    def _minimum(self, value, rule, path, _):
        good = not TYPES["number"](value) or value >= rule
        return ([] if good else [f"{path}: less than {rule}"]), set()

    def _maximum(self, value, rule, path, _):
        good = not TYPES["number"](value) or value <= rule
        return ([] if good else [f"{path}: more than {rule}"]), set()

    def _required(self, value, rule, path, _):
        missing = [k for k in rule if k not in value] if isinstance(value, dict) else []
        return [f"{path}: {k} is missing" for k in missing], set()

    def _properties(self, value, rule, path, _):
        wrong = []
        mine = [k for k in rule if k in value] if isinstance(value, dict) else []
        for k in mine:
            wrong += self.errors(value[k], rule[k], f"{path}.{k}")
        return wrong, set(mine)

    def _additionalProperties(self, value, rule, path, schema):  # noqa: N802  named by the draft
        wrong = []
        others = [k for k in value if k not in schema.get("properties", {})] \
            if isinstance(value, dict) else []
        for k in others:
            wrong += self.errors(value[k], rule, f"{path}.{k}")
        return wrong, set(others)

    def _items(self, value, rule, path, _):
        wrong = []
        for i, item in enumerate(value if isinstance(value, list) else []):
            wrong += self.errors(item, rule, f"{path}[{i}]")
        return wrong, set()

    def _allOf(self, value, rule, path, _):  # noqa: N802
        looks = [self._look(value, r, path) for r in rule]
        return sum((w for w, _ in looks), []), set().union(*(s for _, s in looks))

    def _anyOf(self, value, rule, path, _):  # noqa: N802
        # The draft counts the properties of every form that fits, here the first one has to do.
        looks = []
        for r in rule:
            looks.append(self._look(value, r, path))
            if not looks[-1][0]:
                return looks[-1]
        closest = min((w for w, _ in looks), key=len)
        return [f"{path}: none of {len(rule)} forms; the nearest: {'; '.join(closest)}"], set()

    def rules(self, schema=None):
        """Every schema in the file, to be looked at by whoever wants to know that it is one."""
        schema = self.root if schema is None else schema
        yield schema
        if not isinstance(schema, dict):
            return
        for keyword in ("$defs", "properties"):
            for inner in schema.get(keyword, {}).values():
                yield from self.rules(inner)
        for keyword in ("items", "additionalProperties"):
            if keyword in schema:
                yield from self.rules(schema[keyword])
        for keyword in ("anyOf", "allOf"):
            for inner in schema.get(keyword, []):
                yield from self.rules(inner)

    def check(self) -> None:
        """Raises SchemaError where the schema has an unknown keyword, type or reference."""
        for schema in self.rules():
            if isinstance(schema, bool):
                continue
            if not isinstance(schema, dict):
                raise SchemaError(f"{schema!r} is no schema")
            for keyword, rule in schema.items():
                if keyword == "$ref":
                    self.find(rule)
                elif keyword == "pattern":
                    re.compile(rule)
                elif keyword == "type":
                    self._type(None, rule, "", schema)
                elif keyword not in ANNOTATIONS | {"unevaluatedProperties"} and not hasattr(
                        self, "_" + keyword):
                    raise SchemaError(f"unknown keyword {keyword}")

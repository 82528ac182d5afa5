# SPDX-License-Identifier: LGPL-2.1-or-later
"""As much of JSON Schema as an OpenAPI 3 description of this size needs. An unknown keyword is an error, so that no
rule is silently left out."""

import re

IGNORED = {"description", "title", "example", "examples", "default", "format", "deprecated", "readOnly", "writeOnly"}
TYPES = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "null": lambda value: value is None,
}


class Document:
    def __init__(self, root):
        self.root = root

    def resolve(self, node):
        while "$ref" in node:
            assert node["$ref"].startswith("#/"), node
            target = self.root
            for part in node["$ref"][2:].split("/"):
                target = target[part]
            node = target
        return node

    def problems(self, value, schema, place="$"):
        """A list of lines; empty when value fits."""
        schema = self.resolve(schema)
        if value is None and schema.get("nullable"):
            return []
        found = []
        for keyword, rule in schema.items():
            if keyword in IGNORED or keyword == "nullable":
                continue
            check = getattr(self, "_" + keyword.lower(), None)
            assert check, f"{place}: a keyword that this checker does not know: {keyword}"
            found += check(value, rule, schema, place)
        return found

    def _type(self, value, rule, schema, place):
        kinds = rule if isinstance(rule, list) else [rule]
        return [] if any(TYPES[kind](value) for kind in kinds) else [f"{place}: {value!r} is not {rule}"]

    def _enum(self, value, rule, schema, place):
        return [] if value in rule else [f"{place}: {value!r} is none of {rule}"]

    def _const(self, value, rule, schema, place):
        return [] if value == rule else [f"{place}: {value!r} is not {rule!r}"]

    def _pattern(self, value, rule, schema, place):
        fits = not isinstance(value, str) or re.search(rule, value)
        return [] if fits else [f"{place}: {value!r} does not match {rule}"]

    def _required(self, value, rule, schema, place):
        if not isinstance(value, dict):
            return []
        return [f"{place}: {name} is missing" for name in rule if name not in value]

    def _properties(self, value, rule, schema, place):
        if not isinstance(value, dict):
            return []
        found = []
        for name, below in rule.items():
            if name in value:
                found += self.problems(value[name], below, f"{place}.{name}")
        return found

    def _additionalproperties(self, value, rule, schema, place):
        if not isinstance(value, dict):
            return []
        found = []
        for name in value.keys() - schema.get("properties", {}).keys():
            if rule is False:
                found.append(f"{place}: {name} is not described")
            elif isinstance(rule, dict):
                found += self.problems(value[name], rule, f"{place}.{name}")
        return found

    def _items(self, value, rule, schema, place):
        if not isinstance(value, list):
            return []
        return [line for number, item in enumerate(value) for line in self.problems(item, rule, f"{place}[{number}]")]

    def _oneof(self, value, rule, schema, place):
        fitting = [option for option in rule if not self.problems(value, option, place)]
        return [] if len(fitting) == 1 else [f"{place}: fits {len(fitting)} of {len(rule)} alternatives"]

    def _anyof(self, value, rule, schema, place):
        fits = any(not self.problems(value, option, place) for option in rule)
        return [] if fits else [f"{place}: fits no alternative"]

    def _allof(self, value, rule, schema, place):
        return [line for part in rule for line in self.problems(value, part, place)]

    @staticmethod
    def _bound(value, kind, fits, place, what):
        return [] if not isinstance(value, kind) or isinstance(value, bool) or fits() else [f"{place}: {what}"]

    def _minimum(self, value, rule, schema, place):
        return self._bound(value, (int, float), lambda: value >= rule, place, f"{value!r} is less than {rule}")

    def _maximum(self, value, rule, schema, place):
        return self._bound(value, (int, float), lambda: value <= rule, place, f"{value!r} is more than {rule}")

    def _minlength(self, value, rule, schema, place):
        return self._bound(value, str, lambda: len(value) >= rule, place, f"shorter than {rule}")

    def _maxlength(self, value, rule, schema, place):
        return self._bound(value, str, lambda: len(value) <= rule, place, f"longer than {rule}")

    def _minitems(self, value, rule, schema, place):
        return self._bound(value, list, lambda: len(value) >= rule, place, f"less than {rule} items")

    def _maxitems(self, value, rule, schema, place):
        return self._bound(value, list, lambda: len(value) <= rule, place, f"more than {rule} items")

    def _maxproperties(self, value, rule, schema, place):
        return self._bound(value, dict, lambda: len(value) <= rule, place, f"more than {rule} members")

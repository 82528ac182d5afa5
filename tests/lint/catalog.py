#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every event with a message id is in the code and explained in the catalog, and the other way round; and what the
catalog shows of an event is a field that the code gives it."""

import re

import files

HEADER = "src/util/message-ids.h"
CATALOG = "src/node/worker-mesh.catalog"

DEFINITION = re.compile(r'^#define (MESSAGE_\w+)\s+(?:\\\n\s*)?"([^"]*)"', re.MULTILINE)
ENTRY = re.compile(r"^-- (\S+)\nSubject: (.+)\n", re.MULTILINE)
FIELD = re.compile(r"@(\w+)@")


def check(root):
    problems = []
    ids = dict(DEFINITION.findall(files.read(root, HEADER) or ""))
    catalog = files.read(root, CATALOG) or ""
    entries = [number for number, _ in ENTRY.findall(catalog)]
    sources = {
        path: files.read(root, path) or "" for path in files.walk(root, (".c",), ("src",)) if not path.endswith(HEADER)
    }
    code = "\n".join(sources.values())

    for name, number in ids.items():
        if not re.fullmatch(r"[0-9a-f]{32}", number):
            problems.append(f"{HEADER}: {name} is not 32 lower case hexadecimal digits")
        if not re.search(rf"\b{name}\b", code):
            problems.append(f"{HEADER}: {name} is used nowhere")
        if number not in entries:
            problems.append(f"{CATALOG}: there is no entry for {name}, {number}")
    for name in sorted(set(re.findall(r"\bMESSAGE_[A-Z_]+\b", code)) - set(ids)):
        if re.search(rf'\b{name}\b"?,\n?\s*"|MESSAGE_ID=" {name}\b', code):
            problems.append(f"{HEADER}: {name} is used and not defined")
    for number in entries:
        if number not in ids.values():
            problems.append(f"{CATALOG}: {number} is no event of {HEADER}")
    for number in {number for number in entries if entries.count(number) > 1}:
        problems.append(f"{CATALOG}: {number} is there twice")
    if len(set(ids.values())) != len(ids):
        problems.append(f"{HEADER}: two events share an id")
    for field in sorted(set(FIELD.findall(catalog))):
        if f'"{field}=' not in code and f"{field}=%" not in code:
            problems.append(f"{CATALOG}: no message has the field {field}")
    if catalog.count("\n-- ") != len(entries):
        problems.append(f"{CATALOG}: an entry does not begin with its id and a Subject:")
    return problems


if __name__ == "__main__":
    files.finish(check(files.root_from_arguments()))

#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""No notes to oneself, no paths of somebody's machine, no pictures, and every source names its licence."""

import re

import files

# Written in two halves, so that this file does not find itself.
FORBIDDEN = [
    (re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX|HA" r"CK)\b"), "finish it, or open an issue"),
    (re.compile(r"(?<![\w.])/(wor" r"k|ro" r"ot|hom" r"e/\w+)/"), "a path of one machine"),
    (re.compile(r"^(<{7}|>{7}) "), "a conflict that was not resolved"),
]
# Tests need them as data.
PICTURE = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\ufe0f]")
TRAILING = re.compile(r"[ \t]+$")

LICENCE = "SPDX-License-Identifier: LGPL-2.1-or-later"
LICENSED = (".c", ".h", ".py", ".sh", ".proto", "meson.build")
# Texts that are not ours, and inputs for fuzzers, which may hold anything.
FOREIGN = ("LICENSE",)
CORPORA = "tests/fuzz/corpus/"


def check(root, path):
    text = files.read(root, path)
    if text is None or path in FOREIGN or path.startswith(CORPORA):
        return []
    problems = []
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        problems += [
            f"{path}:{number}: {match.group().strip()}: {why}"
            for expression, why in FORBIDDEN
            for match in [expression.search(line)]
            if match
        ]
        if PICTURE.search(line) and not path.startswith("tests/unit/"):
            problems.append(f"{path}:{number}: a picture")
        if TRAILING.search(line):
            problems.append(f"{path}:{number}: blanks at the end of the line")
    if path.endswith(LICENSED) and not any(LICENCE in line for line in lines[:2]):
        problems.append(f"{path}:1: begins without {LICENCE}")
    if text and not text.endswith("\n"):
        problems.append(f"{path}:{len(lines)}: no newline at the end")
    return problems


def main():
    root = files.root_from_arguments()
    problems = []
    for path in files.walk(root):
        problems += check(root, path)
    files.finish(problems)


if __name__ == "__main__":
    main()

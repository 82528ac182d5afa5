#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files and functions stay short enough to be read in one go."""

import re

import files

FILE_GOAL, FILE_MAX = 600, 700
FUNCTION_GOAL, FUNCTION_MAX = 70, 100

# As clang-format leaves it, a function opens with a brace at the end of a line that is not a type or a table, and
# closes with a brace in the first column.
NOT_A_FUNCTION = re.compile(r"=\s*(\(.*\)\s*)?\{$|^(typedef\s|static\s|const\s)*(struct|union|enum)\s+\w*\s*\{$|^extern ")
NAME = re.compile(r"(\w+)\s*\(")


def functions(lines):
    """Yields (name, first line, number of lines) of each function."""
    start, name = None, "?"
    for number, line in enumerate(lines, 1):
        if start is None and line[:1] not in ("", " ", "#", "}", "/", "*", "\t"):
            found = NAME.search(line)
            if found:
                name = found.group(1)
        if start is None and line.endswith("{") and not NOT_A_FUNCTION.search(line):
            start = number
        elif start is not None and line.startswith("}"):
            yield name, start, number - start + 1
            start = None


def check(root, path):
    """Two lists: what is too long, and what is longer than it should be."""
    lines = (files.read(root, path) or "").splitlines()
    errors, remarks = [], []
    if len(lines) > FILE_GOAL:
        wrong = errors if len(lines) > FILE_MAX else remarks
        wrong.append(f"{path}:1: {len(lines)} lines; more than {FILE_GOAL} should be two files")
    if path.endswith((".c", ".h")):
        for name, start, length in functions(lines):
            if length > FUNCTION_GOAL:
                wrong = errors if length > FUNCTION_MAX else remarks
                wrong.append(f"{path}:{start}: {name}() has {length} lines; more than {FUNCTION_GOAL} is hard to read")
    return errors, remarks


def main():
    root = files.root_from_arguments()
    errors = []
    for path in files.walk(root, (".c", ".h", ".py"), ("src", "tests")):
        wrong, remarks = check(root, path)
        errors += wrong
        for remark in remarks:
            print(f"{remark} (allowed)")
    files.finish(errors)


if __name__ == "__main__":
    main()

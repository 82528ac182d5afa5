#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The man pages that were built can be read on a terminal of 80 columns, and the formatter has nothing to say about
them. That their sources are right is held by the build, which stops at a warning.

usage: pages.py PAGE...
"""

import os
import re
import shutil
import subprocess
import sys

import files

WIDTH = 80
# In this order; those in the second half are there where there is something to say.
SECTIONS = ["NAME", "SYNOPSIS", "DESCRIPTION", "SEE ALSO"]


def show(path):
    environment = {**os.environ, "MANWIDTH": str(WIDTH), "LC_ALL": "C.UTF-8", "MANPAGER": "cat"}
    command = ["man", "--warnings", "--local-file", path]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return result.stdout, result.stderr + ("" if result.returncode == 0 else f"exit status {result.returncode}")


def check(path):
    name = os.path.basename(path)
    text, said = show(path)
    problems = [f"{name}: {line}" for line in said.splitlines()]
    problems += [f"{name}: {len(line)} columns: {line.strip()}" for line in text.splitlines() if len(line) > WIDTH]
    titles = re.findall(r"^([A-Z][A-Z -]+)$", text, re.M)
    wanted = [title for title in SECTIONS if title != "SYNOPSIS" or "SYNOPSIS" in titles]
    if [title for title in titles if title in SECTIONS] != wanted:
        problems.append(f"{name}: the sections are {', '.join(titles) or 'none'}")
    # "@LIMITS@" and the like are what an author wanted to fill in.
    problems += [f"{name}: {mark} was not filled in" for mark in re.findall(r"@[A-Z_]+@", text)]
    return problems


def main():
    if not shutil.which("man"):
        print("man is not installed")
        sys.exit(files.SKIPPED)
    problems = [problem for path in sys.argv[1:] for problem in check(path)]
    files.finish(problems)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""clang-format has nothing to change. Versions differ in details, so only the one of Debian 12 decides."""

import re
import shutil
import subprocess
import sys

import files

VERSION = "14"


def main():
    root = files.root_from_arguments()
    program = shutil.which("clang-format-" + VERSION) or shutil.which("clang-format")
    if not program:
        print("clang-format is not installed")
        sys.exit(files.SKIPPED)
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    if not re.search(rf"version {VERSION}\.", version):
        print(f"needs clang-format {VERSION}, and this is {version.strip()}")
        sys.exit(files.SKIPPED)
    sources = files.walk(root, (".c", ".h"), ("src", "tests"))
    command = [program, "--dry-run", "-Werror", *sources]
    output = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False).stderr if sources else ""
    places = [line for line in output.splitlines() if "clang-format-violations" in line]
    problems = []
    for path in sources:
        own = [line for line in places if line.startswith(path + ":")]
        if own:
            problems.append(f"{own[0]} ({len(own)} places; clang-format -i {path})")
    files.finish(problems)


if __name__ == "__main__":
    main()

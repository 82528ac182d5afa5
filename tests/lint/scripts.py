#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Python compiles; shell scripts pass shellcheck, where it is installed."""

import os
import re
import shutil
import subprocess

import files

SHELL = re.compile(r"#!.*\b(ba|da)?sh\b")


def is_shell(root, path):
    if path.endswith(".sh"):
        return True
    if "." in os.path.basename(path):
        return False
    first = (files.read(root, path) or "").split("\n", 1)[0]
    return bool(SHELL.match(first))


def check_python(root, path):
    try:
        compile(files.read(root, path), path, "exec", dont_inherit=True)
        return []
    except (SyntaxError, TypeError) as error:
        return [f"{path}:{getattr(error, 'lineno', 1)}: {error}"]


def main():
    root = files.root_from_arguments()
    problems = []
    for path in files.walk(root, (".py",)):
        problems += check_python(root, path)
    shell = [path for path in files.walk(root) if is_shell(root, path)]
    if not shutil.which("shellcheck"):
        print("shellcheck is not installed: shell scripts are not checked")
    elif shell:
        result = subprocess.run(
            ["shellcheck", "--format=gcc", *shell], cwd=root, capture_output=True, text=True, check=False
        )
        problems += result.stdout.splitlines()
    files.finish(problems)


if __name__ == "__main__":
    main()

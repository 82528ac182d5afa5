# SPDX-License-Identifier: LGPL-2.1-or-later
"""The files of the tree, for the checks of this folder, and how a check ends."""

import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SKIPPED = 77


def walk(root, suffixes=None, below=("",)):
    """Paths relative to root, in order; build folders and what git or Python keep are left out."""
    found = []
    for start in below:
        for folder, folders, names in os.walk(os.path.join(root, start)):
            folders[:] = sorted(name for name in folders if not _is_foreign(os.path.join(folder, name)))
            for name in sorted(names):
                # In a further worktree it is a file, which names a path.
                if name == ".git":
                    continue
                if suffixes is None or name.endswith(suffixes):
                    found.append(os.path.relpath(os.path.join(folder, name), root))
    return found


def _is_foreign(path):
    return os.path.basename(path) in (".git", "__pycache__", ".pytest_cache", "subprojects") or os.path.isdir(
        os.path.join(path, "meson-private")
    )


def read(root, path):
    """The text of a file, or None when it is not text."""
    with open(os.path.join(root, path), "rb") as file:
        data = file.read()
    try:
        return None if b"\0" in data else data.decode()
    except UnicodeDecodeError:
        return None


def root_from_arguments():
    return os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else ROOT


def finish(problems):
    """Prints what is wrong, one line each, and exits 1 if there is anything."""
    for problem in problems:
        print(problem)
    sys.exit(1 if problems else 0)

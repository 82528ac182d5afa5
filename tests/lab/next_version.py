# SPDX-License-Identifier: LGPL-2.1-or-later
"""The two programs once more, with another version: what a rolling upgrade installs. Only what names the version is
compiled again, in a folder of its own; the build folder stays as it is."""

import os
import re
import shlex
import subprocess

TARGETS = {
    "/usr/bin/worker-mesh": "src/worker-mesh",
    "/usr/libexec/worker-mesh/worker-mesh-executor": "src/executor/worker-mesh-executor",
}
DEFINITION = re.compile(r'-DVERSION="([^"]*)"')
NAMES_IT = re.compile(r"\bVERSION\b")


def build(build_folder, folder, version):
    """Where each program is, by the path that it has when it is installed. What is compiled again must fit what is not:
    the build folder has to be up to date."""
    dry_run = subprocess.run(
        ["ninja", "-C", build_folder, "-n", *TARGETS.values()], check=True, capture_output=True, text=True
    ).stdout
    if "no work to do" not in dry_run:
        raise AssertionError(f"{build_folder} is older than its sources")
    return {
        installed: _build_one(build_folder, os.path.join(folder, os.path.basename(target)), target, version)
        for installed, target in TARGETS.items()
    }


def _build_one(build_folder, output, target, version):
    text = subprocess.run(
        ["ninja", "-C", build_folder, "-t", "commands", target], check=True, capture_output=True, text=True
    ).stdout
    commands = [shlex.split(line) for line in text.splitlines() if not line.startswith("ninja:")]
    objects = {}
    for number, command in enumerate(commands):
        if "-c" in command and _names_the_version(build_folder, command[-1]):
            at = command.index("-o") + 1
            objects[command[at]] = f"{output}-{number}.o"
            again = [DEFINITION.sub(f'-DVERSION="{version}"', word) for word in command]
            again[at] = objects[command[at]]
            subprocess.run(_without_dependencies(again), cwd=build_folder, check=True)
    # What comes before the libraries is taken instead of what is in them.
    link = [word for word in commands[-1] if word not in objects]
    at = link.index("-o") + 1
    link[at : at + 1] = [output, *objects.values()]
    subprocess.run(link, cwd=build_folder, check=True)
    return output


def _names_the_version(build_folder, source):
    with open(os.path.join(build_folder, source), encoding="utf-8") as file:
        return bool(NAMES_IT.search(file.read()))


def _without_dependencies(command):
    """They are for ninja, and would be written into the build folder."""
    kept, words = [], iter(command)
    for word in words:
        if word in ("-MQ", "-MF"):
            next(words)
        elif word != "-MD":
            kept.append(word)
    return kept

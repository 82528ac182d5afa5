#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Holds the table of src/README.md: which room may include which, and who may see the headers of a library."""

import os
import re

import files

# What a room may include from other rooms: a folder ("wire/") or one header ("store/store.h"). Its own is always allowed.
ROOMS = {
    "": ["node/", "util/"],
    "node": ["api/", "net/", "trust/", "store/", "executor/client.h", "mesh/", "wire/", "util/"],
    "api": ["mesh/", "store/store.h", "executor/client.h", "wire/", "util/"],
    "api/rest": ["api/ops.h", "mesh/job.h", "store/store.h", "wire/job-limits.h", "wire/message.h", "wire/types.h", "util/"],
    "api/dbus": ["api/ops.h", "mesh/job.h", "store/store.h", "wire/job-limits.h", "wire/message.h", "wire/types.h", "util/"],
    "net": ["trust/", "wire/", "util/"],
    "store": ["mesh/job.h", "mesh/job-link.h", "mesh/record.h", "wire/", "util/"],
    "executor": ["mesh/job.h", "wire/", "util/"],
    "mesh": ["wire/", "util/"],
    "trust": ["util/"],
    "wire": ["util/"],
    "util": [],
}

# Rooms below api/ that are no part of it.
FACES = ("api/rest", "api/dbus")

# Headers of libraries, by prefix, and the only files that may see them: a folder or one file.
LIBRARIES = {
    "sqlite3.h": ["store/"],
    "microhttpd.h": ["api/rest/http.c"],
    "json-c/": ["api/rest/json.c"],
    "protobuf-c/": ["wire/"],
    "uthash.h": ["util/map.c"],
    "systemd/sd-bus.h": ["api/dbus/"],
    "gnutls/": ["util/hash.c", "trust/"],
}

# The mind does no I/O; what it is made of must not either.
PURE = ("mesh", "wire")
IMPURE = ("systemd/", "sys/socket.h", "sys/epoll.h", "fcntl.h", "pthread.h")

INCLUDE = re.compile(r'\s*#\s*include\s+(?:"([^"]*)"|<([^>]*)>)')


def room_of(path):
    """The room that a path relative to src/ belongs to, or None."""
    folder = os.path.dirname(path)
    while folder not in ROOMS and folder:
        folder = os.path.dirname(folder)
    return folder if folder or "/" not in path else None


def matches(path, rules):
    return any(path == rule or (rule.endswith("/") and path.startswith(rule)) for rule in rules)


def check_own(root, path, name):
    """A header in quotes: ours, or made by protoc-c."""
    room = room_of(path)
    if name.endswith(".pb-c.h"):
        return None if room == "wire" else "protobuf is seen by wire/ only"
    if "/" not in name:
        return "write the folder too"
    if name.startswith(("./", "../")) or "/../" in name:
        return "write it from src/ on"
    if not os.path.exists(os.path.join(root, "src", name)):
        return "there is no such file in src/"
    target = room_of(name)
    if target == room or matches(name, ROOMS[room]):
        # "api/" names the room, not the faces below it: those are node's to build, and closed to each other.
        if target not in FACES or room in ("node", target):
            return None
    return f"{room or 'main.c'} may include only {', '.join(ROOMS[room]) or 'its own files'}"


def check_library(path, name):
    for library, users in LIBRARIES.items():
        if (name == library or (library.endswith("/") and name.startswith(library))) and not matches(path, users):
            return f"only {', '.join(users)} may see it"
    if room_of(path) in PURE and (name in IMPURE or name.startswith("systemd/")):
        return "mesh/ and wire/ do no I/O"
    return None


def check_file(root, path):
    """path is relative to src/."""
    if room_of(path) is None:
        return [f"src/{path}:1: belongs to no room of the table in tests/lint/includes.py"]
    problems = []
    text = files.read(root, os.path.join("src", path)) or ""
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        own, library = match.groups()
        problem = check_own(root, path, own) if own is not None else check_library(path, library)
        if problem:
            problems.append(f"src/{path}:{number}: {own or library}: {problem}")
    return problems


def main():
    root = files.root_from_arguments()
    problems = []
    for path in files.walk(root, (".c", ".h"), ("src",)):
        problems += check_file(root, os.path.relpath(path, "src"))
    files.finish(problems)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: LGPL-2.1-or-later
"""Control groups of a lab."""

import contextlib
import os
import time


def remove_cgroup(path, deadline=10.0):
    """Kills what is in it and below, and removes it."""
    end = time.monotonic() + deadline
    while os.path.isdir(path):
        with contextlib.suppress(OSError), open(os.path.join(path, "cgroup.kill"), "w", encoding="ascii") as file:
            file.write("1")
        for folder, _, _ in os.walk(path, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        if time.monotonic() > end:
            return
        time.sleep(0.01)

# SPDX-License-Identifier: LGPL-2.1-or-later
"""A long history in a database that a node has made: copies of its newest job, by SQL, while the node is stopped."""

import contextlib
import sqlite3

# Of each thousand jobs; a rare state is what a filter has to find without reading the rest.
STATUSES = (("JOB_TIMEOUT", 1), ("JOB_FAILED", 100))
RARE_STATUS, RARE_COUNT = "JOB_CANCELLED", 60
STEP_MILLISECONDS = 10  # between two jobs
UUID = (
    "lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || "
    "'-a' || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))"
)


def _unique_columns(database):
    keys = {row[1] for row in database.execute("PRAGMA table_info(jobs)") if row[5] > 0}
    for index in database.execute("PRAGMA index_list(jobs)").fetchall():
        if index[2]:
            keys |= {row[2] for row in database.execute(f'PRAGMA index_info("{index[1]}")')}
    return keys


def _status(count):
    """The oldest few are the rare ones: the filter that asks for them has the longest way."""
    text, below = f"CASE WHEN i <= {RARE_COUNT} THEN '{RARE_STATUS}'", 0
    for status, per_thousand in STATUSES:
        below += per_thousand
        text += f" WHEN i * 7919 % 1000 < {below} THEN '{status}'"
    return text + " ELSE 'JOB_COMPLETED' END"


def _expression(name, value, unique, count):
    age = f"({count} - i) * {STEP_MILLISECONDS}"
    if name == "status":
        return _status(count)
    if name in unique and value is not None:
        return {int: f"t.{name} + i", str: UUID, bytes: "randomblob(16)"}[type(value)]
    if name.endswith("_at") and isinstance(value, int):
        return f"t.{name} - {age} * 1000"
    if name.endswith("_at") and isinstance(value, str):
        return f"strftime('%Y-%m-%dT%H:%M:%fZ', t.{name}, '-' || ({age} / 1000.0) || ' seconds')"
    return f"t.{name}"


def fill(path, count):
    """Adds count finished jobs, each accepted a little later than the one before."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        newest = database.execute("SELECT rowid, * FROM jobs ORDER BY rowid DESC LIMIT 1")
        row = newest.fetchone()
        names = [column[0] for column in newest.description][1:]
        unique = _unique_columns(database)
        expressions = [_expression(name, value, unique, count) for name, value in zip(names, row[1:])]
        database.execute("PRAGMA cache_size = -200000")
        database.execute(
            f"INSERT INTO jobs ({', '.join(names)}) "
            f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) "
            f"SELECT {', '.join(expressions)} FROM n, jobs AS t WHERE t.rowid = {row[0]}"
        )
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

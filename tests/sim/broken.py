#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Breaks one rule of the mind in a copy of one of its files, for the test that the simulator notices. Which file it is
says meson.build. A rule whose text is not there exactly once has to follow the code: that is an error."""

import sys

# For each rule what is written in the place of what.
RULES = {
    # An attempt is sent before the disk has it: after a crash the same attempt begins once more.
    "durability": [
        (
            "        job_enter(mesh, job, JOB_STATE_ASSIGNING);\n",
            "        job_enter(mesh, job, JOB_STATE_ASSIGNING);\n        job_send(mesh, job);\n",
        ),
    ],
    # A submission is acknowledged before it is durable.
    "acceptance": [
        (
            "        batch->owner = answer;\n",
            "        mesh->ops.accepted(mesh->userdata, tag, 0, 1);\n        batch->owner = answer;\n",
        ),
    ],
    # What is told of an attempt that was given up is taken for news of the present one.
    "attempt": [
        (
            "job && job->place == place && run_id_equal(&job->run, run) ? job : NULL",
            "job && job->place == place ? job : NULL",
        ),
    ],
    # A cancel is acknowledged before the run is known to have ended.
    "cancel": [
        (
            "                        job_cancel_written(mesh, job);\n",
            "                        job_cancel_written(mesh, job);\n"
            '                job_finish(mesh, job, JOB_CANCELLED, NULL, "cancelled");\n',
        ),
    ],
    # Submissions begin at once although the slots are taken.
    "slots": [
        (" || in_hand >= mesh->config.slots)\n", " || in_hand == 0)\n"),
        ("        return mesh->config.slots - in_hand;\n", "        return mesh->config.slots;\n"),
    ],
    # Who had a run is never told that it may forget it.
    "retirement": [
        (
            "        else if (job->place)\n                /* Where its end",
            "        else if (job->place && job->moved)\n                /* Where its end",
        ),
    ],
    # A takeover does not begin a new epoch: two owners give the same attempts.
    "epoch": [
        (
            "MIN((epoch >> EPOCH_OWN_BITS) + 1, EPOCH_COUNT_MAX) << EPOCH_OWN_BITS | hash;",
            "hash == 0 ? EPOCH_COUNT_MAX : epoch;",
        ),
    ],
    # Who was keeper once is never told that it may forget its copies.
    "copies": [
        ("        message.forget_copies = holder->term;\n", "        return;\n"),
    ],
    # A job that must not start twice does so when the node that had it is lost.
    "failure": [
        ("        return job->spec->rules.loss_is_failure && job->may_have_begun;\n", "        return false;\n"),
    ],
    # What waits for a slot is given to it in another order than it came.
    "order": [
        ("job->arrival < other->arrival;\n", "job->arrival > other->arrival;\n"),
    ],
}


def main():
    rule, source, target = sys.argv[1:]
    with open(source, encoding="utf-8") as file:
        text = file.read()
    for old, new in RULES[rule]:
        if text.count(old) != 1:
            sys.exit(f"{source}: rule {rule}: this is there {text.count(old)} times, not once:\n{old}")
        text = text.replace(old, new)
    with open(target, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main()

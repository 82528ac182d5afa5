# SPDX-License-Identifier: LGPL-2.1-or-later
"""What was wrong, after something was done to hosts that share jobs. It asks no daemon: it compares what the jobs wrote
(load.py) with what was acknowledged, with what was done to which host and when, and with what each node told at the end.

    judge(record) -> Verdict

record: what repetition.py has written down, only numbers, texts, lists and dictionaries, so that it can be kept in a
file and judged again."""

import collections
import itertools

# A node is lost when six questions, half a second apart, and a second more have brought no answer (suspicion.c). What
# is over before that must not make it lost.
LOST_AT_LEAST_SECONDS = 3.0
# An end that was written this long before its host was gone may not have reached anybody.
UNTOLD_SECONDS = 2.0
# How long a run that was given up may go on when its host can be reached again: until the next heartbeats, a link,
# what both sides hold, and the end of its processes. Generous: the machine may have other things to do.
FENCED_SECONDS = 6.0
INTERVALS_UNTIL_HEARD = 2

ENDED = ("JOB_COMPLETED", "JOB_FAILED", "JOB_TIMEOUT", "JOB_CANCELLED")
# What ends the runs of a host at once, and what makes others unable to hear it.
KILLS = ("power",)
ISOLATES = ("power", "cable", "stop", "freeze", "down")

# The columns of a report. Those with a limit of 0 make a repetition fail.
COUNTED = ("submitted", "acknowledged", "runs", "again", "twice", "forgotten", "given_up", "differ")
FORBIDDEN = ("lost", "unasked", "again_wrong", "twice_wrong", "told_wrong", "false_alarms", "undetected")


class Run:
    """One process, as its lines say. last: when it was surely still there."""

    def __init__(self, host, words):
        _, self.name, self.job_id, epoch, attempt, self.node_id, when, *_ = words
        self.host, self.attempt = host, (int(epoch), int(attempt))
        self.start = self.last = float(when)
        self.ended, self.exit_status = False, None

    def take(self, words):
        self.last = float(words[6])
        if words[0] == "end":
            self.ended, self.exit_status = True, int(words[7])

    def __repr__(self):
        return f"attempt {self.attempt[1]} (epoch {self.attempt[0]}) on {self.host} from {self.start:.2f} to {self.last:.2f}"


class Verdict:
    def __init__(self):
        self.figures = dict.fromkeys(COUNTED + FORBIDDEN, 0)
        self.detections, self.problems = [], []

    def count(self, what, problem=None, n=1):
        self.figures[what] += n
        if problem:
            self.problems.append(f"{what}: {problem}")

    def is_good(self):
        return not self.problems


def runs_of(lines):
    """Of each wish; a line that does not go on with a run begins one."""
    runs, open_runs = collections.defaultdict(list), {}
    for host, words in lines:
        if len(words) != 8:
            continue  # the host lost its power while it was written
        key = (host, *words[1:5])
        if words[0] == "start" or key not in open_runs:
            run = open_runs[key] = Run(host, words)
            runs[run.name].append(run)
        open_runs[key].take(words)
    for some in runs.values():
        some.sort(key=lambda run: run.start)
    return runs


class Judge:
    def __init__(self, record):
        self.record, self.verdict = record, Verdict()
        self.landed = set(record["landed"])
        self.interval = record["interval"]
        self.wishes = {wish["name"]: wish for wish in record["wishes"]}
        self.runs = runs_of(record["lines"])
        self.hosts = {node_id: host for host, node_id in record["nodes"].items()}

    def grace(self):
        return FENCED_SECONDS + INTERVALS_UNTIL_HEARD * self.interval

    def troubles(self, host, kinds, begin, end):
        """Those of a host that overlap a time, with what it takes to recover from them."""
        return [
            trouble
            for trouble in self.record["troubles"]
            if trouble["host"] == host
            and trouble["what"] in kinds
            and trouble["begin"] <= end
            and trouble["end"] + self.grace() >= begin
        ]

    def may_lose(self, host, begin, end):
        return any(
            trouble["what"] in KILLS or trouble["end"] - trouble["begin"] >= LOST_AT_LEAST_SECONDS
            for trouble in self.troubles(host, ISOLATES, begin, end)
        )

    def was_cut_off(self, owner, begin, end):
        """The troubles in which an owner heard nobody for long enough to lose all others, or to be taken over by them."""
        kinds = ISOLATES if "takeover" in self.landed else ("cable",)
        return [
            trouble
            for trouble in self.troubles(owner, kinds, begin, end)
            if trouble["end"] - trouble["begin"] >= LOST_AT_LEAST_SECONDS
        ]

    def may_begin_again(self, run, again, owner):
        """Whether somebody had a reason to begin another run: its host was lost, or who owns it could not hear it."""
        begin, end = run.start, run.last + UNTOLD_SECONDS
        if any(
            trouble["begin"] <= again.start
            for trouble in self.troubles(run.host, ISOLATES, begin, end)
            if self.may_lose(run.host, begin, end)
        ):
            return True
        if any(trouble["begin"] <= again.start for trouble in self.was_cut_off(owner, begin, end)):
            return True
        return again.attempt[0] != run.attempt[0] and self.somebody_was_parted(begin, again.start)

    def somebody_was_parted(self, begin, end):
        """Whether a keeper heard nothing of the owners of its copies, and so took over what they went on with."""
        return "takeover" in self.landed and any(
            trouble["end"] - trouble["begin"] >= LOST_AT_LEAST_SECONDS
            for host in self.record["nodes"]
            for trouble in self.troubles(host, ("cable",), begin, end)
        )

    # The jobs.

    def judge_wish(self, wish):
        runs = self.runs.get(wish["name"], [])
        self.verdict.count("submitted")
        self.verdict.count("runs", n=len(runs))
        ours = [run for run in runs if run.job_id == wish["job_id"]]
        for run in runs:
            if run.job_id != wish["job_id"]:
                self.judge_stray(wish, run)
        if wish["job_id"] is None:
            return
        self.verdict.count("acknowledged")
        if not any(run.ended for run in ours) and not self.may_end_unseen(wish, ours):
            self.verdict.count("lost", f"{wish['name']} ({wish['job_id']}) never ended: {ours}")
        self.judge_repeated(wish, ours)

    def judge_stray(self, wish, run):
        """A job that begins at once may run before it is durable, and then be forgotten together with the daemon. Nobody
        was told of it, and the client has asked again."""
        until = wish["acknowledged"] or float("inf")
        if wish["asked"] <= run.start + UNTOLD_SECONDS and run.start <= until and self.was_down(wish["host"], run.start):
            self.verdict.count("forgotten")
        else:
            self.verdict.count("unasked", f"{wish['name']} ran as {run.job_id}, accepted as {wish['job_id']}: {run}")

    def was_down(self, host, when):
        kinds = ("power", "down", "freeze", "stop")
        return bool(self.troubles(host, kinds, when - UNTOLD_SECONDS, when + UNTOLD_SECONDS))

    def may_end_unseen(self, wish, runs):
        """Whether its end is that nobody runs it again."""
        told = self.told_of(wish)
        lost = self.lost_with(wish, told, runs)
        if not lost or told.get("status") != "JOB_FAILED" or told.get("exit_code") is not None:
            return False
        if wish.get("on_node_loss") == "fail":
            return True
        # Until it begins again like all others: what the owner itself ran when its power went.
        if "requeue-own" not in self.landed and wish["host"] in lost:
            self.verdict.count("given_up")
            return True
        return False

    def lost_with(self, wish, told, runs):
        """The hosts with which it was lost: where it ran, and where it was sent, be it that it never got there."""
        lost = {run.host for run in runs if self.may_lose(run.host, run.start, run.last + UNTOLD_SECONDS)}
        sent_to = self.hosts.get(told.get("executor_node_id"))
        if self.may_lose(sent_to, wish["acknowledged"], float("inf")):
            lost.add(sent_to)
        if self.was_cut_off(wish["host"], wish["acknowledged"], float("inf")):
            lost |= ({run.host for run in runs} | {sent_to}) - {wish["host"]}
            if "takeover" in self.landed and wish.get("on_node_loss") == "fail":
                lost.add(wish["host"])
        # Whoever leaves in order hands its jobs over at once, and its keeper begins none that must not begin twice.
        # So does a keeper that heard nothing of it; what it said then counts, since the job did not end before.
        if "takeover" in self.landed and (
            self.troubles(wish["host"], ("down",), wish["acknowledged"], float("inf"))
            or self.somebody_was_parted(wish["acknowledged"], float("inf"))
        ):
            lost.add(wish["host"])
        return lost

    def judge_repeated(self, wish, runs):
        if len(runs) > 1:
            self.verdict.count("again")
        seen = collections.Counter((run.attempt, run.host) for run in runs)
        attempts = collections.Counter(attempt for attempt, _ in seen)
        wrong = [f"attempt {attempt} ran on more than one node" for attempt, n in attempts.items() if n > 1]
        wrong += [f"attempt {attempt} ran {n} times on {host}" for (attempt, host), n in seen.items() if n > 1]
        if wish.get("on_node_loss") == "fail" and len(runs) > 1:
            wrong.append("on_node_loss is fail")
        for run, again in itertools.pairwise(runs):
            if not self.may_begin_again(run, again, wish["host"]):
                wrong.append(f"{run} was lost to nobody, and then came {again}")
        if wrong:
            self.verdict.count("again_wrong", f"{wish['name']} ({wish['job_id']}): {'; '.join(wrong)}")
        for one, other in itertools.combinations(runs, 2):
            self.judge_overlap(wish, one, other)

    def judge_overlap(self, wish, one, other):
        """Two at once: only as long as one of them cannot be told."""
        begin, end = max(one.start, other.start), min(one.last, other.last)
        if begin >= end:
            return
        self.verdict.count("twice")
        parted = [
            trouble
            for host in {one.host, other.host, wish["host"]}
            for trouble in self.troubles(host, ISOLATES, begin, end)
        ]
        if not any(end <= trouble["end"] + self.grace() for trouble in parted):
            self.verdict.count("twice_wrong", f"{wish['name']} ({wish['job_id']}): {one} and {other}")

    # What the nodes told.

    def told_of(self, wish):
        for told in (self.record["told"].get(wish["host"], {}), *self.record["told"].values()):
            if wish["job_id"] in told:
                return told[wish["job_id"]]
        return {}

    def judge_told(self):
        for host, told in self.record["told"].items():
            again = self.record["told_again"].get(host, {})
            for wish in self.wishes.values():
                if wish["job_id"] is None or (wish["host"] != host and "calls" not in self.landed):
                    continue
                job, later = told.get(wish["job_id"]), again.get(wish["job_id"])
                wrong = self.what_is_wrong(wish, job)
                if not wrong and host in self.record["told_again"] and self.essence(job) != self.essence(later):
                    wrong = f"and later {self.essence(later)}"
                if wrong and self.may_differ(wish) and job and later and (job["status"], later["status"]) == (
                    self.told_of(wish)["status"],
                ) * 2:
                    self.verdict.count("differ")
                elif wrong:
                    self.verdict.count("told_wrong", f"{host} told of {wish['name']}: {wrong}; {self.essence(job)}")
        self.judge_agreement("told", "all nodes")
        self.judge_agreement("index", "the index of every node")

    def may_differ(self, wish):
        """Whether two owners may have told an end each, of which one counts: its status is told by both, and not yet the rest
        of it."""
        return (
            "takeover" in self.landed
            and "one-answer" not in self.landed
            and bool(self.was_cut_off(wish["host"], wish["acknowledged"], float("inf")))
        )

    @staticmethod
    def essence(job):
        names = ("status", "exit_code", "attempt", "executor_node_id")
        return job and tuple(job.get(name) for name in names)

    def what_is_wrong(self, wish, job):
        if not job:
            return "nothing"
        if job["status"] not in ENDED:
            return "it has not ended"
        if job["exit_code"] is None:
            runs = [run for run in self.runs.get(wish["name"], []) if run.job_id == wish["job_id"]]
            excused = job["status"] == "JOB_FAILED" and (
                wish.get("on_node_loss") == "fail" or "requeue-own" not in self.landed
            )
            return None if excused and self.lost_with(wish, job, runs) else "an end without exit status"
        status = "JOB_FAILED" if wish["exit_status"] else "JOB_COMPLETED"
        if (job["status"], job["exit_code"]) != (status, wish["exit_status"]):
            return f"should be {status} with {wish['exit_status']}"
        # Of an end that outlived everybody who had its run only the status is known, and that is said.
        unknown = job["executor_node_id"] is None and "lost with the node" in (job["error_message"] or "")
        if not any(
            run.ended and run.job_id == wish["job_id"] and
            (unknown or (run.attempt[1], run.host) == (job["attempt"], self.hosts.get(job["executor_node_id"])))
            for run in self.runs.get(wish["name"], [])
        ):
            return "no such run has ended there"
        if not unknown and job.get("stdout") != f"{wish['name']} begins\n{wish['name']} ends\n":
            return "not what it printed"
        return self.what_is_wrong_before(wish, job)

    def what_is_wrong_before(self, wish, job):
        """With the runs that did not decide how it ended. Who takes a job over need not know what its owner had begun."""
        if "takeover" in self.landed and self.was_cut_off(wish["host"], wish["acknowledged"], float("inf")):
            return None
        if self.somebody_was_parted(wish["acknowledged"], float("inf")):
            return None  # each of two owners knows the attempts of its own
        told = {(one["attempt"], self.hosts.get(one["node_id"])): one["exit_code"] for one in job.get("attempts", [])}
        for run in self.runs.get(wish["name"], []):
            if run.job_id != wish["job_id"] or run.attempt[1] == job["attempt"]:
                continue
            if (run.attempt[1], run.host) not in told:
                return f"nothing of {run}"
            if told[run.attempt[1], run.host] not in (None, run.exit_status):
                return f"{run} ended with {told[run.attempt[1], run.host]}"
        return None

    def judge_agreement(self, which, who):
        """Whoever tells of a job tells the same, which is what its owner tells."""
        ends = collections.defaultdict(lambda: collections.defaultdict(list))
        for host, told in self.record.get(which, {}).items():
            for job_id, job in told.items():
                ends[job_id][job["status"], job["exit_code"]].append(host)
        for wish in self.wishes.values():
            if wish["job_id"] is None or not self.record.get(which):
                continue
            said = ends[wish["job_id"]]
            if owner := self.told_of(wish):
                said[owner["status"], owner["exit_code"]].append("its owner")
            if self.may_differ(wish):
                said = {status: sum((said[end] for end in said if end[0] == status), []) for status, _ in said}
            known = {host for some in said.values() for host in some}
            missing = set(self.record["index"]) - known if which == "index" else set()
            if len(said) > 1 or missing:
                self.verdict.count(
                    "told_wrong", f"{wish['name']}: {who} should say the same: {dict(said)}; nothing: {sorted(missing)}"
                )

    # Who was said to be lost.

    def judge_losses(self):
        for loss in self.record["losses"]:
            when = loss["at"]
            cables = [self.troubles(loss["by"], ("cable",), when, when), self.troubles(loss["of"], ISOLATES, when, when)]
            if not any(trouble["begin"] <= when for trouble in itertools.chain(*cables)):
                self.verdict.count("false_alarms", f"{loss['by']} lost {loss['of']} at {when:.2f}")
        for trouble in self.record["troubles"]:
            # Who says goodbye is not lost.
            if trouble["what"] in ISOLATES and not trouble.get("announced"):
                self.judge_detection(trouble)

    def judge_detection(self, trouble):
        """How long it took others to lose the host. It may have come back, or have said goodbye, before that."""
        duration = trouble["end"] - trouble["begin"]
        for host in self.record["told"]:  # those that are on; the journals of others are not read
            away = self.troubles(host, ISOLATES, trouble["begin"], trouble["end"])
            if host == trouble["host"] or away:
                continue
            after = [
                loss["at"] - trouble["begin"]
                for loss in self.record["losses"]
                if (loss["by"], loss["of"]) == (host, trouble["host"]) and trouble["begin"] <= loss["at"]
            ]
            after = [delay for delay in after if delay <= duration]  # what comes later is of another trouble
            if after:
                self.verdict.detections.append(min(after))
            elif duration > self.record["detected_within"]:
                self.verdict.count(
                    "undetected", f"{host} did not lose {trouble['host']} in {duration:.1f} s of {trouble['what']}"
                )

    def judge(self):
        for wish in self.record["wishes"]:
            self.judge_wish(wish)
        for name, runs in self.runs.items():
            if name not in self.wishes:
                self.verdict.count("unasked", f"{name}: {runs}", n=len(runs))
        self.judge_told()
        self.judge_losses()
        self.verdict.problems[:0] = self.record["failures"]
        return self.verdict


def judge(record):
    return Judge(record).judge()

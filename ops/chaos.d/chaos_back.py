"""What comes back while everything dies: the providers report a part of what they accepted (delivery status notifications, abuse reports)
by SMTP to two bouncers, each report until it is taken, as a mail server does. Then the verdict: what was answered with 250 is on the topics,
matched to its mail and told once; whom it concerns is on the suppression list, put there once for each event."""
import hashlib
import heapq
import itertools
import random
import re
import smtplib
import subprocess
import threading
import time

from stack.returned import arf, dsn
from stack.stack import StackError

from chaos_world import BACK_DOMAIN, FEEDBACK_ADDRESS

SHARES = (("bounced_late", 50), ("complaint", 50))  # of a thousand recipients whose mail was accepted
TOPICS = {"bounced_late": "bounces", "complaint": "feedback"}
CLIENTS = 4
DELAY_S = 3.0          # a report comes so long after its mail at most
PATIENCE_S = 15        # of a client for an answer
AGAIN_S = (0.5, 5.0)   # before a report is tried again: first, at most
REPEATED = 0.05        # of what was taken comes once more: the 250 was lost on its way
SETTLE_S = 90
CLOCK = "expired"      # a worker whose clock was wrong signs for a wrong time: told, not believed
CAUSE = re.compile(rb"\x2a\x24([0-9a-f-]{36})")  # event_id of schemas/suppression.proto


def kind_of(recipient):
    """Always the same for the same recipient; None: no report."""
    place = int.from_bytes(hashlib.sha256(recipient.encode()).digest()[:4], "big") % 1000
    for kind, share in SHARES:
        if place < share:
            return kind
        place -= share
    return None


def reply_of(error):
    """Code of the reply, or 0: the link was lost."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return next(iter(error.recipients.values()))[0]
    return getattr(error, "smtp_code", 0)


class Report:
    __slots__ = ("kind", "recipient", "path", "tries", "taken")

    def __init__(self, kind, recipient, path):
        self.kind, self.recipient, self.path = kind, recipient, path
        self.tries = self.taken = 0

    def give(self, port):
        host = "mx1." + self.recipient.split("@")[1]
        if self.kind == "complaint":
            to, sender = FEEDBACK_ADDRESS, f"fbl@{host}"
            content = arf(to, host, self.recipient, f"Return-Path: <{self.path}>\nTo: {self.recipient}\n")
        else:
            to, sender, content = self.path, "", dsn(self.path, host, self.recipient)
        with smtplib.SMTP("127.0.0.1", port, local_hostname=host, timeout=PATIENCE_S) as session:
            session.sendmail(sender, [to], content)
            self.taken += 1


class Returns:
    """The providers' side: one report at most for a recipient."""

    def __init__(self, ports, seed):
        self.ports = ports
        self.random = random.Random(seed)
        self.condition = threading.Condition()
        self.due = []        # heap of (when, number, report)
        self.numbers = itertools.count()
        self.of = {}         # recipient -> report
        self.under_way = 0
        self.deferred = 0    # answers of 4xx, links lost
        self.repeated = 0
        self.refused = []
        self.last_taken = dict.fromkeys(ports, 0.0)
        self.ended = False
        self.threads = [threading.Thread(target=self._client, daemon=True) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def accepted(self, recipient, mail_from):
        """A provider has taken this mail of ours."""
        kind = kind_of(recipient)
        if kind is None or not mail_from.endswith("@" + BACK_DOMAIN) or recipient in self.of:
            return
        with self.condition:
            self.of[recipient] = Report(kind, recipient, mail_from)
            self._later(self.of[recipient], self.random.uniform(0, DELAY_S))

    def _later(self, report, seconds):
        heapq.heappush(self.due, (time.monotonic() + seconds, next(self.numbers), report))
        self.condition.notify()

    def _next(self):
        """The next report that is due, and the bouncer that it is tried at; None: there will be none."""
        with self.condition:
            while not self.ended:
                wait = self.due[0][0] - time.monotonic() if self.due else None
                if wait is not None and wait <= 0:
                    self.under_way += 1
                    return heapq.heappop(self.due)[-1], self.random.choice(self.ports)
                self.condition.wait(wait)
        return None

    def _client(self):
        while (found := self._next()) is not None:
            report, port = found
            before, code = report.taken, 0
            try:
                report.give(port)
            except (OSError, smtplib.SMTPException) as error:
                code = reply_of(error)
            self._answered(report, port, report.taken > before, code)

    def _answered(self, report, port, taken, code):
        with self.condition:
            self.under_way -= 1
            report.tries += 1
            if taken:
                self.last_taken[port] = time.time()
                if report.taken == 1 and self.random.random() < REPEATED:
                    self.repeated += 1
                    self._later(report, self.random.uniform(0, DELAY_S))
            elif code >= 500:
                self.refused.append(f"{report.kind} of {report.recipient}: {code}")
            else:
                self.deferred += 1
                self._later(report, min(AGAIN_S[1], AGAIN_S[0] * 2 ** min(report.tries, 8)))

    def open(self):
        with self.condition:
            return len(self.due) + self.under_way

    def end(self, seconds):
        """Waits until all have been taken; what has not is told."""
        deadline = time.monotonic() + seconds
        while self.open() and time.monotonic() < deadline:
            time.sleep(0.2)
        left = self.open()
        with self.condition:
            self.ended = True
            self.condition.notify_all()
        for thread in self.threads:
            thread.join()
        return left

    def taken(self):
        return [report for report in self.of.values() if report.taken]


def listed(stack):
    """(key, event id) of every record that put somebody on the list, in the topic's order."""
    done = subprocess.run(["kcat", "-C", "-b", stack.bootstrap, "-t", "sluice.suppression", "-o", "beginning", "-e", "-q", "-f", "%K\t%k%S\t%s"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise StackError(f"the suppression list cannot be read: {done.stderr.decode()[-300:]}")
    return list(parse_listed(done.stdout))


def parse_listed(data):
    """kcat's "%K\\t%k%S\\t%s": lengths stand before key and value."""
    at = 0

    def field():
        nonlocal at
        end = data.index(b"\t", at)
        begin, size = end + 1, max(0, int(data[at:end]))
        at = begin + size
        return data[begin:at]

    while at < len(data):
        key, value = field(), field()
        cause = CAUSE.search(value)
        if cause and b"/" in key:
            yield key.decode(), cause.group(1).decode()


class BackJudge:
    """`returned`: recipient -> {event id: event} of the topic log; `copies`: topic -> event ids; `entries`: as listed() gives them; `known`:
    the ids of all events about a recipient."""

    def __init__(self, reports, returned, copies, entries, known):
        self.reports, self.returned, self.copies, self.entries, self.known = reports, returned, copies, entries, known
        self.evidence = []

    def note(self, counts, what, recipient, more):
        counts[what] += 1
        if counts[what] <= 5:
            self.evidence.append({"what": what, "recipient": recipient, "more": more})

    def verdict(self):
        counts = dict.fromkeys(("returned", "returned_lost", "returned_twice", "returned_unmatched", "returned_out_of_time", "not_listed",
                                "listed", "listed_twice", "listed_without_cause"), 0)
        keys = {key for key, _ in self.entries}
        for report in self.reports:
            counts["returned"] += 1
            self.judge_report(counts, report, keys)
        seen = set()
        for key, cause in self.entries:
            recipient = key.split("/", 2)[2]
            counts["listed"] += 1
            if (key, cause) in seen:
                self.note(counts, "listed_twice", recipient, cause)
            elif cause not in self.known.get(recipient, ()):
                self.note(counts, "listed_without_cause", recipient, cause)
            seen.add((key, cause))
        return counts

    def judge_report(self, counts, report, keys):
        told = {i: e for i, e in self.returned.get(report.recipient, {}).items() if e["type"] == report.kind}
        if not told or not told.keys() <= self.copies[TOPICS[report.kind]]:
            self.note(counts, "returned_lost", report.recipient, {"kind": report.kind, "events": list(told)})
            return
        if len(told) > 1:
            self.note(counts, "returned_twice", report.recipient, list(told.values()))
        event = next(iter(told.values()))
        what = event[report.kind]
        if what.get("suspicious") == CLOCK:
            counts["returned_out_of_time"] += 1
        elif what.get("suspicious") or what.get("matched") != "verp" or not event.get("tenant"):
            self.note(counts, "returned_unmatched", report.recipient, event)
        elif f"{event['tenant']}//{report.recipient}" not in keys:
            self.note(counts, "not_listed", report.recipient, event)


def problems(counts):
    """In words what breaks the promise."""
    texts = {"returned_lost": "reports were taken with 250 and their events are not on the topics",
             "returned_twice": "reports were told as two events",
             "returned_unmatched": "reports were not matched to their mail",
             "not_listed": "recipients who complained or bounced are not on the suppression list",
             "listed_twice": "entries were put on the suppression list twice by the same event",
             "listed_without_cause": "entries of the suppression list are of no event that was told"}
    return [f"{counts[what]} {text}" for what, text in texts.items() if counts[what]]


def judge_back(stack, returns, events):
    """Waits until the list has everything, at most SETTLE_S; (counts, evidence)."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        copies = {topic: {event["event_id"] for event in stack.events(topic)} for topic in TOPICS.values()}
        with events.lock:
            returned = {recipient: dict(found) for recipient, found in events.returned.items()}
            known = {recipient: {tale[3] for tale in outcome.tale} for recipient, outcome in events.of.items()}
        judge = BackJudge(returns.taken(), returned, copies, listed(stack), known)
        counts = judge.verdict()
        if not (counts["returned_lost"] or counts["not_listed"]) or time.monotonic() > deadline:
            return counts, judge.evidence
        time.sleep(2)

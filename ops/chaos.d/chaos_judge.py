"""The verdict. What was accepted is taken from the providers' record; what became of everything, from the topic log; what was sent,
from the clients' own books. A worker's word counts only as far as it is an event on Kafka. A recipient without an outcome is looked for in
the queues, the delay tiers, dlq and uncertain before it is called lost (chaos_where.py)."""
import bisect
import json
import subprocess
import threading
import time

from chaos_world import POLICY

FINAL = ("delivered", "bounced", "expired", "dropped")
RETURNED = ("bounced_late", "complaint")
# The clock of a kill and those of the record are read by different processes; what was under way that close to it is counted.
KILL_SLACK_S = 0.1
EVIDENCE = 20
COUNTED = ("kills", "lost", "waiting", "due_later", "untold", "sent_twice", "uncertain", "claimed", "misreported", "late")  # in each round


class Outcome:
    __slots__ = ("kinds", "uncertain", "first_uncertain", "tale")

    def __init__(self):
        self.kinds = set()
        self.first_uncertain = 0.0
        self.uncertain = set()  # event ids: an event that is written again after a crash is the same event
        self.tale = []


class Events(threading.Thread):
    """Follows the topic log from its beginning."""

    def __init__(self, stack):
        super().__init__(daemon=True)
        self.of = {}  # recipient -> Outcome
        self.returned = {}  # recipient -> {event id: event}, of what came back
        self.lock = threading.Lock()
        argv = [stack.program("sluicectl"), "log", "--config", stack.config, "--from", "beginning", "--follow"]
        self.process = stack.spawn("events", argv, stdout=subprocess.PIPE)

    def run(self):
        for line in self.process.stdout:
            event = json.loads(line)
            recipient = event.get("recipient", "").lower()
            if not recipient:
                continue
            with self.lock:
                outcome = self.of.setdefault(recipient, Outcome())
                kind = event["type"]
                outcome.kinds.add(kind)
                if kind in RETURNED:
                    self.returned.setdefault(recipient, {})[event["event_id"]] = event
                if kind == "uncertain":
                    outcome.uncertain.add(event["event_id"])
                    outcome.first_uncertain = outcome.first_uncertain or event["time_ms"] / 1000
                outcome.tale.append((clock(event["time_ms"] / 1000), kind, event.get("worker", ""), event["event_id"]))


def finished(mail, outcome, completion):
    """Has it an outcome that stands? An uncertain one that is to be sent again has none yet."""
    if outcome is None:
        return False
    if outcome.kinds.intersection(FINAL):
        return True
    return bool(outcome.uncertain) and not (completion and POLICY[mail.stream] == "resend")


def wait_quiet(books, events, completion, seconds, say):
    """Until every acknowledged recipient has its outcome; those that have none at the end."""
    deadline = time.monotonic() + seconds
    missing = {recipient: mail for recipient, mail in books.mails.items() if mail.acknowledged}
    told = time.monotonic()
    while True:
        with events.lock:
            missing = {r: mail for r, mail in missing.items() if not finished(mail, events.of.get(r), completion)}
        if not missing or time.monotonic() > deadline or events.process.poll() is not None:
            return missing
        if time.monotonic() - told > 10:
            told = time.monotonic()
            say(f"  {len(missing)} recipients still without an outcome")
        time.sleep(0.5)


class Judge:
    """`kills`: (when, source address) of each; `broker_away`: (from, to); `redis_away`: (from, to), when resends could not be recognised;
    `places`: recipient -> where its records lie, of those without an outcome."""

    def __init__(self, books, record, events, rounds, kills, *, duplicates, broker_away, redis_away, places):
        self.books, self.record, self.events, self.rounds = books, record, events, rounds
        self.duplicates, self.broker_away, self.redis_away, self.places = duplicates, broker_away, redis_away, places
        self.evidence = []
        self.kill_times = {}
        for when, source in sorted(kills):
            self.kill_times.setdefault(source, []).append(when)

    def past_dot(self, accept):
        """Had the final dot of this one been sent when its sender was killed, and the answer not yet come? Or while the broker was away, so
        that whoever took over did not know?"""
        if any(start - KILL_SLACK_S <= accept.dot <= end for start, end in self.broker_away):
            return True
        times = self.kill_times.get(accept.source, ())
        i = bisect.bisect_left(times, accept.dot - KILL_SLACK_S)
        return i < len(times) and times[i] <= accept.time + KILL_SLACK_S

    def round_at(self, when):
        """The last round that had struck by then."""
        i = bisect.bisect_right([r["struck"] for r in self.rounds], when) - 1
        return self.rounds[max(i, 0)]

    def note(self, what, recipient, when):
        """Counts it for the fault of that time."""
        fault = self.round_at(when)
        fault[what] += 1
        if sum(e["what"] == what for e in self.evidence) < EVIDENCE:
            mail = self.books.mails.get(recipient)
            outcome = self.events.of.get(recipient)
            self.evidence.append({
                "what": what, "recipient": recipient, "round": fault["number"], "fault": fault["fault"], "detail": fault["detail"],
                "struck": clock(fault["struck"]),
                "mail": mail and {"test_id": mail.test_id, "id": mail.id, "stream": mail.stream, "way": mail.way, "tries": mail.tries,
                                  "published": clock(mail.published)},
                "accepted": [{"dot": clock(a.dot), "answer": clock(a.time), "source": a.source, "flag": a.flag,
                              "past_dot_at_kill": self.past_dot(a)} for a in self.record.of.get(recipient, ())],
                "events": outcome.tale if outcome else [],
                **({"places": self.places[recipient].text} if recipient in self.places else {}),
            })

    def copies(self, mail):
        """How many records of it there may be: SMTP knows no keys, and libsluice's are recognised only while Redis is there."""
        unguarded = any(start <= mail.published <= end for start, end in self.redis_away)
        return mail.tries if mail.way == "smtp" or unguarded else 1

    def allowed(self, mail, outcome):
        """How often it may have been accepted without anybody having sent it twice unawares."""
        copies = self.copies(mail)
        resent = len(outcome.uncertain) if outcome and POLICY[mail.stream] == "resend" else 0
        return copies + resent

    def verdict(self, missing):
        counts = dict.fromkeys(("messages", "unacknowledged", "lost", "waiting", "due_later", "untold", "sent_twice", "sent_twice_past_dot", "resubmitted",
                                "uncertain", "delivered", "bounced", "expired", "dropped", "claimed", "misreported"), 0)
        for recipient, mail in self.books.mails.items():
            counts["messages" if mail.acknowledged else "unacknowledged"] += 1
            outcome = self.events.of.get(recipient)
            accepts = self.record.of.get(recipient, ())
            kinds = outcome.kinds if outcome else set()
            if outcome and outcome.uncertain:
                counts["uncertain"] += 1
                self.round_at(outcome.first_uncertain)["uncertain"] += 1
            for kind in FINAL:
                counts[kind] += kind in kinds
            self.judge_copies(counts, recipient, mail, outcome, accepts)
            if "delivered" in kinds and not accepts:
                counts["claimed"] += 1
                self.note("claimed", recipient, mail.published)
            # What was sent again and held back, since the first one had come back, is the other copy's outcome.
            told = kinds.intersection(("delivered", "uncertain")) or ("dropped" in kinds and kinds.intersection(RETURNED))
            if accepts and mail.acknowledged and recipient not in missing and not told:
                counts["misreported"] += 1
                self.note("misreported", recipient, accepts[0].time)
        for recipient, mail in missing.items():
            place = self.places.get(recipient)
            what = place.kind if place else "lost"
            counts[what] += 1
            self.note(what, recipient, mail.published)
        counts["unknown_recipients"] = sum(recipient not in self.books.mails for recipient in self.record.of)
        counts["past_dot_at_kills"] = sum(any(self.past_dot(a) for a in accepts) for accepts in self.record.of.values())
        return counts

    def judge_copies(self, counts, recipient, mail, outcome, accepts):
        if len(accepts) < 2:
            return
        if len(accepts) <= self.allowed(mail, outcome):
            counts["resubmitted"] += self.copies(mail) > 1
            return
        counts["sent_twice"] += 1
        if any(self.past_dot(a) for a in accepts):
            counts["sent_twice_past_dot"] += 1
        self.note("sent_twice", recipient, sorted(a.time for a in accepts)[1])

    def problems(self, counts):
        """In words what breaks the promise; empty: it was kept."""
        found = []
        for what, text in (("lost", "acknowledged recipients have no outcome, and no record of them is left to send"),
                           ("waiting", "acknowledged recipients still wait in a topic though everything is quiet"),
                           ("untold", "acknowledged recipients lie in uncertain or dlq without an event that says so"),
                           ("claimed", "are delivered by our word but not by the providers' record"),
                           ("misreported", "were accepted and are told as neither delivered nor uncertain"),
                           ("unknown_recipients", "were accepted but nobody sent them")):
            if counts[what]:
                found.append(f"{counts[what]} {text}")
        bound = counts["past_dot_at_kills"] if self.duplicates == "rare" else 0
        if counts["sent_twice"] > bound:
            found.append(f"{counts['sent_twice']} recipients were sent twice without an uncertain event"
                         + (f", and only {bound} were past the dot at a kill or without a broker" if self.duplicates == "rare" else ""))
        return found


def clock(when):
    return time.strftime("%H:%M:%S", time.gmtime(when)) + f".{int(when * 1000) % 1000:03d}"


def percentile(values, share):
    """Nearest rank; None without values."""
    ordered = sorted(values)
    return round(ordered[max(0, -(-len(ordered) * share // 100) - 1)], 3) if ordered else None


def per_fault(rounds):
    """What happened from the striking of a fault on until the next one struck."""
    table = {}
    for one in rounds:
        entry = table.setdefault(one["fault"], {"rounds": 0, **dict.fromkeys(COUNTED, 0), "not_served": 0, "served": []})
        entry["rounds"] += 1
        for what in COUNTED:
            entry[what] += one[what]
        entry["not_served"] += len(one["not_served"])
        entry["served"] += one["served"]
    for entry in table.values():
        served = entry.pop("served")
        entry.update(served_again_s_p50=percentile(served, 50), served_again_s_p99=percentile(served, 99),
                     served_again_s_max=percentile(served, 100))
    return dict(sorted(table.items()))

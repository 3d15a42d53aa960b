"""What comes back days later, in a minute: the simulated providers write to the return paths of mail that they had accepted."""
import csv
import hashlib
import queue
import smtplib
import threading

from stack.returned import arf, auto_reply, dsn, leave

# Of a thousand recipients whose mail was accepted.
KINDS = (("bounced_late", 25), ("complaint", 10), ("unsubscribed", 10), ("auto_reply", 15))
CLIENTS = 4


def kind_of(recipient):
    """Always the same for the same recipient."""
    place = int.from_bytes(hashlib.sha256(recipient.encode()).digest()[:4], "big") % 1000
    for kind, share in KINDS:
        if place < share:
            return kind
        place -= share
    return None


def read_accepted(path):
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield row["recipient"], row["mail_from"]


class Backflow:
    """Sends a part of what was accepted back; `sent`: kind -> recipients."""

    def __init__(self, port, domain):
        self.port, self.domain = port, domain
        self.sent = {kind: set() for kind, _ in KINDS}
        self.problems = []
        self.todo = queue.Queue()

    def message(self, kind, recipient, path):
        """(envelope recipient, envelope sender, message)"""
        host = "mx1." + recipient.split("@")[1]
        if kind == "bounced_late":
            return path, "", dsn(path, host, recipient)
        if kind == "complaint":
            return f"fbl@{self.domain}", f"fbl@{host}", arf(f"fbl@{self.domain}", host, recipient, f"Return-Path: <{path}>\nTo: {recipient}\n")
        if kind == "unsubscribed":
            return f"leave@{self.domain}", recipient, leave(f"leave@{self.domain}", recipient)
        return path, "", auto_reply(path, recipient)

    def _client(self):
        while True:
            try:
                kind, recipient, path = self.todo.get_nowait()
            except queue.Empty:
                return
            to, sender, message = self.message(kind, recipient, path)
            try:
                with smtplib.SMTP("127.0.0.1", self.port, local_hostname="mx1." + recipient.split("@")[1], timeout=60) as session:
                    session.sendmail(sender, [to], message)
            except (OSError, smtplib.SMTPException) as error:
                self.problems.append(f"{kind} of {recipient} was not taken: {error}")

    def run(self, record):
        for recipient, path in read_accepted(record):
            kind = kind_of(recipient)
            if kind is not None:
                self.sent[kind].add(recipient)
                self.todo.put((kind, recipient, path))
        threads = [threading.Thread(target=self._client) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(len(recipients) for recipients in self.sent.values())


class Matches:
    """What the event topic tells of what came back, compared with what was sent back."""

    def __init__(self):
        self.messages = {}  # message id -> recipient
        self.told = {kind: {} for kind, _ in KINDS}
        self.unmatched = 0
        self.seen = set()

    def add(self, event):
        kind = event["type"]
        if kind in ("delivered", "uncertain"):
            self.messages[event["message_id"]] = event["recipient"]
        if kind not in self.told or event["event_id"] in self.seen:
            return
        self.seen.add(event["event_id"])
        told = event[kind]
        message = event.get("message_id", "")
        # Who writes to the list's address by hand names nobody but himself.
        known = kind == "unsubscribed" or (told.get("matched") == "verp" and self.messages.get(message) == event.get("recipient"))
        if not known or told.get("suspicious") or event.get("tenant") != "demo":
            self.unmatched += 1
        else:
            self.told[kind][event["recipient"]] = self.told[kind].get(event["recipient"], 0) + 1

    def judge(self, sent):
        """{kind: count, "unmatched": count, "problems": […]}"""
        problems = []
        for kind, recipients in sent.items():
            told = self.told[kind]
            if told.keys() != recipients:
                problems.append(f"{kind}: {len(recipients)} came back, {len(told)} were told")
            if any(count > 1 for count in told.values()):
                problems.append(f"{kind}: told more than once of a recipient")
        if self.unmatched:
            problems.append(f"{self.unmatched} events of what came back are not matched to a mail of ours")
        return {**{kind: len(told) for kind, told in self.told.items()}, "unmatched": self.unmatched, "problems": problems}

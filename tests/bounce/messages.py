"""Scores whole messages of the corpus: classes by recipient, and whether exactly those recipients were found that failed.

A third of the messages is held back: those whose file name has a SHA-256 with a first byte that is a multiple of three.
"""
import csv
import hashlib
import json
import os
import subprocess

SUPPRESSING = {"complaint", "opt-out", "unsubscribe"}  # to suppress these is right
NOT_FAILED = {"complaint", "auth-report", "auto-reply", "challenge-response", "not-a-bounce", "opt-out", "unsubscribe"}


def held_back(name):
    return hashlib.sha256(name.encode()).digest()[0] % 3 == 0


def read_labels(corpus):
    with open(os.path.join(corpus, "labels.tsv"), encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def answers_for(program, corpus):
    run = subprocess.run([program, "classify", "--json", os.path.join(corpus, "messages")], stdout=subprocess.PIPE, check=False)
    answers = {}
    for line in run.stdout.decode("utf-8").splitlines():
        answer = json.loads(line)
        answers[os.path.basename(answer["file"])] = answer
    return answers


def split(text, separator):
    return [word.strip() for word in (text or "").split(separator)]


def expected_of(row):
    """[(address or "", class, alternatives)], one for each class that the label tells apart."""
    classes = split(row["class"], ";")
    others = split(row["alt_classes"], ";")
    addresses = [address.lower() for address in split(row["recipients"], ",")]
    if len(classes) == 1:
        return [(addresses[0], classes[0], others[0])]
    return [(addresses[i] if i < len(addresses) else "", name, others[i] if i < len(others) else "")
            for i, name in enumerate(classes)]


def answer_for(answer, address, index):
    """What we say of this recipient: by address, else by place, else what the kind of the whole message means."""
    recipients = answer.get("recipients", [])
    for recipient in recipients:
        if address in (recipient["address"].lower(), recipient.get("original_recipient", "").lower()):
            return recipient
    if recipients:
        return recipients[min(index, len(recipients) - 1)]
    kind = answer.get("kind", "error")
    return {"class": "undetermined" if kind == "bounce" else kind, "disposition": "none"}


class Recipients:
    """Rows whose recipients somebody vouches for."""

    def __init__(self):
        self.rows = self.exact = self.silver_rows = self.silver_exact = 0
        self.wrong = []

    def add(self, row, answer):
        wanted = {address.lower() for address in split(row["recipients"], ",") if address}
        if not wanted or row["class"].split(";")[0] in NOT_FAILED:
            return
        found = {recipient["address"].lower() for recipient in answer.get("recipients", [])}
        exact = found == wanted
        if row["rcpt_from"].startswith("silver"):
            self.silver_rows += 1
            self.silver_exact += exact
        else:
            self.rows += 1
            self.exact += exact
        if not exact:
            self.wrong.append((row, sorted(wanted), sorted(found)))


def score(program, corpus, scores, is_scored):
    """Fills scores[part], of the caller's class Part."""
    answers = answers_for(program, corpus)
    for row in read_labels(corpus):
        part = "held" if held_back(row["file"]) else "seen"
        if part not in scores:
            continue
        answer = answers.get(row["file"], {})
        scores[part].add_recipients(row, answer)
        if not is_scored(row):
            continue
        for index, (address, name, others) in enumerate(expected_of(row)):
            found = answer_for(answer, address, index)
            if name in SUPPRESSING and found["class"] == name:
                found = dict(found, disposition="none")
            scores[part].add(dict(row, **{"class": name, "alt_classes": others}), found)

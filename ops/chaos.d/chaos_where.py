"""Where recipients without an outcome are: their records in the queues, the delay tiers, dlq and uncertain (sluice-where). What lies at or
above the group's committed offset is still to be sent; below it nobody looks again."""
import subprocess
import time

KEPT = 20  # records told of one recipient


def is_live(row):
    return row[0] not in ("uncertain", "dlq") and int(row[2]) >= int(row[3])


def is_due_later(row):
    """As the clock of the worker said that deferred it."""
    return int(row[6] or 0) > time.time() * 1000


def held_from(rows):
    """(topic, partition) -> the first offset that is due later: a tier holds all that follows it, whenever that is due. Only clocks that
    disagree bring them into that order."""
    held = {}
    for row in rows:
        if is_live(row) and is_due_later(row):
            place = tuple(row[:2])
            held[place] = min(held.get(place, int(row[2])), int(row[2]))
    return held


class Place:
    def __init__(self, rows, held):
        self.text = [f"{topic}/{partition}/{offset} committed={committed} attempt={attempt or '-'} due_ms={due or '-'}"
                     for topic, partition, offset, committed, _, attempt, due in rows[-KEPT:]]
        topics = {row[0] for row in rows}
        live = [row for row in rows if is_live(row)]
        if live and all(is_due_later(row) or int(row[2]) > held.get(tuple(row[:2]), int(row[2])) for row in live):
            self.kind = "due_later"
        elif live:
            self.kind = "waiting"
        elif topics & {"uncertain", "dlq"}:
            self.kind = "untold"
        else:
            self.kind = "lost"


def where(stack, recipients):
    """recipient -> Place; of all that have a record anywhere."""
    if not recipients:
        return {}
    done = subprocess.run([stack.program("sluice-where"), "--config", stack.config], input="\n".join(recipients) + "\n", text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        return {}  # without it everything counts as lost
    rows = {}
    for line in done.stdout.splitlines():
        recipient, *row = line.split("\t")
        rows.setdefault(recipient, []).append(row)
    held = held_from([row for found in rows.values() for row in found])
    return {recipient: Place(found, held) for recipient, found in rows.items()}

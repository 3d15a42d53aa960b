"""Where recipients without an outcome are: their records in the queues, the delay tiers, dlq and uncertain (sluice-where). What lies at or
above the group's committed offset is still to be sent; below it nobody looks again."""
import subprocess

KEPT = 20  # records told of one recipient


class Place:
    def __init__(self, rows):
        self.text = [f"{topic}/{partition}/{offset} committed={committed} attempt={attempt or '-'} due_ms={due or '-'}"
                     for topic, partition, offset, committed, _, attempt, due in rows[-KEPT:]]
        topics = {row[0] for row in rows}
        if any(row[0] not in ("uncertain", "dlq") and int(row[2]) >= int(row[3]) for row in rows):
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
    return {recipient: Place(found) for recipient, found in rows.items()}

"""What became of every recipient: taken from the event topic, compared with what the providers have recorded."""
import csv

FINAL = ("delivered", "bounced", "expired", "dropped", "uncertain")


class Account:
    """Outcomes by recipient address; every recipient of a run has an address of its own."""

    def __init__(self, recipients):
        self.expected = set(recipients)
        self.outcomes = {}   # recipient -> list of final event types
        self.deferred = set()
        self.unknown = 0     # events about recipients that nobody sent to
        self.sites = {}      # site -> {type: count}
        self.seen = set()    # event ids: a record that was read twice tells the same event twice

    def add(self, event):
        kind = event["type"]
        recipient = event.get("recipient", "")
        if not recipient or kind not in FINAL + ("deferred",) or event["event_id"] in self.seen:
            return
        self.seen.add(event["event_id"])
        site = self.sites.setdefault(event.get("site") or "(no site)", {})
        site[kind] = site.get(kind, 0) + 1
        if recipient not in self.expected:
            self.unknown += 1
        elif kind == "deferred":
            self.deferred.add(recipient)
        else:
            self.outcomes.setdefault(recipient, []).append(kind)

    def finished(self):
        return len(self.outcomes)

    def waiting(self):
        return len(self.expected) - len(self.outcomes)

    def counts(self):
        totals = dict.fromkeys(FINAL, 0)
        for kinds in self.outcomes.values():
            for kind in kinds:
                totals[kind] += 1
        return totals

    def judge(self, record_file):
        """The accounting as a dict; `problems` lists in words what is wrong (empty: all is well)."""
        accepted, silent = read_record(record_file)
        totals = self.counts()
        problems = []

        def complain(text, addresses):
            if addresses:
                problems.append(f"{len(addresses)} {text}, such as {sorted(addresses)[0]}")
        missing = self.expected - self.outcomes.keys()
        complain("recipients have no outcome", missing)
        complain("recipients have more than one outcome", {r for r, kinds in self.outcomes.items() if len(kinds) > 1})
        delivered = {r for r, kinds in self.outcomes.items() if "delivered" in kinds}
        uncertain = {r for r, kinds in self.outcomes.items() if "uncertain" in kinds}
        complain("are delivered by our word but not by the providers' record", delivered - accepted.keys())
        complain("were accepted by a provider and are neither delivered nor uncertain",
                 {r for r in accepted if r in self.expected} - delivered - uncertain)
        twice = {r for r, count in accepted.items() if count > 1}
        complain("were accepted more than once", twice)
        complain("were accepted but nobody sent them", accepted.keys() - self.expected)
        # Uncertain and never accepted is honest: the link broke after our final dot, before the provider had read it.
        complain("are uncertain though the provider had answered", (uncertain & accepted.keys()) - silent)
        return {
            "messages": len(self.expected),
            **totals,
            "deferred_at_least_once": len(self.deferred),
            "unaccounted": len(missing),
            "sent_twice": len(twice),
            "accepted_by_providers": sum(accepted.values()),
            "per_site": {name: dict(sorted(kinds.items())) for name, kinds in sorted(self.sites.items())},
            "problems": problems,
        }


def read_record(path):
    """The simulator's record: {recipient: times accepted}, and those accepted without a reply or cut off."""
    accepted, silent = {}, set()
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            accepted[row["recipient"]] = accepted.get(row["recipient"], 0) + 1
            if row["flag"] != "ok":
                silent.add(row["recipient"])
    return accepted, silent

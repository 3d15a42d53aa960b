"""What the simulated providers have written down, followed while they write. Times are this machine's clock in seconds since 1970."""
import collections
import datetime
import threading

PROBES_KEPT = 400  # of each partition: several minutes


class Accept:
    """One accepted recipient: when its answer was given, when the final dot had come, from which address, with which flag."""
    __slots__ = ("time", "dot", "source", "flag")

    def __init__(self, time, dot, source, flag):
        self.time, self.dot, self.source, self.flag = time, dot, source, flag


def seconds(text):
    return datetime.datetime.fromisoformat(text).timestamp()


def probe_id(stream, shard, now):
    return f"probe:{stream}:{shard}:{int(now * 1000)}"


class Record(threading.Thread):
    """`accepted(recipient, mail_from)` is called for each that is no probe."""

    def __init__(self, path, accepted):
        super().__init__(daemon=True)
        self.accepted = accepted
        self.lock = threading.Lock()
        self.of = {}       # recipient -> [Accept]
        self.probes = {}   # (stream, shard) -> deque of (published, accepted, source)
        self.ended = threading.Event()
        self.file = open(path, encoding="utf-8", newline="")
        self.columns = self.file.readline().rstrip("\n").split("\t")
        self.half = ""

    def run(self):
        while not self.ended.wait(0.05):
            self.take()

    def take(self):
        """All that is there now."""
        with self.lock:
            lines = (self.half + self.file.read()).split("\n")
            self.half = lines.pop()
            for line in lines:
                self.add(dict(zip(self.columns, line.split("\t"))))

    def add(self, row):
        accept = Accept(seconds(row["time"]), seconds(row["dot_time"]), row["source"], row["flag"])
        self.of.setdefault(row["recipient"].lower(), []).append(accept)
        if row["message_id"].startswith("probe:"):
            _, stream, shard, published_ms = row["message_id"].split(":")
            seen = self.probes.setdefault((stream, int(shard)), collections.deque(maxlen=PROBES_KEPT))
            seen.append((int(published_ms) / 1000, accept.time, accept.source))
        else:
            self.accepted(row["recipient"].lower(), row["mail_from"])

    def owner(self, partition, before):
        """From which address the last probe of the partition came that was accepted before that time; None: none."""
        with self.lock:
            seen = [(accepted, source) for _, accepted, source in self.probes.get(partition, ()) if accepted < before]
        return max(seen)[1] if seen else None

    def first_served(self, partition, since, published=None):
        """When a probe that was published after that (else after `since`) was first accepted after `since`; None: not yet."""
        after = since if published is None else published
        with self.lock:
            seen = [accepted for told, accepted, _ in self.probes.get(partition, ()) if told > after and accepted > since]
        return min(seen, default=None)

    def stop(self):
        self.ended.set()
        self.join()
        self.take()
        self.file.close()

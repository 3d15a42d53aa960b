"""What measurements against simulated providers share: a stack of workers before them, mail into it, and what arrived by the providers' own record."""
import datetime
import os
import time

from stack.stack import StackError, free_port, rss_kb
from stack.world import sim_config, sluice_config, zones

PATIENT = "retry: [15m, 30m, 1h]\nbounce-after: 72h\n"
UNIT_S = 30  # of the delay tiers, as in production


def start(stack, world, workers, *, tenants="", extra="", default_site=PATIENT):
    """Everything but the workers; gives their names. Each holds a VIP of its own."""
    stack.start_dns(zones(world))
    sim_port = free_port()
    vips = [f"vip{i + 1}" for i in range(workers)]
    text = sluice_config(world, stack, vips, sim_port, 1, default_site=default_site, tenants=tenants)
    stack.write_config(text.replace("  tier-unit: 1s ", f"  tier-unit: {UNIT_S}s ") + extra)
    stack.create_topics()
    stack.start_sim(sim_config(world, stack, sim_port))
    return [f"worker{i + 1}" for i in range(workers)]


def start_workers(stack, names, seconds=60):
    """`seconds` for one to have partitions; then until the last one to join has settled."""
    before = {name: log_size(stack, name) for name in names}
    for i, name in enumerate(names):
        stack.start_worker(name, [f"vip{i + 1}"])
    for name in names:
        stack.wait_for(f"{name} to get partitions", lambda n=name: "event=partitions-assigned" in log_from(stack, n, before[n]), seconds, name)


def log_size(stack, name):
    path = stack.path(name + ".log")
    return os.path.getsize(path) if os.path.exists(path) else 0


def log_from(stack, name, offset):
    with open(stack.path(name + ".log"), encoding="utf-8", errors="replace") as file:
        file.seek(offset)
        return file.read()


def peak_mb(stack, names):
    return max(rss_kb(stack.processes[name].pid) for name in names) // 1024


def publish(stack, name, recipients, *, tenant="demo", stream="bulk"):
    """`recipients`: an iterable of addresses."""
    path, message = stack.path(name + ".csv"), stack.path("message.eml")
    with open(path, "w", encoding="ascii") as file:
        file.write("email\n")
        file.writelines(address + "\n" for address in recipients)
    with open(message, "w", encoding="ascii", newline="") as file:
        file.write("From: a@sender.test\r\nSubject: bench\r\n\r\nHello\r\n")
    stack.ctl("publish", "--config", stack.config, "--from", "bounce@sender.test", "--recipients", path, "--message", message,
              "--tenant", tenant, "--campaign", "bench", "--stream", stream)
    os.unlink(path)


class Record:
    """Follows what the providers have accepted: (time, provider, recipient) in the order of the file."""

    def __init__(self, stack):
        self.path = stack.path("accepted.tsv")
        self.offset = 0
        self.days = {}
        self.entries = []

    def seconds(self, text):
        """RFC 3339 to seconds; the day's part is remembered, as there are millions of lines."""
        day = text[:10]
        if day not in self.days:
            self.days[day] = datetime.datetime.fromisoformat(day + "T00:00:00+00:00").timestamp()
        return self.days[day] + int(text[11:13]) * 3600 + int(text[14:16]) * 60 + float(text[17:].rstrip("Z"))

    def read(self):
        """What is new."""
        fresh = []
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            whole, _, _ = file.read().rpartition(b"\n")
        self.offset += len(whole) + 1 if whole else 0
        for line in whole.decode().split("\n") if whole else ():
            fields = line.split("\t")
            if len(fields) == 12 and fields[0] != "time":
                fresh.append((self.seconds(fields[11]), fields[1], fields[3]))
        self.entries += fresh
        return fresh

    def wait(self, what, wanted, count, seconds, look=lambda: None):
        """Until so many entries for which wanted(provider, recipient) is true have come, from now on; gives their times in order."""
        times, deadline = [], time.monotonic() + seconds
        while len(times) < count:
            if time.monotonic() > deadline:
                raise StackError(f"{what}: {len(times)} of {count} after {seconds} s")
            look()
            time.sleep(0.2)
            times += [at for at, provider, recipient in self.read() if wanted(provider, recipient)]
        return sorted(times)


def percentile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else float("nan")

"""Limits of the cluster: how much of one is used by several workers, and how much more than it arrives, by the provider's own time stamps."""
import json
import os
import signal
import time

import bench_sim
from bench_sim import Record
from stack.stack import StackError
from stack.world import Provider, World

DOMAINS = 32  # mail is given to workers by its domain
# Name, keys of the site, limit, interval in seconds, how long it is measured.
CASES = (
    ("1000/s", "max-msg-rate: 1000/s\n", 1000, 1, 20),
    ("100/s", "max-msg-rate: 100/s\n", 100, 1, 30),
    ("700/10s", "max-msg-rate: 700/10s\n", 700, 10, 40),
    ("30/min", "max-msg-rate: 30/m\n", 30, 60, 180),
    ("5 connections", "max-smtp-out: 5\nreserved-connections: 0\n", 5, None, 20),
    ("100/s with 5 connections", "max-msg-rate: 100/s\nmax-smtp-out: 5\n", 100, 1, 40),
)
LATENCY_MS = 20
SETTLED_S = 2         # shares are settled
MORE = 1.6            # so much more is published than is due in that time, so that nearly all workers have some until its end
MORE_SLOW = 4         # … of what is slower than a mail in a second: the few that a worker has are unevenly many


def world():
    return World(providers=[
        Provider(f"case{i}", [f"127.0.10.{i + 1}"], [f"case{i}d{k:02}.test" for k in range(DOMAINS)], 1,
                 f"profile: postfix\nlatency: {{{{message: {LATENCY_MS}ms}}}}\n", site)
        for i, (_, site, _, _, _) in enumerate(CASES)], extra_domains={})


def most_within(times, interval):
    most = first = 0
    for i, now in enumerate(times):
        while times[first] <= now - interval:
            first += 1
        most = max(most, i - first + 1)
    return most


def measure(stack, say, number, workers):
    name, _, limit, interval, seconds = CASES[number]
    due = limit * seconds / interval if interval else limit * seconds * 1000 / LATENCY_MS * 0.8
    slow = due < seconds
    count = int((MORE_SLOW if slow else MORE) * due)
    record = Record(stack)
    bench_sim.publish(stack, f"case{number}", (f"u{i}@case{number}d{i % DOMAINS:02}.test" for i in range(count)))
    # A machine that is too slow is measured as it is; what is left of the slow one disturbs nobody.
    deadline = time.monotonic() + (seconds if slow else 2 * MORE * seconds) + 20
    times = []
    while len(times) < count and time.monotonic() < deadline:
        time.sleep(0.5)
        record.read()
        times = sorted(at for at, provider, _ in record.entries if provider == f"case{number}")
    if len(times) < 10:
        raise StackError(f"{name}: only {len(times)} messages arrived")
    counted = [at for at in times if SETTLED_S <= at - times[0] < seconds]
    lasted = counted[-1] - counted[0]
    row = {"limit": name, "workers": workers, "messages": len(times), "seconds": round(lasted, 1), "per_second": round((len(counted) - 1) / lasted, 1)}
    if interval:
        most = most_within(times, interval)
        row.update(use=round((len(counted) - 1) / (limit * lasted / interval), 3), most=most, over=round(max(0, most - limit) / limit, 3))
    else:
        stack.processes["sim"].send_signal(signal.SIGUSR1)  # it writes its summary
        time.sleep(0.5)
        most = most_connections(stack, number)
        busy = connected(record, f"case{number}", counted[0], counted[-1])
        row.update(use=round(busy / lasted / limit, 3), most=most, over=round(max(0, most - limit) / limit, 3))
    say(f"  {name:26}{row['per_second']:>9.1f}/s   use {100 * row['use']:5.1f} %   most {row['most']:>5} of {limit:<5} over {100 * row['over']:.1f} %")
    return row


def connected(record, name, begin, end):
    """Seconds from the first mail of each connection until the reply to its last one, together, within the two times."""
    spans = {}
    with open(record.path, encoding="utf-8") as file:
        for fields in (line.rstrip("\n").split("\t") for line in file):
            if len(fields) == 12 and fields[1] == name:
                first, last = record.seconds(fields[11]), record.seconds(fields[0])
                before = spans.get(fields[7], (first, last))
                spans[fields[7]] = (min(first, before[0]), max(last, before[1]))
    return sum(max(0, min(last, end) - max(first, begin)) for first, last in spans.values())


def most_connections(stack, number):
    with open(stack.path("sim.json"), encoding="utf-8") as file:
        return next(p["most_connections"] for p in json.load(file)["providers"] if p["name"] == f"case{number}")


def bench_limits(stack, options, say):
    names = bench_sim.start(stack, world(), options.workers)
    bench_sim.start_workers(stack, names)
    time.sleep(5)  # until the last one to join has settled
    say(f"{options.workers} workers, one limit, {os.cpu_count()} cores; 5 connections to a provider that takes {LATENCY_MS} ms for a message")
    return {"rows": [measure(stack, say, i, options.workers) for i in range(len(CASES))]}

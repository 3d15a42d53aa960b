"""ops/bench priority: how long transactional mail takes to its first attempt, without and with bulk mail that waits for the same sites and VIPs."""
import subprocess
import threading
import time

import bench_sim
from bench_sim import Record, percentile
from stack.stack import StackError
from stack.world import Provider, World

WORKERS = 2
DOMAINS = 32
LATENCY_MS = 100
# Name, what its site is held to, and what that is of.
SITES = (("connections", "max-smtp-out: 50\nmax-connections-per-lane: 50\n", "50 connections, 100 ms for a message"),
         ("rate", "max-msg-rate: 400/s\n", "400/s, 100 ms for a message"))
RATE = 20            # transactional mails a second to each site
SECONDS = 30
SETTLED = 5          # seconds before it is measured
LIST = ("nothing", "moving", "waiting")


def domains(site):
    return [f"{site}{i:02}.test" for i in range(DOMAINS)]


def world():
    return World(providers=[Provider(name, [f"127.0.11.{i + 1}"], domains(name), 1,
                                     f"profile: postfix\nlatency: {{{{message: {LATENCY_MS}ms}}}}\n", keys)
                            for i, (name, keys, _) in enumerate(SITES)], extra_domains={})


class Stream:
    """Transactional mail at a steady pace; each address says when its mail was given to libsluice."""

    def __init__(self, stack):
        self.process = subprocess.Popen([stack.program("sluice-feed"), "--config", stack.config], stdin=subprocess.PIPE,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.sent = 0
        self.thread.start()

    def run(self):
        pause, due = 1 / (RATE * len(SITES)), time.monotonic()
        while not self.stop.wait(max(0, due - time.monotonic())):
            name = SITES[self.sent % len(SITES)][0]
            given = time.time_ns() // 1000
            address = f"t{given}x{self.sent}@{domains(name)[self.sent // len(SITES) % DOMAINS]}"
            self.process.stdin.write(f"t{given}x{self.sent}\ttx\tdemo\t1000\t{address}\n")
            self.process.stdin.flush()
            self.sent += 1
            due += pause

    def end(self):
        self.stop.set()
        self.thread.join()
        self.process.stdin.close()
        self.process.wait()


def measure(stack, record, seconds):
    """Site -> milliseconds from the time at which a mail was given to libsluice until the provider had all of it."""
    record.read()
    stream = Stream(stack)
    waits, began = {name: [] for name, _, _ in SITES}, time.time()
    try:
        time.sleep(SETTLED + seconds)
    finally:
        stream.end()
    got, deadline = 0, time.monotonic() + 60
    while got < stream.sent:
        if time.monotonic() > deadline:
            raise StackError(f"{got} of {stream.sent} transactional mails have arrived\n{stack.log_tail('worker1')}")
        time.sleep(0.2)
        for at, provider, recipient in record.read():
            if recipient[0] == "t":
                got += 1
                given = int(recipient[1:].split("x")[0]) / 1e6
                if given >= began + SETTLED:
                    waits[provider].append((at - given) * 1000)
    return waits


def taken(stack, names):
    """Records that the workers have taken, as they say each ten seconds."""
    total = 0
    for name in names:
        found = [line for line in bench_sim.log_from(stack, name, 0).splitlines() if "event=stats" in line]
        total += int(found[-1].split(" taken=")[1].split()[0]) if found else 0
    return total


def tell(say, phase, waits, base):
    rows = []
    for name, _, what in SITES:
        row = {"site": what, "bulk": phase, "mails": len(waits[name])}
        for part, key in ((0.5, "p50_ms"), (0.99, "p99_ms")):
            row[key] = round(percentile(waits[name], part), 1)
            row[key + "_ratio"] = round(row[key] / percentile(base[name], part), 2)
        say(f"  {what:40} bulk {phase:9} p50 {row['p50_ms']:8.1f} ms ({row['p50_ms_ratio']:.2f})   p99 {row['p99_ms']:8.1f} ms ({row['p99_ms_ratio']:.2f})")
        rows.append(row)
    return rows


def bench_priority(stack, options, say):
    names = bench_sim.start(stack, world(), WORKERS)
    bench_sim.start_workers(stack, names)
    record = Record(stack)
    time.sleep(SETTLED)
    base = measure(stack, record, SECONDS)
    rows = tell(say, LIST[0], base, base)
    before = taken(stack, names)
    for name, _, _ in SITES:
        bench_sim.publish(stack, name, (f"b{i}@{domains(name)[i % DOMAINS]}" for i in range(options.messages)))
    rows += tell(say, LIST[1], measure(stack, record, SECONDS), base)
    total = len(SITES) * options.messages
    stack.wait_for("workers to have read all bulk mail", lambda: taken(stack, names) >= before + total, 900)
    rows += tell(say, LIST[2], measure(stack, record, SECONDS), base)
    record.read()
    sent = sum(recipient[0] == "b" for _, _, recipient in record.entries)
    say(f"  {total} bulk mails were published for both sites, {sent} of them have been sent meanwhile")
    return {"rows": rows, "bulk_each": options.messages, "bulk_sent": sent}

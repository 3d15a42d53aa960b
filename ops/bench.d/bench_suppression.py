"""ops/bench suppression: the list in memory, a worker's cold start with it, and how long a complaint takes to reach every worker."""
import json
import os
import smtplib
import subprocess
import sys
import threading
import time
import uuid

from stack.returned import arf
from stack.stack import ROOT, StackError, cpu_seconds, free_port, rss_kb
from stack.verp import Facts, Signer

sys.path.insert(0, os.path.join(ROOT, "tests", "e2e", "lib"))
import records  # noqa: E402

DOMAIN = "back.sender.test"
FBL = f"fbl@{DOMAIN}"
SECRET = "the secret of a benchmark"
MAIL_DOMAIN = "bench.test"
WORKERS = 4
SHARDS = 8
PROBE_EVERY = 0.02  # seconds between two mails to one worker


def write_config(stack, sink_port, bouncer_port):
    vips = "".join(f"  - {{name: v{i}, source-ipv4: 127.0.2.{i + 1}, ehlo-name: v{i}.sender.test}}\n" for i in range(WORKERS))
    stack.write_config(f"""\
kafka: {{bootstrap-servers: "{stack.bootstrap}", shards: {SHARDS}, event-partitions: 8, slots: 8}}
redis: {{host: 127.0.0.1, port: {stack.redis_port}}}
dns: {{servers: ["{stack.dns}"]}}
vips:
{vips}pools: [{{name: main, members: [{", ".join(f"v{i}" for i in range(WORKERS))}]}}]
sites: [{{name: default, default-smtp-port: {sink_port}}}]
streams: [{{name: bulk, class: bulk, pool: main, verp: true}}]
verp: {{domains: [{DOMAIN}], keys: [{{id: 0, secret: "{SECRET}"}}]}}
bouncer:
  listeners: ["127.0.0.1:{bouncer_port}"]
  host-name: mx.{DOMAIN}
  addresses: [{{address: {FBL}, kind: feedback}}]
""")
    stack.create_topics()


def in_memory(stack, entries):
    done = subprocess.run([os.path.join(os.path.dirname(stack.bin), "tests", "suppress_bench"), "set", str(entries)], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def fill_list(stack, entries):
    """By sluicectl, like an operator who moves to Sluice with his list."""
    path = stack.path("list.csv")
    with open(path, "w", encoding="utf-8") as file:
        file.write("email,tenant\n")
        for first in range(0, entries, 10000):
            file.writelines(f"user{i:010}@list.test,bench\n" for i in range(first, min(entries, first + 10000)))
    began = time.monotonic()
    stack.ctl("suppression", "import", "--config", stack.config, path)
    os.unlink(path)
    return time.monotonic() - began


def start_workers(stack, say):
    """The first one alone: its cold start is what is measured."""
    began = time.monotonic()
    stack.start_worker("worker0", ["v0"])
    stack.wait_worker("worker0", 600)
    cold = time.monotonic() - began
    pid = stack.processes["worker0"].pid
    cpu = cpu_seconds(pid)
    say(f"  a worker has its partitions {cold:.1f} s after its start ({cpu:.1f} s of CPU); {rss_kb(pid) // 1024} MB", flush=True)
    for i in range(1, WORKERS):
        stack.start_worker(f"worker{i}", [f"v{i}"])
    for i in range(1, WORKERS):
        stack.wait_worker(f"worker{i}", 600)
    return cold, cpu


class Probes:
    """Mail to one recipient into every partition of the stream, so that every worker meets it again and again."""

    def __init__(self, stack, recipient):
        self.stop = threading.Event()
        self.threads = []
        content = b"From: news@sender.test\r\nSubject: probe\r\n\r\nprobe\r\n"
        value = records.message([recipient], content, tenant="bench", mail_from="news@sender.test", campaign="probe")
        for partition in range(SHARDS):
            argv = ["kcat", "-P", "-b", stack.bootstrap, "-t", "sluice.q.bulk", "-p", str(partition), "-D", "<<end>>", "-X", "linger.ms=1"]
            process = subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
            self.threads.append(threading.Thread(target=self.run, args=(process, value + b"<<end>>")))
            self.threads[-1].start()

    def run(self, process, value):
        while not self.stop.wait(PROBE_EVERY):
            process.stdin.write(value)
            process.stdin.flush()
        process.stdin.close()
        process.wait()

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def complain(port, recipient, facts):
    """An abuse report by SMTP; gives the time at which it was acknowledged."""
    path = Signer(SECRET).local_part(str(uuid.uuid4()), recipient, facts, MAIL_DOMAIN) + "@" + DOMAIN
    with smtplib.SMTP("127.0.0.1", port) as smtp:
        smtp.sendmail("fbl@provider.test", [FBL], arf(FBL, "provider.test", recipient, f"Return-Path: <{path}>\nFrom: news@sender.test\n"))
        return time.time() * 1000


def effect(stack, bouncer_port, say):
    recipient = f"complains@{MAIL_DOMAIN}"
    facts = Facts("bench", "probe", vip="v0")
    subprocess.run(["kcat", "-b", stack.bootstrap, "-P", "-t", "sluice.facts", "-k", facts.key], input=facts.value, check=True,
                   stderr=subprocess.DEVNULL)
    stack.start_bouncer(bouncer_port)
    stack.wait_for("the builder", lambda: stack.log_has("bouncer", "event=suppression-builder "), 600, "bouncer")
    probes = Probes(stack, recipient)
    try:
        time.sleep(5)
        at = complain(bouncer_port, recipient, facts)
        time.sleep(5)
    finally:
        probes.end()
    time.sleep(3)
    held, late = {}, {}
    for event in stack.events():
        if event.get("recipient") == recipient and event["type"] == "dropped":
            held.setdefault(event["worker"], event["time_ms"] - at)
        elif event.get("recipient") == recipient and event["type"] == "delivered":
            late[event["worker"]] = max(late.get(event["worker"], -1e9), event["time_ms"] - at)
    if len(held) < WORKERS:
        raise StackError(f"only {sorted(held)} of {WORKERS} workers held the mail back; delivered by {sorted(late)}\n{stack.log_tail('bouncer')}")
    slowest = max(held.values())
    say(f"  from the 250 to a complaint until each of {WORKERS} workers holds the mail back: at most {slowest:.0f} ms "
        f"({', '.join(f'{ms:.0f}' for ms in sorted(held.values()))})")
    return {"workers": WORKERS, "first_held_ms": sorted(round(ms) for ms in held.values()), "last_sent_ms": round(max(late.values()))}


def bench_suppression(bench, options):
    stack, say = bench.stack, print
    result = {"set": in_memory(stack, options.entries)}
    say(f"the set, {options.entries} entries: {json.dumps(result['set'])}", flush=True)
    bouncer_port = free_port()
    bench.open_sink()
    write_config(stack, bench.sink_port, bouncer_port)
    result["listed"] = options.listed
    result["import_per_second"] = round(options.listed / fill_list(stack, options.listed))
    say(f"  {options.listed} entries imported at {result['import_per_second']}/s", flush=True)
    cold, cpu = start_workers(stack, say)
    result["cold_start_s"], result["cold_start_cpu_s"] = round(cold, 1), round(cpu, 1)
    result["worker_rss_mb"] = round(rss_kb(stack.processes["worker0"].pid) / 1024)
    result["effect"] = effect(stack, bouncer_port, say)
    return result

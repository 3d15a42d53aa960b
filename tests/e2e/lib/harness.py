"""One running Sluice for a file of tests: Kafka, Redis, DNS, simulated providers and workers in build/e2e/NAME.

A file of tests is a list of functions that take an Arena; `run` starts the arena, calls them in turn, then ends everything and looks
whether a program died, or a sanitizer had something to say. After a failure the tails of the logs are printed and the folder stays.
"""
import contextlib
import csv
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
sys.path.insert(0, os.path.join(ROOT, "ops"))
from stack.account import FINAL, Account, read_record      # noqa: E402,F401
from stack.stack import Stack, StackError, free_port, rss_kb, stop_left_over  # noqa: E402,F401
from stack.world import Provider, World, sim_config, sluice_config, zones     # noqa: E402,F401

# ASan keeps freed memory for long; the bounds on memory mean Sluice's own.
os.environ.setdefault("ASAN_OPTIONS", "quarantine_size_mb=16")
SANITIZER = re.compile(r"AddressSanitizer|LeakSanitizer|runtime error:|check failed|CHECK failed", re.I)
# Peers refuse so much on purpose that the defaults would make every test wait.
FAST_DEFAULTS = "retry: [1s, 2s, 4s]\nbounce-after: 10m\ndead-host-time: 2s\nconnect-timeout: 5s\n"


class Failure(Exception):
    """A test did not see what it should have seen."""


def expect(condition, text):
    if not condition:
        raise Failure(text)


def expect_equal(got, wanted, what):
    expect(got == wanted, f"{what}: {got!r} instead of {wanted!r}")


class Events(threading.Thread):
    """Follows the topic log; what is known about each recipient so far."""

    def __init__(self, stack):
        super().__init__(daemon=True)
        self.condition = threading.Condition()
        self.of = {}       # recipient -> events about it
        self.whole = []    # events about no recipient
        self.seen = set()
        argv = [stack.program("sluicectl"), "log", "--config", stack.config, "--from", "beginning", "--follow"]
        self.process = stack.spawn("events", argv, stdout=subprocess.PIPE)

    def run(self):
        for line in self.process.stdout:
            event = json.loads(line)
            with self.condition:
                if event["event_id"] in self.seen:
                    continue
                self.seen.add(event["event_id"])
                if event.get("recipient"):
                    self.of.setdefault(event["recipient"], []).append(event)
                else:
                    self.whole.append(event)
                self.condition.notify_all()

    def outcomes(self, recipient):
        """Final events about a recipient."""
        with self.condition:
            return [event for event in self.of.get(recipient, []) if event["type"] in FINAL]

    def kinds(self, recipient):
        with self.condition:
            return [event["type"] for event in self.of.get(recipient, []) if event["type"] != "received"]

    def wait(self, check, seconds, what):
        """Until check() is true, called with every new event; it runs under the lock."""
        deadline = time.monotonic() + seconds
        with self.condition:
            while not check():
                left = deadline - time.monotonic()
                if left <= 0:
                    raise Failure(f"{what}: not within {seconds} s")
                self.condition.wait(min(left, 0.5))


class Arena:
    """The stack, its account of everything that was ever sent, and short words for what tests do."""

    def __init__(self, name, build, world, *, workers=1, vips=2, producer=False, default_site=FAST_DEFAULTS, extra_config="",
                 producer_config="", tenants="", streams=None, seed=1):
        self.name = name
        self.folder = os.path.join(ROOT, "build", "e2e", name)
        stop_left_over(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.stack = Stack(self.folder, build)
        self.world = world
        self.sent = []
        self.sim_port = free_port()
        self.smtp_port = free_port() if producer else None
        self.vips = [f"vip{i + 1}" for i in range(vips)]
        self.worker_names = [f"worker{i + 1}" for i in range(workers)]
        self.default_site = default_site
        self.extra_config = extra_config
        self.producer_config = producer_config
        self.tenants = tenants
        self.streams = streams
        self.seed = seed
        self.closers = []
        self.events = None
        self.submitted = 0

    def path(self, *parts):
        return self.stack.path(*parts)

    def stat(self, worker, name, event="stats"):
        """Highest value of a counter in the worker's log lines of that event."""
        with open(self.path(worker + ".log"), encoding="utf-8", errors="replace") as file:
            return max([int(value) for value in re.findall(rf"event={event} .*?\b{name}=(\d+)", file.read())], default=0)

    def start(self):
        stack = self.stack
        stack.start_kafka(heap_mb=384)
        stack.start_redis()
        stack.start_dns(zones(self.world))
        text = sluice_config(self.world, stack, self.vips, self.sim_port, self.smtp_port or 1, default_site=self.default_site,
                             producer=self.producer_config, tenants=self.tenants, streams=self.streams)
        stack.write_config(text + self.extra_config)
        stack.create_topics()
        make_certificate(stack.path("cert.pem"), stack.path("key.pem"))
        stack.start_sim(sim_config(self.world, stack, self.sim_port), self.seed)
        for i, name in enumerate(self.worker_names):
            stack.start_worker(name, self.vips[i::len(self.worker_names)])
        if self.smtp_port:
            stack.start_producer(self.smtp_port)
        for name in self.worker_names:
            stack.wait_worker(name)
        self.events = Events(stack)
        self.events.start()

    # ---- changing ----

    def reconfigure(self, before, after):
        """For programs that are started from now on."""
        with open(self.stack.config, encoding="utf-8") as file:
            text = file.read()
        expect(before in text, f"{before!r} is not in the configuration")
        self.stack.write_config(text.replace(before, after))

    def restart(self, name, how):
        """A worker, ended by that signal."""
        index = self.worker_names.index(name)
        self.stack.end(name, how=how)
        os.rename(self.path(name + ".log"), self.path(f"{name}.{time.monotonic_ns()}.log"))
        self.stack.start_worker(name, self.vips[index::len(self.worker_names)])
        self.stack.wait_worker(name)

    # ---- sending ----

    def publish(self, recipients, *, stream="bulk", tenant="demo", campaign="", body=None, group=1, rate=None, wait=True):
        """By sluicectl publish. With wait=False the process is returned, running."""
        self.submitted += 1
        name = f"publish{self.submitted}"
        with open(self.path(name + ".eml"), "wb") as file:
            file.write(body or b"From: news@sender.test\r\nSubject: e2e\r\n\r\nHello\r\n")
        with open(self.path(name + ".csv"), "w", encoding="utf-8") as file:
            file.write("email\n" + "\n".join(recipients) + "\n")
        argv = [self.stack.program("sluicectl"), "publish", "--config", self.stack.config, "--from", "bounces@sender.test",
                "--recipients", self.path(name + ".csv"), "--message", self.path(name + ".eml"), "--tenant", tenant,
                "--campaign", campaign or self.name, "--stream", stream, "--group", str(group)]
        if rate:
            argv += ["--rate", str(rate)]
        self.sent += recipients
        process = self.stack.spawn(name, argv)
        if not wait:
            return process
        status = process.wait(120)
        del self.stack.processes[name]
        expect(status == 0, f"sluicectl publish: status {status}\n{self.stack.log_tail(name)}")
        return process

    # ---- waiting ----

    def wait_outcomes(self, recipients, seconds):
        """Until each has at least one outcome."""
        missing = set(recipients)

        def check():
            for recipient in list(missing):
                if any(event["type"] in FINAL for event in self.events.of.get(recipient, ())):
                    missing.discard(recipient)
            return not missing
        try:
            self.events.wait(check, seconds, f"an outcome for {len(recipients)} recipients")
        except Failure as failure:
            some = sorted(missing)[:3]
            raise Failure(f"{failure}; missing {len(missing)}, such as "
                          + "; ".join(f"{r} {self.events.kinds(r)}" for r in some)) from None

    def expect_all(self, recipients, kind, seconds):
        """Each has this outcome, and only this; returns the events by recipient."""
        self.wait_outcomes(recipients, seconds)
        result = {}
        for recipient in recipients:
            outcomes = self.events.outcomes(recipient)
            expect_equal([event["type"] for event in outcomes], [kind], f"outcomes of {recipient}: "
                         + json.dumps(outcomes)[:600])
            result[recipient] = outcomes[0]
        return result

    def accepted(self):
        """The simulator's record as dicts, complete up to now."""
        self.stack.processes["sim"].send_signal(signal.SIGUSR1)
        time.sleep(0.3)
        with open(self.path("accepted.tsv"), encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))

    def summary(self):
        self.accepted()
        with open(self.path("sim.json"), encoding="utf-8") as file:
            return json.load(file)

    def judge(self, elsewhere=()):
        """The accounting of everything that was sent; `elsewhere`: recipients whose provider is not the simulator."""
        elsewhere = set(elsewhere)
        account = Account([recipient for recipient in self.sent if recipient not in elsewhere])
        self.accepted()
        for event in self.stack.events():
            if event.get("recipient") not in elsewhere:
                account.add(event)
        result = account.judge(self.path("accepted.tsv"))
        expect(not result["problems"], "accounting: " + "; ".join(result["problems"]))
        return result

    def judge_killed(self, recipients, most_uncertain, *, seconds=90, learned=False):
        """Workers were killed or stopped under `duplicates: never` and `on-uncertain: hold`: each has exactly one kind of outcome, none was
        accepted twice, and few are in doubt. Returns those. `learned`: who was in doubt may be told as delivered, too, by the worker that
        went on or died."""
        self.wait_outcomes(recipients, seconds)
        self.accepted()
        accepted, _ = read_record(self.path("accepted.tsv"))
        twice = [r for r in recipients if accepted.get(r, 0) > 1]
        expect(not twice, f"{len(twice)} were accepted more than once, such as {twice[:3]}: {self.events.kinds(twice[0]) if twice else ''}")
        uncertain = set()
        for recipient in recipients:
            kinds = {event["type"] for event in self.events.outcomes(recipient)}
            if learned and kinds == {"uncertain", "delivered"}:
                kinds = {"uncertain"}
            expect_equal(len(kinds), 1, f"outcomes of {recipient}: {kinds}")
            if kinds == {"uncertain"}:
                uncertain.add(recipient)
            elif kinds == {"delivered"}:
                expect(recipient in accepted, f"{recipient} is delivered, and no provider knows of it")
        expect(len(uncertain) <= most_uncertain, f"{len(uncertain)} are uncertain; at most {most_uncertain} were in transactions")
        print(f"  {len(recipients)} mails, {len(uncertain)} uncertain", flush=True)
        return uncertain

    # ---- the end ----

    def stop_programs(self):
        """Ends our own programs while the services still run; all must end well."""
        statuses = {}
        if "producer" in self.stack.processes:
            statuses["producer"] = self.stack.end("producer")
        for name in [name for name in self.stack.processes if name.startswith("worker")]:
            statuses[name] = self.stack.end(name)
        self.stack.end("events")
        statuses["sim"] = self.stack.end("sim")
        bad = {name: status for name, status in statuses.items() if status != 0}
        expect(not bad, f"exit statuses: {bad}")
        for log in glob.glob(self.path("*.log")):
            with open(log, encoding="utf-8", errors="replace") as file:
                found = [line for line in file if SANITIZER.search(line)]
            expect(not found, f"{log}: {''.join(found[:3])}")

    def close(self):
        for closer in reversed(self.closers):
            with contextlib.suppress(Exception):
                closer()
        self.stack.stop()

    def print_logs(self):
        for log in sorted(glob.glob(self.path("*.log"))):
            tail = self.stack.log_tail(os.path.basename(log)[:-4], 12)
            if tail.strip():
                print(f"--- {os.path.relpath(log, ROOT)}\n{tail}", flush=True)


def make_certificate(certificate, key, name="mx.test"):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
                    "-subj", f"/CN={name}", "-keyout", key, "-out", certificate], check=True, capture_output=True,
                   stdin=subprocess.DEVNULL)


def processes_of(folder):
    """Command lines of living processes that name the folder, or work in it. (One that is ending has none any more.)"""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) == os.getpid():
            continue
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                line = file.read()
            cwd = os.readlink(f"/proc/{pid}/cwd")
        except OSError:
            continue
        if line and (folder.encode() in line or cwd.startswith(folder)):
            found.append(line.replace(b"\0", b" ").decode(errors="replace").strip())
    return found


def run(arena_of, tests):
    """Body of a file of tests. `arena_of(build)` makes the arena. Exits."""
    if len(sys.argv) < 2:
        sys.exit(f"usage: {sys.argv[0]} BUILD-FOLDER [TEST…]")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    wanted = sys.argv[2:]
    arena = arena_of(os.path.abspath(sys.argv[1]))
    failed = []
    started = time.monotonic()
    try:
        arena.start()
        print(f"{arena.name}: started ({time.monotonic() - started:.1f} s)", flush=True)
        steps = [test for test in tests if not wanted or test.__name__ in wanted] + [arena_end]
        for test in steps:
            began = time.monotonic()
            try:
                test(arena)
                result = "ok"
            except (Failure, StackError, OSError, subprocess.SubprocessError) as failure:
                result = f"FAILED: {failure}"
                if not isinstance(failure, (Failure, StackError)):
                    traceback.print_exc()
                failed.append(test.__name__)
            print(f"{arena.name}: {test.__name__}: {result} ({time.monotonic() - began:.1f} s)", flush=True)
    except StackError as error:
        print(f"{arena.name}: {error}", flush=True)
        failed.append("start")
    finally:
        if failed:
            arena.print_logs()
        arena.close()
    left = processes_of(arena.folder)
    for _ in range(30):  # one that is just ending has no command line any more
        if not left:
            break
        time.sleep(0.1)
        left = processes_of(arena.folder)
    if left:
        print(f"{arena.name}: processes are left: {left}")
        failed.append("left processes")
    print(f"{arena.name}: {'FAILED: ' + ', '.join(failed) if failed else 'all well'} ({time.monotonic() - started:.1f} s)")
    if not failed:
        shutil.rmtree(arena.folder, ignore_errors=True)
    sys.exit(1 if failed else 0)


def arena_end(arena):
    """The programs end well, and no sanitizer has said a word."""
    arena.stop_programs()

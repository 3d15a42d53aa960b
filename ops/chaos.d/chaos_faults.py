"""The faults. Each is a function that strikes, says from when on which partitions have to be served again, waits for it by what the
providers have written down, and heals. All of its choices come from the round's own random numbers, so that a seed repeats them."""
import contextlib
import os
import signal
import time

from chaos_world import POLICY, SHARDS

PARTITIONS = [(stream, shard) for stream in POLICY for shard in range(SHARDS)]
SERVED_BOUND_S = 40   # then a partition counts as not served again …
SLOW_BOUND_S = 120    # … on a slow machine
DOWN_S = 30
REDIS_AWAY_S = 3
CLOCK_WRONG_S = 4
BUILDER_LEASE_S = 10


class Round:
    """What one round is given, and what it found out."""
    bound_s = SERVED_BOUND_S

    def __init__(self, cluster, record, feed, returns, random, session_timeout_s, producer_port):
        self.cluster, self.record, self.feed, self.returns, self.random = cluster, record, feed, returns, random
        self.session_timeout_s = session_timeout_s
        self.producer_port = producer_port
        self.started = time.time()
        self.struck = None
        self.served = []     # seconds, one for each partition that had to be served again
        self.not_served = []
        self.detail = ""

    def partitions_of(self, worker, when):
        return [p for p in PARTITIONS if self.record.owner(p, when) == worker.source]

    def wait_served(self, partitions, since, published=None, count=True):
        """Until a probe that was published after that (else after `since`) has been accepted after `since`, for each of the partitions."""
        deadline = time.monotonic() + self.bound_s
        todo = set(partitions)
        while todo and time.monotonic() < deadline:
            for partition in list(todo):
                at = self.record.first_served(partition, since, published)
                if at is not None:
                    todo.discard(partition)
                    if count:
                        self.served.append(max(0.0, at - since))
            time.sleep(0.05)
        self.not_served += sorted(todo)

    def wait_broker(self):
        """It is started, and each partition is served again: by mail that a client was given since the broker died, which is in line behind
        none that the workers have taken before. How long all that has gathered meanwhile takes is for the benchmarks to say."""
        back = self.cluster.start_broker()
        self.cluster.broker_away.append((self.struck, back))
        self.wait_served(PARTITIONS, back, published=self.struck)

    def settle(self):
        """All partitions are served, whoever serves them."""
        self.wait_served(PARTITIONS, time.time(), count=False)

    def wait_bouncers(self, bouncers, since):
        """Until each has taken a report."""
        deadline = time.monotonic() + SERVED_BOUND_S
        todo = list(bouncers)
        while todo and time.monotonic() < deadline:
            for bouncer in list(todo):
                at = self.returns.last_taken[bouncer.port]
                if at > since:
                    todo.remove(bouncer)
                    self.served.append(at - since)
            time.sleep(0.05)
        self.not_served += [(bouncer.name, "smtp") for bouncer in todo]

    def victim(self):
        return self.random.choice(self.cluster.running())


def worker_kill_supervised(r):
    worker = r.victim()
    when = r.cluster.kill_worker(worker)
    r.struck, r.detail = when, worker.name
    partitions = r.partitions_of(worker, when)
    r.cluster.start_worker(worker)
    r.wait_served(partitions, when)


def worker_kill_rest(r):
    worker = r.victim()
    when = r.cluster.kill_worker(worker)
    r.struck, r.detail = when, worker.name
    r.wait_served(r.partitions_of(worker, when), when)
    r.cluster.start_worker(worker)
    r.settle()


def worker_kill_two(r):
    """Two at once; one comes back by itself, one a little later, when the others may just be taking over."""
    first, second = r.random.sample(r.cluster.running(), 2)
    when = r.cluster.kill_worker(first)
    r.cluster.kill_worker(second)
    r.struck, r.detail = when, f"{first.name} {second.name}"
    partitions = r.partitions_of(first, when) + r.partitions_of(second, when)
    r.cluster.start_worker(first)
    time.sleep(r.random.uniform(0, r.session_timeout_s + 3))
    r.cluster.start_worker(second)
    r.wait_served(partitions, when)


def worker_stop_long(r):
    """A zombie: away for longer than its session, then it goes on as if nothing had been."""
    worker = r.victim()
    process = r.cluster.process(worker)
    when = time.time()
    process.send_signal(signal.SIGSTOP)
    r.cluster.kills.append((when, worker.source))
    r.struck, r.detail = when, worker.name
    r.wait_served(r.partitions_of(worker, when), when)
    time.sleep(max(0.0, when + r.session_timeout_s + r.random.uniform(1, 3) - time.time()))
    process.send_signal(signal.SIGCONT)
    r.settle()


def worker_stop_short(r):
    """Away, but back before its session is over: or just about."""
    worker = r.victim()
    process = r.cluster.process(worker)
    r.struck, r.detail = time.time(), worker.name
    process.send_signal(signal.SIGSTOP)
    time.sleep(r.session_timeout_s * r.random.uniform(0.3, 1.05))
    process.send_signal(signal.SIGCONT)
    r.cluster.kills.append((r.struck, worker.source))
    r.settle()


def worker_clock(r):
    worker = r.victim()
    offset = r.random.choice([-1, 1]) * r.random.choice([5, 60, 600, 3000])
    r.struck, r.detail = time.time(), f"{worker.name} {offset:+d} s"
    r.cluster.set_clock(worker, offset)
    time.sleep(CLOCK_WRONG_S)
    r.wait_served(PARTITIONS, r.struck + 1.5)
    r.cluster.set_clock(worker, 0)
    r.settle()


def worker_add(r):
    idle = r.cluster.idle()
    if not idle:
        worker_remove(r)
        return
    worker = r.random.choice(idle)
    r.struck, r.detail = time.time(), "+" + worker.name
    r.cluster.start_worker(worker)
    r.wait_served(PARTITIONS, r.struck)


def worker_remove(r):
    if len(r.cluster.running()) <= r.cluster.count - 1:
        worker_add(r)
        return
    worker = r.victim()
    r.struck, r.detail = time.time(), "-" + worker.name
    partitions = r.partitions_of(worker, r.struck)
    r.cluster.remove_worker(worker)
    r.wait_served(partitions, r.struck)


def broker_kill(r):
    r.struck = time.time()
    r.cluster.kill_broker()
    time.sleep(r.random.choice([0, 0, 1]))
    r.wait_broker()


def broker_down(r):
    r.struck = time.time()
    r.cluster.kill_broker(r.random.choice([signal.SIGKILL, signal.SIGTERM]))
    time.sleep(DOWN_S)
    r.wait_broker()


def broker_disk_full(r):
    cluster = r.cluster
    pid = cluster.stack.service_pid("kafka")
    r.struck = time.time()
    cluster.fill_disk()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and cluster.broker_alive(pid):
        time.sleep(0.1)
    died = not cluster.broker_alive(pid)
    r.detail = "the broker gave up" if died else "the broker went on"
    if not died:
        cluster.kill_broker()  # its log folder is offline, or half of its appends have failed: as an operator would do
    cluster.free_disk()
    r.wait_broker()


def redis_kill(r):
    r.struck = time.time()
    with contextlib.suppress(ProcessLookupError):
        os.kill(r.cluster.redis_pid(), signal.SIGKILL)
    r.cluster.kill_count += 1
    r.wait_served(PARTITIONS, r.struck)
    time.sleep(r.random.uniform(0, REDIS_AWAY_S))
    r.cluster.stack.start_redis()
    r.cluster.note_redis_away(r.struck)


def redis_flush(r):
    r.struck = time.time()
    r.cluster.redis_call("FLUSHALL")
    r.cluster.note_redis_away(r.struck)
    r.wait_served(PARTITIONS, r.struck)


def redis_stop(r):
    pid = r.cluster.redis_pid()
    r.struck = time.time()
    os.kill(pid, signal.SIGSTOP)
    r.wait_served(PARTITIONS, r.struck)
    time.sleep(r.random.uniform(0, REDIS_AWAY_S))
    os.kill(pid, signal.SIGCONT)
    r.cluster.note_redis_away(r.struck)


def producer_kill(r):
    """The SMTP listener, somewhere between Kafka's acknowledgement and its 250."""
    r.struck = time.time()
    r.cluster.kill_producer()
    r.cluster.stack.start_producer(r.producer_port)
    r.settle()


def client_kill(r):
    """A client of libsluice that has published and not heard yet: it sends again, with the same keys."""
    r.struck = time.time()
    r.feed.kill()
    r.cluster.kill_count += 1
    r.feed.restart()
    r.settle()


def bouncer_kill(r):
    """Somewhere between a report's final dot, Kafka's acknowledgement, its 250 and the suppression list."""
    bouncer = r.random.choice(r.cluster.bouncers)
    r.struck, r.detail = time.time(), bouncer.name
    r.cluster.kill_bouncer(bouncer)
    r.cluster.start_bouncer(bouncer)
    r.wait_bouncers([bouncer], time.time())


def bouncer_kill_all(r):
    r.struck = time.time()
    for bouncer in r.cluster.bouncers:
        r.cluster.kill_bouncer(bouncer)
    time.sleep(r.random.uniform(0, 5))
    for bouncer in r.cluster.bouncers:
        r.cluster.start_bouncer(bouncer)
    r.wait_bouncers(r.cluster.bouncers, time.time())


def bouncer_stop(r):
    """Away for longer than it may build the suppression list: the other takes over, and this one has to find out."""
    bouncer = r.random.choice(r.cluster.bouncers)
    r.struck, r.detail = time.time(), bouncer.name
    r.cluster.process(bouncer).send_signal(signal.SIGSTOP)
    time.sleep(BUILDER_LEASE_S * r.random.uniform(0.4, 1.5))
    r.cluster.process(bouncer).send_signal(signal.SIGCONT)
    r.wait_bouncers([bouncer], time.time())


# name: (who dies, how often beside the others, function)
FAULTS = {
    "worker-kill-supervised": ("worker", 8, worker_kill_supervised),
    "worker-kill-rest": ("worker", 6, worker_kill_rest),
    "worker-kill-two": ("worker", 3, worker_kill_two),
    "worker-stop-long": ("worker", 5, worker_stop_long),
    "worker-stop-short": ("worker", 2, worker_stop_short),
    "worker-clock": ("worker", 4, worker_clock),
    "worker-add": ("worker", 3, worker_add),
    "worker-remove": ("worker", 3, worker_remove),
    "broker-kill": ("broker", 5, broker_kill),
    "broker-down-30s": ("broker", 1, broker_down),
    "broker-disk-full": ("broker", 1, broker_disk_full),
    "redis-kill": ("redis", 2, redis_kill),
    "redis-flushall": ("redis", 2, redis_flush),
    "redis-stop": ("redis", 2, redis_stop),
    "producer-kill": ("producer", 2, producer_kill),
    "client-kill": ("producer", 3, client_kill),
    "bouncer-kill": ("bouncer", 4, bouncer_kill),
    "bouncer-kill-all": ("bouncer", 2, bouncer_kill_all),
    "bouncer-stop": ("bouncer", 2, bouncer_stop),
}


def served_within_s(name, session_timeout_s):
    """What is promised; not being served again at all is another matter (SERVED_BOUND_S)."""
    who = FAULTS[name][0]
    if name == "worker-kill-supervised":
        return 3
    if name in ("worker-kill-rest", "worker-kill-two", "worker-stop-long"):
        return 10 if session_timeout_s > 3 else 5
    return 5 if who == "broker" else SERVED_BOUND_S


def schedule(rounds, kind, random, left_out):
    """Names of faults: first each once, in an order drawn by lot, then by weight."""
    names = [name for name, (who, _, _) in FAULTS.items() if kind in ("all", who) and name not in left_out]
    weights = [FAULTS[name][1] for name in names]
    once = random.sample(names, len(names))
    return (once + random.choices(names, weights, k=max(0, rounds - len(once))))[:rounds]

"""What chaos strikes: supervised workers under libfaketime, the broker on a small file system of its own, Redis, the producer,
two bouncers."""
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from stack.stack import StackError, free_port  # noqa: E402

from chaos_world import WORKERS, vip_address  # noqa: E402

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
BOUNCERS = 2
REDIS_FORGOT_S = 2   # what was on its way when Redis lost its data, and comes again
REDIS_BACK_S = 3     # until everybody is connected again
SANITIZERS = ("libasan.so", "libubsan.so", "libtsan.so")


def preload(program):
    """libfaketime behind the sanitizers' runtimes, which must come first."""
    done = subprocess.run(["ldd", program], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False)
    runtimes = [line.split("=>")[1].split()[0] for line in done.stdout.splitlines()
                if any(name in line for name in SANITIZERS) and "=>" in line]
    return " ".join(runtimes + [FAKETIME])


class Worker:
    def __init__(self, number):
        self.name = f"worker{number}"
        self.vip = f"vip{number}"
        self.source = vip_address(number)
        self.wanted = False  # running, as far as the schedule is concerned
        self.starts = 0


class Bouncer:
    def __init__(self, stack, number):
        self.name = f"bouncer{number}"
        self.port = free_port()
        self.config = stack.path(self.name + ".yaml")
        self.wanted = False


class Cluster:
    def __init__(self, stack, count):
        self.stack = stack
        self.workers = [Worker(i + 1) for i in range(WORKERS)]
        self.bouncers = [Bouncer(stack, i + 1) for i in range(BOUNCERS)]
        self.count = count
        self.mounted = None  # folder
        self.size_mb = 0
        self.problems = []   # what ended though nobody had ended it
        self.kills = []      # (when, source): a worker died or was stopped in the middle of its work
        self.kill_count = 0  # all kill -9, of whatever
        self.broker_away = []  # (from, to)
        self.redis_away = []  # (from, to): what was published then is not recognised when it comes again
        self.lock = threading.Lock()
        self.watching = threading.Event()
        self.preload = preload(stack.program("sluice-worker")) if os.path.exists(FAKETIME) else None

    # ---- the broker's disk ----

    def mount_disk(self, size_mb):
        """A file system that can be full without hurting anybody else. Needs root; False: there is none."""
        folder = self.stack.path("kafka", "data")
        os.makedirs(folder, exist_ok=True)
        self.size_mb = size_mb
        if self._mount(folder, f"size={size_mb}m", "sluice-chaos"):
            self.mounted = folder
        return self.mounted is not None

    @staticmethod
    def _mount(folder, options, *source):
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, *source, folder], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        return done.returncode == 0

    def fill_disk(self):
        """No larger than what lies on it, within a page or two; a file takes the rest."""
        room = os.statvfs(self.mounted)
        used = (room.f_blocks - room.f_bfree) * room.f_frsize
        if not self._mount(self.mounted, f"remount,size={used + (1 << 20)}"):
            raise StackError(f"{self.mounted}: cannot be made smaller")
        with open(os.path.join(self.mounted, "ballast"), "wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\0" * 4096)

    def free_disk(self):
        self._mount(self.mounted, f"remount,size={self.size_mb}m")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.mounted, "ballast"))

    def unmount(self):
        if self.mounted:
            subprocess.run(["umount", "-l", self.mounted], check=False, stdin=subprocess.DEVNULL)
            self.mounted = None

    # ---- workers ----

    def start_worker(self, worker):
        stack = self.stack
        env = dict(os.environ)
        if self.preload:
            self.set_clock(worker, 0)
            env.update(LD_PRELOAD=self.preload, FAKETIME_TIMESTAMP_FILE=self.clock_file(worker), FAKETIME_CACHE_DURATION="1",
                       FAKETIME_DONT_FAKE_MONOTONIC="1")
        with self.lock:
            stack.spawn(worker.name, [stack.program("sluice-worker"), "--config", stack.config, "--name", worker.name,
                                      "--vips", worker.vip], env=env)
            worker.wanted = True
            worker.starts += 1

    def clock_file(self, worker):
        return self.stack.path(worker.name + ".clock")

    def set_clock(self, worker, offset_s):
        """From its next look (within a second) on, the worker's time of day is wrong by so much; its monotonic clocks go on."""
        path = self.clock_file(worker)
        with open(path + ".new", "w", encoding="ascii") as file:
            file.write(f"{offset_s:+d}\n")
        os.rename(path + ".new", path)

    def running(self):
        return [worker for worker in self.workers if worker.wanted]

    def idle(self):
        return [worker for worker in self.workers if not worker.wanted]

    def process(self, one):
        """Of a worker or bouncer."""
        return self.stack.processes[one.name]

    def kill_worker(self, worker):
        """Returns when it died."""
        with self.lock:
            worker.wanted = False
            process = self.stack.processes.pop(worker.name)
            when = time.time()
            process.kill()
            process.wait()
        self.note_kill(when, worker)
        return when

    def note_kill(self, when, worker):
        self.kills.append((when, worker.source))
        self.kill_count += 1

    def remove_worker(self, worker):
        """SIGTERM; it has to end well."""
        with self.lock:
            worker.wanted = False
        status = self.stack.end(worker.name)
        if status != 0:
            self.problem(f"{worker.name} ended with status {status} after SIGTERM", worker.name)

    def problem(self, text, log):
        self.problems.append({"time": time.strftime("%H:%M:%S"), "what": text, "log": self.stack.log_tail(log, 12)})

    def watch(self):
        """A supervisor for what ends by itself; that it did is noted."""
        while not self.watching.wait(0.2):
            for worker in self.running():
                with self.lock:
                    process = self.stack.processes.get(worker.name)
                    ended = worker.wanted and process is not None and process.poll() is not None
                if ended:
                    self.problem(f"{worker.name} ended by itself with status {process.returncode}", worker.name)
                    self.note_kill(time.time(), worker)
                    self.start_worker(worker)
            for bouncer in self.bouncers:
                with self.lock:
                    process = self.stack.processes.get(bouncer.name)
                    ended = bouncer.wanted and process is not None and process.poll() is not None
                    bouncer.wanted = bouncer.wanted and not ended
                if ended:
                    self.problem(f"{bouncer.name} ended by itself", bouncer.name)
                    try:
                        self.start_bouncer(bouncer)
                    except StackError as error:
                        self.problem(str(error), bouncer.name)
                        bouncer.wanted = True  # again at the next look

    # ---- bouncers ----

    def start_bouncer(self, bouncer):
        with self.lock:
            self.stack.start_bouncer(bouncer.port, bouncer.name, bouncer.config)
            bouncer.wanted = True

    def kill_bouncer(self, bouncer):
        with self.lock:
            bouncer.wanted = False
            process = self.stack.processes.pop(bouncer.name)
            process.kill()
            process.wait()
        self.kill_count += 1

    def stop_bouncers(self):
        """SIGTERM; they have to end well."""
        for bouncer in self.bouncers:
            with self.lock:
                bouncer.wanted = False
            status = self.stack.end(bouncer.name)
            if status != 0:
                self.problem(f"{bouncer.name} ended with status {status} after SIGTERM", bouncer.name)

    # ---- services ----

    def broker_up(self):
        with socket.socket() as probe:
            probe.settimeout(1)
            host, port = self.stack.bootstrap.split(":")
            return probe.connect_ex((host, int(port))) == 0

    def kill_broker(self, how=signal.SIGKILL):
        pid = self.stack.service_pid("kafka")
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)
        self.stack.wait_for("the broker to end", lambda: not self.broker_alive(pid), 60)
        self.kill_count += how == signal.SIGKILL

    @staticmethod
    def broker_alive(pid):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                return file.read().rsplit(")", 1)[1].split()[0] != "Z"
        except OSError:
            return False

    def start_broker(self):
        """Returns when it answered. A busy machine may take longer for that than ops/kafka waits."""
        for patience in (True, True, False):
            try:
                self.stack.start_kafka(heap_mb=512)
                break
            except StackError:
                if not patience:
                    raise
        return time.time()

    def redis_pid(self):
        with open(self.stack.path("redis", "redis.pid"), encoding="ascii") as file:
            return int(file.read())

    def redis_call(self, *words):
        subprocess.run(["redis-cli", "-p", str(self.stack.redis_port), *words], stdin=subprocess.DEVNULL, check=True,
                       stdout=subprocess.DEVNULL)

    def note_redis_away(self, since):
        self.redis_away.append((since - REDIS_FORGOT_S, time.time() + REDIS_BACK_S))

    def kill_producer(self):
        process = self.stack.processes.pop("producer")
        process.kill()
        process.wait()
        self.kill_count += 1

    def stop_workers(self):
        self.watching.set()
        for worker in self.running():
            self.remove_worker(worker)


def clean_left_over(folder):
    """A mount that a run which was killed has left."""
    data = os.path.join(folder, "kafka", "data")
    if os.path.ismount(data):
        subprocess.run(["umount", "-l", data], check=False, stdin=subprocess.DEVNULL)

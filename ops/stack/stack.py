"""A Stack owns a folder and the processes started in it. Use it as a context: leaving it ends everything, whatever happened."""
import json
import os
import signal
import socket
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TICKS = os.sysconf("SC_CLK_TCK")


class StackError(Exception):
    """Something that was to start did not; the text names its log."""


def free_port(address="127.0.0.1"):
    """A TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


def port_answers(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def cpu_seconds(pid):
    """CPU time that a living process has used, all its threads; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS
    except (OSError, IndexError):
        return 0.0


def rss_kb(pid):
    """Resident memory of a process in kB; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


def read_env(path):
    """KEY=value lines."""
    with open(path, encoding="utf-8") as file:
        return dict(line.strip().split("=", 1) for line in file if "=" in line)


class Stack:
    def __init__(self, folder, build):
        self.folder = os.path.abspath(folder)
        self.bin = os.path.join(os.path.abspath(build), "bin")
        self.services = []   # (script, folder) of ops/kafka, ops/redis, ops/nsd
        self.processes = {}  # name -> Popen
        self.bootstrap = None
        self.redis_port = None
        self.dns = None
        self.config = os.path.join(self.folder, "sluice.yaml")
        os.makedirs(self.folder, exist_ok=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.stop()
        return False

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def program(self, name):
        return os.path.join(self.bin, name)

    # ---- services with a script of their own ----

    def _service(self, script, *arguments):
        folder = self.path(script)
        if (script, folder) not in self.services:
            self.services.append((script, folder))  # before it starts: an interrupt meanwhile must end it too
        done = subprocess.run([os.path.join(ROOT, "ops", script), "start", folder, *arguments],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode != 0:
            raise StackError(f"ops/{script} start failed:\n{done.stdout}")
        return read_env(os.path.join(folder, "env"))

    def start_kafka(self, heap_mb=None, optimize=False):
        """`optimize`: it is to be as fast as it can (ops/kafka)."""
        options = (["--heap", str(heap_mb)] if heap_mb else []) + (["--optimize"] if optimize else [])
        self.bootstrap = self._service("kafka", *options)["KAFKA_BOOTSTRAP"]

    def start_redis(self):
        """The second time on the same port, but empty."""
        self.redis_port = int(self._service("redis", *([str(self.redis_port)] if self.redis_port else []))["REDIS_PORT"])

    def start_dns(self, zones):
        """zones: {name: text of the zone file}; "." is the root."""
        os.makedirs(self.path("zones"), exist_ok=True)
        files = []
        for name, text in zones.items():
            files.append(self.path("zones", ("root" if name == "." else name) + ".zone"))
            with open(files[-1], "w", encoding="utf-8") as file:
                file.write(text)
        self.dns = self._service("nsd", *files)["DNS_SERVER"]

    def start_dns_again(self):
        """After stop_service("nsd"), with the same zones on the same port."""
        zones = self.path("zones")
        self._service("nsd", *[os.path.join(zones, name) for name in sorted(os.listdir(zones))])

    def stop_service(self, script):
        subprocess.run([os.path.join(ROOT, "ops", script), "stop", self.path(script)], stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)

    def service_pid(self, script):
        env = read_env(self.path(script, "env"))
        if "REDIS_PID" in env:
            return int(env["REDIS_PID"])
        with open(self.path(script, "pid"), encoding="ascii") as file:
            return int(file.read())

    # ---- processes ----

    def spawn(self, name, argv, **options):
        """Starts a process of its own group with its output in NAME.log."""
        with open(self.path(name + ".log"), "ab") as log:
            options.setdefault("stdout", log)
            options.setdefault("stderr", log)
            options.setdefault("stdin", subprocess.DEVNULL)
            process = subprocess.Popen(argv, cwd=self.folder, start_new_session=True, **options)
        self.processes[name] = process
        self._write_pids()
        return process

    def _write_pids(self):
        with open(self.path("pids.json"), "w", encoding="ascii") as file:
            json.dump({name: process.pid for name, process in self.processes.items()}, file)

    def end(self, name, timeout=40, how=signal.SIGTERM):
        """Ends one process and waits; kills it when it does not end. Returns its status, None when it was not there."""
        process = self.processes.pop(name, None)
        if process is None:
            return None
        if process.poll() is None:
            process.send_signal(how)
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._write_pids()
        return process.returncode

    def stop(self):
        for name in reversed(list(self.processes)):
            process = self.processes[name]
            if process.poll() is None:
                process.terminate()
        for name in reversed(list(self.processes)):
            self.end(name, timeout=15)
        while self.services:
            self.stop_service(self.services.pop()[0])

    def log_tail(self, name, lines=15):
        try:
            with open(self.path(name + ".log"), encoding="utf-8", errors="replace") as file:
                return "".join(file.readlines()[-lines:])
        except OSError:
            return ""

    def wait_for(self, what, check, seconds, name=None):
        """Polls `check` until it is true. With `name`: that process must stay alive meanwhile."""
        deadline = time.monotonic() + seconds
        while not check():
            if name is not None and self.processes[name].poll() is not None:
                raise StackError(f"{name} ended while waiting for {what}:\n{self.log_tail(name)}")
            if time.monotonic() > deadline:
                raise StackError(f"{what}: not within {seconds} s\n{self.log_tail(name) if name else ''}")
            time.sleep(0.05)

    def log_has(self, name, text):
        try:
            with open(self.path(name + ".log"), encoding="utf-8", errors="replace") as file:
                return text in file.read()
        except OSError:
            return False

    # ---- Sluice ----

    def write_config(self, text):
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(text)
        self.ctl("config", "check", self.config)

    def ctl(self, *arguments, check=True):
        """Runs sluicectl to its end; its output."""
        done = subprocess.run([self.program("sluicectl"), *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False)
        if check and done.returncode != 0:
            raise StackError(f"sluicectl {' '.join(arguments)}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def create_topics(self):
        self.ctl("topics", "create", "--config", self.config)

    def start_worker(self, name, vips=None):
        argv = [self.program("sluice-worker"), "--config", self.config, "--name", name]
        if vips:
            argv += ["--vips", ",".join(vips)]
        return self.spawn(name, argv)

    def wait_worker(self, name, seconds=60):
        self.wait_for(f"{name} to get partitions", lambda: self.log_has(name, "event=partitions-assigned"), seconds, name)

    def start_producer(self, port):
        self.spawn("producer", [self.program("sluice-producer"), "--config", self.config])
        self.wait_for("producer to listen", lambda: port_answers(port), 30, "producer")

    def start_bouncer(self, port, name="bouncer", config=None):
        self.spawn(name, [self.program("sluice-bouncer"), "serve", "--config", config or self.config])
        self.wait_for(f"{name} to listen", lambda: port_answers(port), 30, name)

    def start_sim(self, config_text, seed=1):
        with open(self.path("sim.yaml"), "w", encoding="utf-8") as file:
            file.write(config_text)
        ready = self.path("sim.ready")
        if os.path.exists(ready):
            os.unlink(ready)
        self.spawn("sim", [self.program("sluice-sim"), "--config", self.path("sim.yaml"), "--ready-file", ready,
                           "--summary", self.path("sim.json"), "--seed", str(seed)])
        self.wait_for("the simulated providers", lambda: os.path.exists(ready), 20, "sim")

    def events(self, topic="log"):
        """Every event that is on a topic now, decoded; an iterator."""
        argv = [self.program("sluicectl"), "log", "--config", self.config, "--topic", topic, "--from", "beginning"]
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                yield json.loads(line)
        if process.returncode != 0:
            raise StackError(f"sluicectl log: status {process.returncode}")


def stop_left_over(folder):
    """Ends what a stack that was left running (or died) has started in this folder. Returns how many processes."""
    ended = 0
    try:
        with open(os.path.join(folder, "pids.json"), encoding="ascii") as file:
            pids = json.load(file)
    except (OSError, ValueError):
        pids = {}
    for pid in pids.values():
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                ours = folder.encode() in file.read()
            if ours:
                os.kill(pid, signal.SIGTERM)
                ended += 1
        except OSError:
            continue
    for script, pid_file in (("kafka", "pid"), ("redis", "redis.pid"), ("nsd", "nsd.pid")):
        if os.path.exists(os.path.join(folder, script, pid_file)):
            subprocess.run([os.path.join(ROOT, "ops", script), "stop", os.path.join(folder, script)], check=False,
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            ended += 1
    return ended


def build_release(quiet=True):
    """ops/setup, then the release preset. Returns its build folder."""
    def run(argv):
        done = subprocess.run(argv, cwd=ROOT, stdin=subprocess.DEVNULL, text=True, check=False,
                              stdout=subprocess.PIPE if quiet else None, stderr=subprocess.STDOUT if quiet else None)
        if done.returncode != 0:
            sys.stderr.write(done.stdout or "")
            raise StackError(f"{' '.join(argv)} failed")
    run([os.path.join(ROOT, "ops", "setup")])
    run(["cmake", "--preset", "release"])
    run(["cmake", "--build", "--preset", "release", "--target", "sluice-worker", "sluice-producer", "sluice-bouncer", "sluicectl", "sluice-sim",
         "sluice-feed", "sluice-where", "suppress_bench"])
    return os.path.join(ROOT, "build", "release")

"""What the cases of tests/producer share: a broker, producers, reading records back, raw SMTP."""
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PATIENCE = 60  # seconds that something is waited for before it counts as never happening


class Failed(Exception):
    """A case did not hold."""


def check(condition, what):
    if not condition:
        raise Failed(what)


def equal(got, wanted, what):
    check(got == wanted, f"{what}: {got!r}, wanted {wanted!r}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def fields(data):
    """Protobuf fields: number -> list of values, read independently of our own codec."""
    found, at = {}, 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == 0:
            value, at = varint(data, at)
        else:
            check(tag & 7 == 2, f"wire type {tag & 7}")
            size, at = varint(data, at)
            check(at + size <= len(data), "field beyond the record's end")
            value, at = data[at:at + size], at + size
        found.setdefault(tag >> 3, []).append(value)
    return found


class Record:
    """One sluice.v1.Message."""

    def __init__(self, key, value):
        parts = fields(value)

        def text(number):
            return parts.get(number, [b""])[0].decode()
        self.key = key
        self.id, self.tenant, self.campaign, self.sender = text(1), text(2), text(3), text(4)
        self.recipients = [fields(one) for one in parts.get(5, [])]
        self.addresses = [one[1][0].decode() for one in self.recipients]
        self.content = parts.get(6, [b""])[0]
        self.pool, self.ret, self.envid = text(7), text(10), text(11)
        self.smtputf8 = bool(parts.get(12, [0])[0])
        self.header, _, self.body = self.content.partition(b"\r\n\r\n")


class Lab:
    """A folder, a Kafka, and the producers that were started."""

    def __init__(self, build):
        self.bin = os.path.join(build, "bin")
        self.dir = tempfile.mkdtemp(prefix="sluice-producer-")
        self.producers = []
        self.bootstrap = None

    def path(self, name):
        return os.path.join(self.dir, name)

    def kafka(self, verb):
        subprocess.run([os.path.join(ROOT, "ops", "kafka"), verb, self.path("kafka")], check=True)

    def open(self):
        self.kafka("start")
        with open(self.path("kafka/env"), encoding="utf-8") as env:
            self.bootstrap = dict(line.strip().split("=", 1) for line in env)["KAFKA_BOOTSTRAP"]
        self.make_certificate("first")
        hashed = subprocess.run([os.path.join(self.bin, "sluice-producer"), "--hash-password"], input="a secret\n",
                                capture_output=True, text=True, check=True).stdout.strip()
        check(hashed.startswith("$argon2id$v=19$"), f"--hash-password says {hashed}")
        self.hash = hashed
        self.write_users("")
        config = self.write_config("topics", {})
        subprocess.run([os.path.join(self.bin, "sluicectl"), "topics", "create", "--config", config], check=True,
                       stdout=subprocess.DEVNULL)

    def close(self):
        for producer in self.producers:
            if producer.process.poll() is None:
                producer.process.send_signal(signal.SIGCONT)
                producer.process.kill()
                producer.process.wait()
        self.kafka("stop")
        shutil.rmtree(self.dir, ignore_errors=True)

    def broker_signal(self, number):
        with open(self.path("kafka/pid"), encoding="utf-8") as file:
            os.kill(int(file.read().split()[0]), number)

    def make_certificate(self, name):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self.path("key.pem"), "-out",
                        self.path("cert.pem"), "-days", "2", "-subj", f"/CN={name}"], check=True, stderr=subprocess.DEVNULL)

    def write_users(self, more):
        with open(self.path("users"), "w", encoding="utf-8") as file:
            file.write(f"# name:hash:tenant:pools\nalice:{self.hash}:acme\nbob:{self.hash}:acme:second\n"
                       f"carol:{self.hash}\n{more}")
        os.chmod(self.path("users"), 0o600)

    def write_config(self, name, settings, listeners=("127.0.0.1:2525",)):
        """settings: keys of `producer`."""
        lines = [f"kafka: {{bootstrap-servers: '{self.bootstrap}', shards: 4, event-partitions: 2, slots: 2}}",
                 "vips:", "- {name: v1, source-ipv4: 127.0.0.1, ehlo-name: a.example}",
                 "pools:", "- {name: first, members: [v1]}", "- {name: second, members: [v1]}", "- {name: others, members: [v1]}",
                 "tenants:", "- {name: acme, pools: [first, second]}",
                 "producer:", f"  listeners: [{', '.join(listeners)}]", "  host-name: mx.example.net",
                 "  default-tenant: house"]
        lines += [f"  {key}: {value}" for key, value in settings.items()]
        path = self.path(name + ".yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        return path

    def start(self, name, settings, tls=True, users=True, wildcard=False):
        producer = Producer(self, name, settings, tls, users, wildcard)
        producer.wait_log("event=listening", 2 if tls else 1)
        return producer

    def records(self):
        """Everything on the queue topics."""
        found = []
        for stream in ("bulk", "tx"):
            data = subprocess.run(["kcat", "-b", self.bootstrap, "-t", "sluice.q." + stream, "-C", "-e", "-q", "-X",
                                   "fetch.message.max.bytes=30000000", "-f", "%k\t%S\n%s"],
                                  capture_output=True, check=True).stdout
            at = 0
            while at < len(data):
                end = data.index(b"\n", at)
                key, size = data[at:end].rsplit(b"\t", 1)
                at = end + 1 + int(size)
                record = Record(key.decode(), data[end + 1:at])
                record.stream = stream
                found.append(record)
        return found

    def by_id(self):
        return {record.id: record for record in self.records()}


class Producer:
    """One sluice-producer."""

    def __init__(self, lab, name, settings, tls, users, wildcard):
        self.port, self.tls_port = free_port(), free_port()
        listeners = [f"'{'0.0.0.0' if wildcard else '127.0.0.1'}:{self.port}'"]
        if tls:
            listeners.append(f"{{address: '127.0.0.1:{self.tls_port}', implicit-tls: true}}")
            settings = {"tls-certificate-file": "cert.pem", "tls-key-file": "key.pem", **settings}
        if users:
            settings = {"users-file": "users", **settings}
        self.log_path = lab.path(name + ".log")
        with open(self.log_path, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [os.path.join(lab.bin, "sluice-producer"), "--config", lab.write_config(name, settings, listeners)],
                stderr=log, stdout=log)
        lab.producers.append(self)  # from here on it is ended whatever happens

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def wait_log(self, what, count=1):
        end = time.monotonic() + PATIENCE
        while self.log().count(what) < count:
            check(self.process.poll() is None, "the producer ended:\n" + self.log()[-3000:])
            check(time.monotonic() < end, f"{what} is not in the log:\n" + self.log()[-3000:])
            time.sleep(0.05)

    def stop(self):
        """Drained and, under ASan, without leaks."""
        self.process.send_signal(signal.SIGTERM)
        self.wait_end()

    def wait_end(self):
        status = self.process.wait(PATIENCE)
        check(status == 0, f"the producer ended with {status}:\n" + self.log()[-4000:])

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="utf-8") as file:
            parts = file.read().rsplit(")", 1)[1].split()
        return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


class Raw:
    """A client that says exactly what it is told to."""

    def __init__(self, port, secure=False, source=None):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE, (source, 0) if source else None)
        if secure:
            self.secure()
        self.file = self.socket.makefile("rb")

    def secure(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.socket = context.wrap_socket(self.socket)

    def reply(self):
        """The last line of one reply; empty: the link was closed."""
        try:
            while True:
                line = self.file.readline().decode()
                if not line or line[3:4] != "-":
                    return line.rstrip("\r\n")
        except ConnectionResetError:
            return ""

    def send(self, data):
        self.socket.sendall(data)

    def say(self, line):
        self.send(line.encode() + b"\r\n")
        return self.reply()

    def begin(self, recipient="r@y.example", sender="a@x.example"):
        """Up to 354."""
        check(self.reply().startswith("220"), "no greeting")
        for line, wanted in (("EHLO client.example", "250"), (f"MAIL FROM:<{sender}>", "250"),
                             (f"RCPT TO:<{recipient}>", "250"), ("DATA", "354")):
            got = self.say(line)
            check(got.startswith(wanted), f"{line}: {got}")

    def close(self):
        self.file.close()
        self.socket.close()

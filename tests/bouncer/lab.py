"""What the cases of tests/bouncer share: Kafka, bouncers, signed addresses, a client that sends mail back, reading the events."""
import os
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "ops"), os.path.join(ROOT, "tests", "e2e", "lib")]
from stack.stack import Stack, StackError, free_port                # noqa: E402
from stack.verp import Facts, RETURN_PATH, Signer       # noqa: E402

PATIENCE = 60  # seconds that something is waited for before it counts as never happening
DOMAIN, OTHER_DOMAIN = "back.example", "back.example.org"
SECRET = "a secret of the test, long enough"


class Failed(Exception):
    """A case did not hold."""


def check(condition, what):
    if not condition:
        raise Failed(what)


def equal(got, wanted, what):
    check(got == wanted, f"{what}: {got!r}, wanted {wanted!r}")


def until(what, test, seconds=PATIENCE):
    """Waits until test() gives something true, which is returned."""
    end = time.monotonic() + seconds
    while True:
        found = test()
        if found:
            return found
        check(time.monotonic() < end, f"never happened: {what}")
        time.sleep(0.05)


class Sent:
    """A mail of ours that may come back: its id and its signed return path."""

    def __init__(self, recipient, facts, signer=None, organisation=None, sent=None, domain=DOMAIN, purpose=RETURN_PATH):
        self.id = str(uuid.uuid4())
        self.recipient = recipient
        organisation = recipient.split("@")[1] if organisation is None else organisation
        local = (signer or Signer(SECRET)).local_part(self.id, recipient, facts, organisation, sent, purpose)
        self.path = f"{local}@{domain}"


class Lab:
    """A folder, a Kafka, and the bouncers that were started."""

    def __init__(self, build):
        self.build = build
        self.stack = Stack(tempfile.mkdtemp(prefix="sluice-bouncer-"), build)
        self.facts = Facts("acme", "spring")
        self.bouncers = []
        self.servers = []

    def path(self, name):
        return self.stack.path(name)

    def open(self):
        self.stack.start_kafka()
        self.make_certificate()
        self.stack.config = self.write_config("topics", "127.0.0.1:2525", "")
        self.stack.create_topics()
        self.put("facts", self.facts.key, self.facts.value)

    def close(self):
        for server in self.servers:
            server.shutdown()
        for bouncer in self.bouncers:
            if bouncer.process.poll() is None:
                bouncer.process.send_signal(signal.SIGCONT)
        self.stack.stop()
        shutil.rmtree(self.stack.folder, ignore_errors=True)

    def put(self, topic, key, value):
        with open(self.path("record"), "wb") as file:
            file.write(value)
        subprocess.run(["kcat", "-b", self.stack.bootstrap, "-P", "-t", "sluice." + topic, "-k", key, self.path("record")],
                       check=True, stderr=subprocess.DEVNULL)

    def make_certificate(self, certificate="cert.pem", key="key.pem"):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self.path(key), "-out", self.path(certificate),
                        "-days", "2", "-subj", "/CN=mx.back.example"], check=True, stderr=subprocess.DEVNULL)

    def take_off(self, topic, key, header):
        """A record without a value."""
        subprocess.run(["kcat", "-b", self.stack.bootstrap, "-P", "-Z", "-t", "sluice." + topic, "-K", ":", "-H", header],
                       input=f"{key}:\n".encode(), check=True, stderr=subprocess.DEVNULL)

    def records(self, topic):
        """All (key, value or None, headers) that were written; what was compacted is gone."""
        done = subprocess.run(["kcat", "-b", self.stack.bootstrap, "-C", "-e", "-q", "-Z", "-t", "sluice." + topic, "-f",
                               "%k\t%S\t%h\t%s\n\x01"], capture_output=True, check=True)
        for line in done.stdout.split(b"\n\x01")[:-1]:
            key, size, headers, value = line.split(b"\t", 3)
            yield key.decode(), None if size == b"-1" else value, headers.decode()

    def write_config(self, name, listener, settings, kafka="", more=""):
        """settings: lines of `bouncer`; more: other sections."""
        path = self.path(name + ".yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"""\
kafka: {{bootstrap-servers: '{self.stack.bootstrap}', shards: 4, event-partitions: 2, slots: 2{kafka}}}
vips: [{{name: v1, source-ipv4: 127.0.0.1, ehlo-name: a.example}}]
pools: [{{name: main, members: [v1]}}]
{more}
verp:
  domains: [{DOMAIN}, {OTHER_DOMAIN}]
  keys:
    - {{id: 0, secret: '{SECRET}'}}
    - {{id: 3, secret: 'the secret of a key that is over', not-before: 2026-01-01, not-after: 2026-01-02}}
bouncer:
  listeners: ['{listener}']
  host-name: {name}.mx.back.example
  tls-certificate-file: cert.pem
  tls-key-file: key.pem
  addresses:
    - {{address: fbl@{DOMAIN}, kind: feedback}}
    - {{address: leave@{DOMAIN}, kind: unsubscribe, tenant: acme}}
    - {{address: "@bounces.example", kind: bounce}}
""" + "".join(f"  {line}\n" for line in settings.splitlines()))
        return path

    def start(self, name, settings="", port=None, more=""):
        bouncer = Bouncer(self, name, settings, port, more)
        self.bouncers.append(bouncer)
        bouncer.wait_log("event=listening")
        bouncer.wait_log("event=table-ready")
        return bouncer

    def events(self, topic="log"):
        """A broker that has just come back may need a moment more to know its own partitions."""
        for _ in range(20):
            try:
                return list(self.stack.events(topic))
            except StackError as error:
                problem = error
                time.sleep(1)
        raise problem

    def told(self, report_id, topic="log"):
        """Events that the mail "250 queued as report_id" has made."""
        return [event for event in self.events(topic) if what(event).get("report_id") == report_id]

    def broker_signal(self, number):
        os.kill(self.stack.service_pid("kafka"), number)

    def http(self, answers):
        """A server that gives these statuses in turn, the last one for ever; what came is in .bodies."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), Target)
        server.answers, server.bodies, server.headers = list(answers), [], []
        server.release = threading.Event()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.servers.append(server)
        return server


class Target(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answers = self.server.answers
        status = answers.pop(0) if len(answers) > 1 else answers[0]
        if status == "hang":
            self.server.release.wait(PATIENCE)
            return
        self.server.bodies.append(body)
        self.server.headers.append(dict(self.headers))
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def what(event):
    """The part of an event that tells of what came back."""
    return event.get(event["type"], {})


class Bouncer:
    def __init__(self, lab, name, settings, port, more):
        self.lab, self.name = lab, name
        self.port = port or free_port()
        self.config = lab.write_config(name, f"127.0.0.1:{self.port}", settings, more=more)
        self.process = lab.stack.spawn(name, [lab.stack.program("sluice-bouncer"), "serve", "--config", self.config])

    def log(self):
        with open(self.lab.path(self.name + ".log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def wait_log(self, text, count=1):
        def there():
            check(self.process.poll() is None, "the bouncer ended:\n" + self.log()[-3000:])
            return self.log().count(text) >= count
        until(f"{text} in the log:\n" + self.log()[-1000:], there)

    def stop(self):
        """Drained and, under ASan, without leaks."""
        self.process.send_signal(signal.SIGTERM)
        self.wait_end()

    def wait_end(self):
        status = self.process.wait(PATIENCE)
        check(status == 0, f"the bouncer ended with {status}:\n" + self.log()[-4000:])

    def client(self, name="mx.example.net", secure=False):
        client = smtplib.SMTP("127.0.0.1", self.port, local_hostname=name, timeout=PATIENCE)
        if secure:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            client.starttls(context=context)
        return client

    def give(self, to, message, name="mx.example.net", sender=""):
        """One mail; (code, text)."""
        with self.client(name) as client:
            client.ehlo()
            equal(client.mail(f"<{sender}>")[0], 250, "MAIL")
            code, text = client.rcpt(f"<{to}>")
            if code != 250:
                return code, text.decode()
            code, text = client.data(message)
            return code, text.decode()

    def take(self, to, message, name="mx.example.net", sender=""):
        """One mail that must be taken; its events."""
        code, text = self.give(to, message, name, sender)
        equal(code, 250, text)
        return self.lab.told(report_of(text))


def report_of(text):
    return text.split("queued as ")[1].split()[0]


class Raw:
    """A client that says exactly what it is told to."""

    def __init__(self, port, source=None):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE, (source, 0) if source else None)
        self.file = self.socket.makefile("rb")

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

    def begin(self, to):
        """Up to 354."""
        check(self.reply().startswith("220"), "no greeting")
        for line, wanted in (("EHLO mx.example.net", "250"), ("MAIL FROM:<>", "250"), (f"RCPT TO:<{to}>", "250"), ("DATA", "354")):
            got = self.say(line)
            check(got.startswith(wanted), f"{line}: {got}")

    def close(self):
        self.file.close()
        self.socket.close()

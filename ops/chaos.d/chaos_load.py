"""The load: a steady stream of mail and probes through libsluice (sluice-feed), and some by SMTP. Both clients do what a careful
application does: what was not acknowledged is sent again, over libsluice with the same idempotency key, until it is."""
import collections
import queue
import random
import smtplib
import subprocess
import threading
import time

from chaos_record import probe_id
from chaos_world import DOMAINS, LOADED, POLICY, SHARDS, TENANTS

PROBE_SECONDS = 0.5   # between two probes of a partition
TICK_SECONDS = 0.05
BYTES = 900
AGAIN_SECONDS = 0.5   # before what has failed is sent again


class Mail:
    """One recipient of one message."""
    __slots__ = ("test_id", "stream", "way", "tries", "acknowledged", "published", "id")

    def __init__(self, test_id, stream, way):
        self.test_id, self.stream, self.way = test_id, stream, way
        self.tries = 0
        self.acknowledged = False
        self.published = 0.0
        self.id = ""


class Books:
    """Everything that was ever sent, by recipient; every address is used once."""

    def __init__(self):
        self.lock = threading.Lock()
        self.mails = {}    # recipient -> Mail
        self.waiting = {}  # test id -> recipients without an acknowledgement

    def sent(self, test_id, stream, way, recipients, now):
        with self.lock:
            for recipient in recipients:
                mail = self.mails.get(recipient)
                if mail is None:
                    mail = self.mails[recipient] = Mail(test_id, stream, way)
                    mail.published = now
                mail.tries += 1
            self.waiting[test_id] = recipients

    def acknowledged(self, test_id, message_id=""):
        with self.lock:
            for recipient in self.waiting.pop(test_id, ()):
                self.mails[recipient].acknowledged = True
                self.mails[recipient].id = message_id

    def open(self):
        with self.lock:
            return len(self.waiting)


class Feed:
    """sluice-feed under supervision: killed or not, what it was given and has not acknowledged is given again."""

    def __init__(self, stack, books):
        self.stack, self.books = stack, books
        self.lock = threading.Lock()
        self.lines = {}     # test id -> its line, until it is acknowledged
        self.refused = []   # what libsluice calls invalid: a mistake of ours
        self.failures = 0
        self.ways = collections.Counter()  # "new", "recognised", "unguarded"
        self.late = []      # (when, test id): to be sent again
        self.process = None
        self.ended = False
        self.start()

    def start(self):
        process = self.stack.spawn("feed", [self.stack.program("sluice-feed"), "--config", self.stack.config],
                                   stdout=subprocess.PIPE, stdin=subprocess.PIPE)
        self.process = process
        threading.Thread(target=self._read, args=(process,), daemon=True).start()

    def publish(self, test_id, stream, tenant, recipients):
        self.books.sent(test_id, stream, "feed", recipients, time.time())
        line = f"{test_id}\t{stream}\t{tenant}\t{BYTES}\t{','.join(recipients)}\n"
        with self.lock:
            self.lines[test_id] = (line, stream, recipients)
            self._write(line)

    def _write(self, line):
        try:
            self.process.stdin.write(line.encode())
            self.process.stdin.flush()
        except OSError:
            pass  # it has died: restart() gives it again

    def again(self):
        """What has failed and is due."""
        now = time.monotonic()
        with self.lock:
            due = [test_id for when, test_id in self.late if when <= now]
            self.late = [item for item in self.late if item[0] > now]
            self._resend(due)

    def _resend(self, test_ids):
        for test_id in test_ids:
            if test_id in self.lines:
                line, stream, recipients = self.lines[test_id]
                self.books.sent(test_id, stream, "feed", recipients, time.time())
                self._write(line)

    def _read(self, process):
        for raw in process.stdout:
            test_id, result, message_id, _, _, how, text = raw.decode().rstrip("\n").split("\t", 6)
            with self.lock:
                if result == "ok":
                    self.ways[how] += 1
                    self.lines.pop(test_id, None)
                    self.books.acknowledged(test_id, message_id)
                elif result == "invalid":
                    self.refused.append(f"{test_id}: {text}")
                else:
                    self.failures += 1
                    self.late.append((time.monotonic() + AGAIN_SECONDS, test_id))

    def kill(self):
        self.process.kill()
        self.process.wait()

    def restart(self):
        """Everything that the dead one has not acknowledged goes to the new one. What it had said last is read first."""
        time.sleep(0.1)
        with self.lock:
            self.start()
            self.late = []
            self._resend(list(self.lines))

    def dead(self):
        return self.process.poll() is not None


class Submitter(threading.Thread):
    """Mail by SMTP. A client without a 250 cannot know: it sends again, and that may be a second copy."""

    def __init__(self, books, port, per_second, seed):
        super().__init__(daemon=True)
        self.books, self.port, self.pause = books, port, 1 / per_second
        self.random = random.Random(seed)
        self.todo = queue.Queue()
        self.ended = threading.Event()
        self.number = 0
        self.refused = []

    def next(self):
        self.number += 1
        domain = DOMAINS[self.random.choice(LOADED)][self.random.randrange(SHARDS)]
        return f"smtp:{self.number}", self.random.choice(sorted(POLICY)), f"s{self.number}@{domain}"

    def run(self):
        mail = None
        while mail is not None or not self.ended.is_set():
            try:
                with smtplib.SMTP("127.0.0.1", self.port, local_hostname="app.sender.test", timeout=15) as session:
                    while mail is not None or not self.ended.is_set():
                        mail = mail or self.next()
                        self.submit(session, *mail)
                        mail = None
                        time.sleep(self.pause)
            except (OSError, smtplib.SMTPException) as error:
                if getattr(error, "smtp_code", 400) >= 500:
                    self.refused.append(str(error))
                    return
                time.sleep(AGAIN_SECONDS)

    def submit(self, session, test_id, stream, recipient):
        self.books.sent(test_id, stream, "smtp", [recipient], time.time())
        session.ehlo_or_helo_if_needed()
        code, text = session.mail("bounces@sender.test")
        if code < 300:
            code, text = session.rcpt(recipient)
        if code < 300:
            code, text = session.data(f"From: a@sender.test\r\nSubject: chaos\r\nX-Sluice-Stream: {stream}\r\n"
                                      f"X-Sluice-Test-ID: {test_id}\r\n\r\nHello\r\n")
        # An earlier copy, of which we did not hear, has brought the recipient onto the suppression list.
        suppressed = code == 550 and text.startswith(b"5.7.1") and self.books.mails[recipient].tries > 1
        if code != 250 and not suppressed:
            raise smtplib.SMTPResponseException(code, text)
        self.books.acknowledged(test_id)


class Load(threading.Thread):
    """Gives the feed its mail at an even rate; one recipient or a few of one domain."""

    def __init__(self, feed, per_second, seed):
        super().__init__(daemon=True)
        self.feed, self.per_second = feed, per_second
        self.random = random.Random(seed)
        self.ended = threading.Event()
        self.number = 0

    def run(self):
        partitions = [(stream, shard) for stream in POLICY for shard in range(SHARDS)]
        started = time.monotonic()
        probes = mails = 0
        while not self.ended.wait(TICK_SECONDS):
            passed = time.monotonic() - started
            while mails < passed * self.per_second:
                mails += 1
                self.mail()
            while probes < passed / PROBE_SECONDS * len(partitions):
                self.probe(*partitions[probes % len(partitions)])
                probes += 1
            self.feed.again()

    def mail(self):
        self.number += 1
        domain = DOMAINS[self.random.choice(LOADED)][self.random.randrange(SHARDS)]
        count = self.random.randint(2, 4) if self.random.random() < 0.1 else 1
        self.feed.publish(f"mail:{self.number}", self.random.choice(sorted(POLICY)), self.random.choice(TENANTS),
                          [f"u{self.number}-{i}@{domain}" for i in range(count)])

    def probe(self, stream, shard):
        now = time.time()
        self.feed.publish(probe_id(stream, shard, now), stream, TENANTS[0],
                          [f"p{int(now * 1000)}-{stream}@{DOMAINS['probe'][shard]}"])

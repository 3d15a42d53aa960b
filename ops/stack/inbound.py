"""ops/bench inbound: reports that come back by SMTP, from the socket to Kafka's acknowledgement of their events."""
import subprocess
import time
import uuid

from stack.returned import dsn
from stack.stack import StackError, cpu_seconds, free_port, rss_kb
from stack.verp import Facts, Signer

DOMAIN = "back.sender.test"
SECRET = "the secret of a benchmark"
SOURCES = 4  # each sends reports about a mail of its own


def write_config(stack, port):
    stack.write_config(f"""\
kafka: {{bootstrap-servers: "{stack.bootstrap}", prefix: "in.", shards: 4, event-partitions: 8, slots: 4}}
vips: [{{name: v1, source-ipv4: 127.0.0.1, ehlo-name: v1.sender.test}}]
pools: [{{name: main, members: [v1]}}]
verp: {{domains: [{DOMAIN}], keys: [{{id: 0, secret: "{SECRET}"}}]}}
bouncer: {{listeners: ["127.0.0.1:{port}"], host-name: mx.{DOMAIN}, max-connections-per-peer: 1000, log-level: warn}}
""")
    stack.create_topics()


def start_bouncer(stack, port):
    facts = Facts("bench", "bench")
    subprocess.run(["kcat", "-b", stack.bootstrap, "-P", "-t", "in.facts", "-k", facts.key], input=facts.value, check=True,
                   stderr=subprocess.DEVNULL)
    stack.start_bouncer(port)
    return facts


def measure(stack, options, smtp_source, say):
    """One row: reports a second, and CPU of the bouncer and of Kafka for each."""
    port = free_port()
    write_config(stack, port)
    facts = start_bouncer(stack, port)
    rows = []
    for size in options.sizes:
        count = options.messages // SOURCES * SOURCES
        commands = []
        for i in range(SOURCES):
            recipient = f"user{i}@mail.test"
            to = Signer(SECRET).local_part(str(uuid.uuid4()), recipient, facts, "mail.test") + "@" + DOMAIN
            path = stack.path(f"report{size}.{i}")
            bare = len(dsn(to, "mx.mail.test", recipient))
            with open(path, "wb") as file:  # smtp-source makes CRLF of LF
                file.write(dsn(to, "mx.mail.test", recipient, padding=max(0, size - bare)).replace(b"\r\n", b"\n"))
            commands.append([smtp_source, "-d", "-s", str(max(1, options.sessions // SOURCES)), "-m", str(count // SOURCES), "-F", path,
                             "-f", "mailer-daemon@mx.mail.test", "-t", to, f"inet:127.0.0.1:{port}"])
        pid, kafka = stack.processes["bouncer"].pid, stack.service_pid("kafka")
        cpu, kafka_cpu, started = cpu_seconds(pid), cpu_seconds(kafka), time.monotonic()
        sources = [subprocess.Popen(command, stdin=subprocess.DEVNULL) for command in commands]
        if any([source.wait() != 0 for source in sources]):
            raise StackError("smtp-source failed:\n" + stack.log_tail("bouncer"))
        seconds = time.monotonic() - started
        used = cpu_seconds(pid) - cpu
        row = {"bytes": size, "reports": count, "per_second": round(count / seconds), "cpu_us": round(used * 1e6 / count, 1),
               "per_second_and_core": round(count / used), "kafka_us": round((cpu_seconds(kafka) - kafka_cpu) * 1e6 / count, 1),
               "rss_mb": round(rss_kb(pid) / 1024)}
        rows.append(row)
        say(f"  {size:>6} bytes: {row['per_second']:>6}/s, bouncer {row['cpu_us']} us of CPU each ({row['per_second_and_core']}/s on one core), "
            f"Kafka {row['kafka_us']} us, {row['rss_mb']} MB")
    told = sum(1 for event in stack.events() if event["type"] == "bounced_late" and event["tenant"] == "bench"
               and not event["bounced_late"].get("suspicious"))
    if told != sum(row["reports"] for row in rows):
        raise StackError(f"{told} events of {sum(row['reports'] for row in rows)} reports")
    stack.end("bouncer")
    return {"rows": rows, "events": told}

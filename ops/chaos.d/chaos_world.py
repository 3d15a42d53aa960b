"""The world of ops/chaos: moody providers, each with a domain for every shard, three streams with a policy of their own for what is
uncertain, and a VIP for each worker, so that the providers' record shows by the source address who has sent. Mail of one stream has signed
return paths, to which the providers report."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from stack.world import Provider, World  # noqa: E402

SHARDS = 8
WORKERS = 6  # names and VIPs that there are; how many run is the schedule's
POLICY = {"tx": "hold", "bulk": "resend", "news": "drop"}  # stream -> on-uncertain
TENANTS = ("shop", "bank", "club", "paper")
VIP_NETWORK = "127.0.2."
BACK_STREAM = "news"  # with signed return paths: one recipient a transaction; the others go out as they are
BACK_DOMAIN = "back.sender.test"
FEEDBACK_ADDRESS = f"fbl@{BACK_DOMAIN}"


def murmur2(data):
    """As Kafka's Java client computes it (and librdkafka's murmur2_random)."""
    mask = 0xffffffff
    mix = 0x5bd1e995
    value = 0x9747b28c ^ len(data)
    whole = len(data) // 4 * 4
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i:i + 4], "little") * mix & mask
        k = (k ^ k >> 24) * mix & mask
        value = value * mix & mask ^ k
    rest = data[whole:]
    if rest:
        value = (value ^ int.from_bytes(rest, "little")) * mix & mask
    value = (value ^ value >> 13) * mix & mask
    return value ^ value >> 15


def shard_of(domain):
    return (murmur2(domain.encode()) & 0x7fffffff) % SHARDS


def domains_of(name):
    """A domain for every shard, in the shards' order."""
    found = {}
    i = 0
    while len(found) < SHARDS:
        domain = f"{name}{i}.test"
        found.setdefault(shard_of(domain), domain)
        i += 1
    return [found[shard] for shard in range(SHARDS)]


# name, share of the load in percent, keys of the simulator
MOODS = [
    ("probe", 0, "profile: postfix\n"),
    ("steady", 30, "profile: gmail\nlatency: {{message: 30ms}}\naccept-when-cut: 50%\n"),
    ("slow", 20, "profile: postfix\nlatency: {{message: 500ms}}\naccept-when-cut: 50%\n"),
    ("flaky", 15, "profile: postfix\nlatency: {{message: 50ms}}\ndrop-before-dot: 3%\ndrop-after-dot: 2%\naccept-when-cut: 100%\n"),
    ("moody", 15, "profile: microsoft\nlatency: {{message: 20ms}}\ntemporary: 10%\nunknown: 3%\naccept-when-cut: 50%\nreplies:\n"
                  '  - {{phase: rcpt, chance: 5%, reply: "452 4.2.2 Mailbox full"}}\n'
                  '  - {{phase: message, chance: 3%, reply: "451 4.3.0 Not now"}}\n'
                  '  - {{phase: message, chance: 1%, reply: "554 5.7.1 Not wanted"}}\n'),
    ("grey", 10, "profile: postfix\ngreylist: 1s\naccept-when-cut: 50%\n"),
    ("tarpit", 10, "profile: yahoo\ntarpit: 300ms\naccept-when-cut: 50%\n"),
]

WORLD = World(
    providers=[Provider(name, [f"127.0.8.{i + 1}"], domains_of(name), share, sim) for i, (name, share, sim) in enumerate(MOODS)],
    extra_domains={})
DOMAINS = {provider.name: provider.domains for provider in WORLD.providers}
LOADED = [name for name, share, _ in MOODS for _ in range(share)]  # drawn from with equal chance


def vip_address(number):
    return f"{VIP_NETWORK}{number}"


def config_text(stack, sim_port, smtp_port, bouncer_port, duplicates, session_timeout_s, completion):
    """`completion`: these programs know the keys about it. The session time-out is also given as the client's own property, for workers that
    do not go by the key."""
    def stream(name, kind):
        more = f", duplicates: {duplicates}, on-uncertain: {POLICY[name]}" if completion else ""
        more += ", verp: true" if name == BACK_STREAM else ""
        return f"  - {{name: {name}, class: {kind}, pool: shared{more}}}\n"
    vips = [f"vip{i + 1}" for i in range(WORKERS)]
    return f"""\
kafka:
  bootstrap-servers: {stack.bootstrap}
  shards: {SHARDS}
  event-partitions: 4
  slots: 4
  tier-unit: 1s
  properties: {{session.timeout.ms: {session_timeout_s * 1000}}}
redis: {{host: 127.0.0.1, port: {stack.redis_port}}}
dns: {{servers: ["{stack.dns}"], timeout: 3s}}
vips:
""" + "".join(f"  - {{name: {vip}, source-ipv4: {vip_address(i + 1)}, ehlo-name: {vip}.sender.test}}\n" for i, vip in enumerate(vips)) \
        + f"""\
pools:
  - {{name: shared, members: [{', '.join(vips)}]}}
sites:
  - name: default
    default-smtp-port: {sim_port}
    retry: [1s, 2s, 4s]
    bounce-after: 3h
    dead-host-time: 1s
    connect-timeout: 5s
    max-msg-per-connection: 50
tenants:
""" + "".join(f"  - {{name: {name}, rate: {(i + 1) * 100000}/h}}\n" for i, name in enumerate(TENANTS)) \
        + "streams:\n" + stream("tx", "transactional") + stream("bulk", "bulk") + stream("news", "bulk") + f"""\
worker:
  drain-timeout: 15s
{f"  session-timeout: {session_timeout_s}s" if completion else ""}
producer:
  listeners: ["127.0.0.1:{smtp_port}"]
  auth-required: false
  default-tenant: {TENANTS[0]}
  host-name: submit.sender.test
  kafka-timeout: 5s
verp: {{domains: [{BACK_DOMAIN}], keys: [{{id: 0, secret: "the secret of ops/chaos, long enough"}}]}}
bouncer:
  listeners: ["127.0.0.1:{bouncer_port}"]
  host-name: mx.{BACK_DOMAIN}
  kafka-timeout: 5s
  addresses: [{{address: {FEEDBACK_ADDRESS}, kind: feedback}}]
"""

"""The simulated world: mailbox providers with their addresses, domains, moods and limits, as a zone, a simulator configuration and
the sites of a sluice.yaml that are told from one description."""
import textwrap


class Provider:
    """One provider: its MX hosts and their loopback addresses, the domains it serves, how it behaves (keys of the simulator)."""

    def __init__(self, name, addresses, domains, share, sim="", site="", shared_mx=None):
        """sim None: somebody else than the simulator listens there (a real mail server of a test)."""
        self.name = name
        self.addresses = addresses
        self.domains = domains
        self.share = share         # part of the recipients, in percent
        self.sim = None if sim is None else textwrap.dedent(sim)
        self.site = textwrap.dedent(site)
        self.mx_zone = shared_mx or domains[0]


class World:
    def __init__(self, providers, extra_domains):
        self.providers = providers
        self.extra = extra_domains  # domain -> (share, lines of its zone; None: it does not exist)

    def recipients(self, count):
        """So many addresses, spread over domains by share in a fixed pattern, every one unique."""
        wheel = []
        for provider in self.providers:
            per_domain = max(1, provider.share // len(provider.domains))
            for domain in provider.domains:
                wheel += [domain] * per_domain
        for domain, (share, _) in self.extra.items():
            wheel += [domain] * share
        step = next(s for s in (7919, 104729, 13) if len(wheel) % s)
        return [f"user{i:07}@{wheel[(i * step) % len(wheel)]}" for i in range(count)]


def _indent(text, by):
    return textwrap.indent(text.strip("\n"), " " * by) + ("\n" if text.strip() else "")


HEAD = "$TTL 60\n@ IN SOA ns.invalid. hostmaster.invalid. 1 3600 600 86400 60\n@ IN NS ns.invalid.\n"


def zones(world):
    texts = {".": "$ORIGIN .\n" + HEAD + "ns.invalid. IN A 127.0.0.1\n"}
    for provider in world.providers:
        for domain in provider.domains:
            lines = [f"@ IN MX {10 * (i + 1)} mx{i + 1}.{provider.mx_zone}." for i in range(len(provider.addresses))]
            if domain == provider.mx_zone:
                lines += [f"mx{i + 1} IN A {address}" for i, address in enumerate(provider.addresses)]
            texts[domain] = f"$ORIGIN {domain}.\n" + HEAD + "\n".join(lines) + "\n"
    for domain, (_, lines) in world.extra.items():
        if lines is not None:
            texts[domain] = f"$ORIGIN {domain}.\n" + HEAD + lines + "\n"
    return texts


def sim_config(world, stack, port):
    text = f"record: {stack.path('accepted.tsv')}\nproviders:\n"
    for provider in world.providers:
        if provider.mx_zone not in provider.domains or provider.sim is None:
            continue  # served by another one's hosts, or by another program
        listen = ", ".join(f'"{address}:{port}"' for address in provider.addresses)
        sim = provider.sim.format(certificate=stack.path("cert.pem"), key=stack.path("key.pem"))
        text += f"  - name: {provider.name}\n    listen: [{listen}]\n    host-name: mx1.{provider.mx_zone}\n{_indent(sim, 4)}"
    return text


DEFAULT_SITE = """
retry: [2s, 4s, 8s]
bounce-after: 20s
dead-host-time: 3s
connect-timeout: 5s
"""


BACK = "back.sender.test"
BOUNCER = """\
verp:
  domains: [{domain}]
  keys: [{{id: 0, secret: "no secret at all, but long"}}]
bouncer:
  listeners: ["127.0.0.1:{port}"]
  host-name: mx.{domain}
  addresses:
    - {{address: "fbl@{domain}", kind: feedback}}
    - {{address: "leave@{domain}", kind: unsubscribe, tenant: demo}}
"""


def sluice_config(world, stack, vips, sim_port, smtp_port, default_site=DEFAULT_SITE, producer="",
                  bouncer_port=None, tenants="", streams=None):
    """`bouncer_port`: mail gets signed return paths, and what comes back is taken there. `tenants`: further ones. `streams`: in place of
    the usual ones, as lines of a list."""
    if streams is None:
        streams = f"""\
- {{name: tx, class: transactional, pool: shared, on-uncertain: hold}}   # what broke at the last moment is kept, not sent again
- {{name: bulk, class: bulk, pool: shared, on-uncertain: hold{", verp: true" if bouncer_port else ""}}}
"""
    text = f"""\
kafka:
  bootstrap-servers: {stack.bootstrap}
  shards: 16
  event-partitions: 8
  slots: 8
  tier-unit: 1s                 # the real one is 30s: nobody wants to wait that long for a demo
redis: {{host: 127.0.0.1, port: {stack.redis_port}}}
dns: {{servers: ["{stack.dns}"], timeout: 3s}}
vips:
"""
    for i, vip in enumerate(vips):
        text += f"  - {{name: {vip}, source-ipv4: 127.0.2.{i + 1}, ehlo-name: {vip}.sender.test}}\n"
    text += f"pools:\n  - {{name: shared, members: [{', '.join(vips)}]}}\nsites:\n"
    for provider in world.providers:
        if provider.site:
            text += f"  - name: {provider.name}\n    match: [{provider.mx_zone}]\n{_indent(provider.site, 4)}"
    text += f"""\
  - name: default
    default-smtp-port: {sim_port}
{_indent(default_site, 4)}\
tenants:
  - {{name: demo, rate: 1000000/h, pools: [shared]}}
  - {{name: careful, pools: [shared], bounce-to-sender: true}}
{_indent(tenants, 2)}\
streams:
{_indent(streams, 2)}\
producer:
  listeners: ["127.0.0.1:{smtp_port}"]
  auth-required: false
  default-tenant: demo
  host-name: submit.sender.test
{_indent(producer, 2)}"""
    if bouncer_port:
        text += BOUNCER.format(domain=BACK, port=bouncer_port)
    return text


WORKSPACE = [f"company{i:02}.test" for i in range(20)]

DEMO = World(
    providers=[
        Provider("bigmail", ["127.0.1.1", "127.0.1.2"], ["bigmail.test"], 30, """
            profile: gmail
            latency: 5ms
            capabilities: [PIPELINING, CHUNKING, SIZE, 8BITMIME, SMTPUTF8, DSN, ENHANCEDSTATUSCODES, STARTTLS]
            tls: {{certificate: {certificate}, key: {key}}}
            unknown: 3%
            replies:
              - {{phase: rcpt, chance: 1%, reply: "452 4.2.2 The recipient's inbox is out of storage space"}}
            """, "max-smtp-out: 60\n"),
        Provider("workspace", ["127.0.1.1", "127.0.1.2"], WORKSPACE, 20, shared_mx="bigmail.test"),
        Provider("hotpost", ["127.0.1.3"], ["hotpost.test"], 15, """
            profile: microsoft
            latency: 10ms
            max-connections: 40
            unknown: 4%
            temporary: 5%
            """, "max-smtp-out: 30\nsource-ip-max-smtp-out: 10\n"),
        Provider("yoohoo", ["127.0.1.4"], ["yoohoo.test"], 12, """
            profile: yahoo
            max-rate: 500/s
            unknown: 2%
            replies:
              - {{phase: message, chance: 2%, reply: "554 5.7.9 Message not accepted for policy reasons"}}
            """, "max-msg-rate: 400/s\n"),
        Provider("greylist", ["127.0.1.5"], ["greylist.test"], 8, """
            profile: postfix
            greylist: 1s
            """),
        Provider("slow", ["127.0.1.6"], ["slow.test"], 4, """
            profile: postfix
            latency: 60ms
            """),
        Provider("flaky", ["127.0.1.7", "127.0.1.8"], ["flaky.test"], 5, """
            profile: postfix
            drop-before-dot: 1%
            drop-after-dot: 0.5%
            """),
        Provider("secretive", ["127.0.1.9"], ["secretive.test"], 3, """
            profile: postfix
            capabilities: [PIPELINING, SIZE, 8BITMIME, STARTTLS, ENHANCEDSTATUSCODES]
            tls: {{certificate: {certificate}, key: {key}}}
            starttls: refuse
            """),
        Provider("dead", ["127.0.1.10"], ["dead.test"], 1, "down: true\n"),
    ],
    extra_domains={
        "nullmx.test": (1, "@ IN MX 0 ."),
        "nowhere.test": (1, None),
    })

"""ops/bench blast: what a tenant in trouble costs another one that shares workers, VIPs, partitions and one site with it."""
import time

import bench_sim
from bench_sim import Record, percentile
from stack.world import Provider, World

WORKERS = 2
GOOD_SITES = 4
GOOD_RATE = 100      # a second, each
TARPITS = 20
BAD_PART = 10        # the bad tenant has so many times the mail of the good one at most
SIM = "profile: postfix\nlatency: {{message: 5ms}}\n"
# What the bad tenant's mail meets: name, what it is, to which domains.
TROUBLES = (
    ("limit", "a tenant at its own limit (1/s), its mail for the same sites", [f"good{i}.test" for i in range(GOOD_SITES)]),
    ("bad", "a tenant full of bad addresses", ["bad.test"]),
    ("tarpits", f"a tenant whose mail goes to {TARPITS} tarpits", [f"tarpit{i:02}.test" for i in range(TARPITS)]),
    ("down", "a tenant whose sites cannot be reached", [f"down{i}.test" for i in range(GOOD_SITES)]),
    ("refused", "a tenant whom its sites refuse at MAIL FROM", ["refused.test"]),
    ("halted", "a tenant that is suspended, its mail for the same sites", [f"good{i}.test" for i in range(GOOD_SITES)]),
)


def world():
    good = [Provider(f"good{i}", [f"127.0.14.{i + 1}"], [f"good{i}.test"], 1, SIM, f"max-msg-rate: {GOOD_RATE}/s\n") for i in range(GOOD_SITES)]
    tarpits = [Provider(f"tarpit{i:02}", [f"127.0.15.{i + 1}"], [f"tarpit{i:02}.test"], 1, "profile: postfix\ntarpit: 10s\n")
               for i in range(TARPITS)]
    down = [Provider(f"down{i}", [f"127.0.16.{i + 1}"], [f"down{i}.test"], 1, "down: true\n") for i in range(GOOD_SITES)]
    bad = Provider("bad", ["127.0.17.1"], ["bad.test"], 1, SIM + "unknown: 100%\n")
    refused = Provider("refused", ["127.0.17.2"], ["refused.test"], 1, SIM + "replies: [{{phase: mail, chance: 100%, reply: \"451 4.7.1 Not from you\"}}]\n")
    return World(providers=[*good, *tarpits, *down, bad, refused], extra_domains={})


def mail(prefix, domains, count):
    for i in range(count):
        yield f"{prefix}{i:07}@{domains[i % len(domains)]}"


def run(stack, record, prefix, count):
    """The good tenant's mail from its publishing on: seconds until the last, and arrivals a second."""
    record.read()
    began = time.time()
    bench_sim.publish(stack, "good", mail(prefix, [f"good{i}.test" for i in range(GOOD_SITES)], count), tenant="good")
    times = record.wait("the good tenant's mail", lambda provider, recipient: recipient.startswith(prefix), count, 600)
    return {"seconds": times[-1] - began, "p50_s": percentile([at - began for at in times], 0.5)}


def bench_blast(stack, options, say):
    count = max(GOOD_SITES, options.messages // 100)
    tenants = "".join(f"- {{name: {name}, rate: 100000/h, pools: [shared], suspended: {str(name == 'halted').lower()}}}\n"
                      for name in ("good", *(name for name, _, _ in TROUBLES)))
    names = bench_sim.start(stack, world(), WORKERS, tenants=tenants, extra="limits:\n  - {tenant: limit, max-msg-rate: 1/s}\n")
    record = Record(stack)
    bench_sim.start_workers(stack, names)
    run(stack, record, "w", GOOD_SITES * GOOD_RATE)  # addresses are looked up, shares of rates are settled
    alone = run(stack, record, "g0x", count)
    say(f"  {'the good tenant alone':64} {count} mails in {alone['seconds']:6.1f} s, half of them in {alone['p50_s']:6.1f} s")
    rows = [{"beside": "", **{key: round(value, 2) for key, value in alone.items()}}]
    for n, (name, what, domains) in enumerate(TROUBLES, 1):
        bench_sim.publish(stack, name, mail("bad", domains, BAD_PART * count), tenant=name)
        got = run(stack, record, f"g{n}x", count)
        ratio = got["seconds"] / alone["seconds"]
        rows.append({"beside": what, "ratio": round(ratio, 3), **{key: round(value, 2) for key, value in got.items()}})
        say(f"  {'beside ' + what:64} {count} mails in {got['seconds']:6.1f} s ({ratio:.3f}), half of them in {got['p50_s']:6.1f} s ({got['p50_s'] / alone['p50_s']:.3f})")
    return {"mails": count, "rows": rows}

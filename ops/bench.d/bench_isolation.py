"""ops/bench isolation: a backlog for one slow site, and what it costs the fast sites in the same partitions, the memory, and the slow site itself."""
import re
import subprocess
import time

import bench_sim
from bench_sim import UNIT_S, Record
from stack.stack import StackError
from stack.world import Provider, World

WORKERS = 2
FAST = 100           # sites
SLOW_DOMAINS = 32    # so that its mail lies in all partitions
FAST_RATE = 20       # a second, each: 30 s of all of it fit into two workers' memory
SLOW_RATE = 10
SHARDS = 16
TIERS = 12
WINDOW_S = 10        # in which the slow site's use is looked at
SETTLED_S = 10
LONGER_S = 120       # the slow site is watched for so long when the fast ones are done


def world():
    sim = "profile: postfix\nlatency: {{message: 5ms}}\n"
    slow = Provider("slow", ["127.0.12.1"], [f"slow{i:02}.test" for i in range(SLOW_DOMAINS)], 1, sim, f"max-msg-rate: {SLOW_RATE}/s\n")
    fast = [Provider(f"fast{i:02}", [f"127.0.13.{i + 1}"], [f"fast{i:02}.test"], 1, sim, f"max-msg-rate: {FAST_RATE}/s\n") for i in range(FAST)]
    return World(providers=[slow, *fast], extra_domains={})


def fast_mail(name, each):
    for i in range(each):
        for k in range(FAST):
            yield f"{name}{i:06}@fast{k:02}.test"


def both(each, slow):
    """The slow site's mail evenly among that of the fast ones."""
    done, total = 0, each * FAST
    for n, address in enumerate(fast_mail("b", each)):
        yield address
        while done * total < slow * (n + 1):
            yield f"s{done:07}@slow{done % SLOW_DOMAINS:02}.test"
            done += 1


def run_fast(stack, record, names, prefix, mails, count):
    """Seconds from when publishing begins until the last fast mail, each site's, and the peak of memory."""
    peak = [0]

    def look():
        peak[0] = max(peak[0], bench_sim.peak_mb(stack, names))
    record.read()
    first, began = len(record.entries), time.time()
    bench_sim.publish(stack, prefix, mails)
    record.wait("fast mail", lambda provider, recipient: recipient.startswith(prefix) and provider != "slow", count, 1800, look)
    last = {}
    for at, provider, recipient in record.entries[first:]:
        if recipient.startswith(prefix) and provider != "slow":
            last[provider] = max(last.get(provider, 0), at - began)
    return {"seconds": max(last.values()), "sites": sorted(last.values()), "peak_mb": peak[0]}


def ends(stack):
    """Records that were ever put into each tier."""
    words = [word for tier in range(TIERS) for shard in range(SHARDS) for word in ("-t", f"sluice.d.{tier:02}:{shard}:-1")]
    done = subprocess.run(["kcat", "-b", stack.bootstrap, "-Q", *words], stdin=subprocess.DEVNULL, text=True, stdout=subprocess.PIPE, check=True)
    return sum(int(end) for end in re.findall(r"offset (\d+)", done.stdout))


def hops(wait_s):
    """Further copies of a mail that was put into its first tier to wait so long: the greatest tier within, then the rest; what is shorter
    than the first tier is waited for in memory."""
    count, left = 0, wait_s / UNIT_S
    while left >= 1:
        count += 1
        left -= 2 ** min(TIERS - 1, int(left).bit_length() - 1)
    return max(0, count - 1)


def forecast(stack, since_ms):
    """Of the records that wait in partition 0: (mails, hours that they will wait from now on, copies that they will need)."""
    total, hours, copies = 0, 0.0, 0
    now_ms = time.time() * 1000
    for tier in range(TIERS):
        done = subprocess.run(["kcat", "-C", "-b", stack.bootstrap, "-t", f"sluice.d.{tier:02}", "-p", "0", "-o", "beginning", "-e", "-q", "-u",
                               "-X", "isolation.level=read_committed", "-f", "%T %h\n"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
        for line in done.stdout.decode(errors="replace").splitlines():
            due = re.search(r"sluice-due-ms=(\d+)", line)
            at_ms = int(line.split(" ", 1)[0])
            if due and at_ms >= since_ms and at_ms + UNIT_S * 1000 * 2 ** tier > now_ms:
                wait = (int(due[1]) - at_ms) / 1000
                total, hours, copies = total + 1, hours + wait / 3600, copies + hops(wait)
    return total, hours, copies


def slow_use(times, begin, until):
    """Part of its limit that the slow site was sent: over all, and in the worst ten seconds."""
    counted = [at for at in times if begin <= at < until]
    worst = min((sum(at <= other < at + WINDOW_S for other in counted[i:i + 2 * WINDOW_S * SLOW_RATE])
                 for i, at in enumerate(counted) if at + WINDOW_S < until), default=0)
    return len(counted) / (SLOW_RATE * (until - begin)), worst / (SLOW_RATE * WINDOW_S)


def bench_isolation(stack, options, say):
    each, slow = max(1, options.messages // 100), options.messages
    names = bench_sim.start(stack, world(), WORKERS)
    record = Record(stack)
    say(f"{FAST} fast sites with {each} mails at {FAST_RATE}/s each; {slow} for a slow site at {SLOW_RATE}/s; {WORKERS} workers")
    bench_sim.start_workers(stack, names)
    run_fast(stack, record, names, "w", fast_mail("w", FAST_RATE), FAST_RATE * FAST)  # addresses are looked up, shares are settled
    alone = run_fast(stack, record, names, "a", fast_mail("a", each), each * FAST)
    say(f"  alone: the last fast mail after {alone['seconds']:.1f} s; a worker's memory {alone['peak_mb']} MB")
    began_ms, before = time.time() * 1000, ends(stack)
    beside = run_fast(stack, record, names, "b", both(each, slow), each * FAST)
    ratio = beside["seconds"] / alone["seconds"]
    worst = max(b / a for a, b in zip(alone["sites"], beside["sites"]))
    say(f"  beside the slow site: {beside['seconds']:.1f} s, {ratio:.3f} of alone (each site at most {worst:.3f}); memory {beside['peak_mb']} MB")
    fast_end = time.time()
    peaks, until = [], time.monotonic() + LONGER_S
    while time.monotonic() < until:
        peaks.append(bench_sim.peak_mb(stack, names))
        time.sleep(1)
    record.read()
    sent = sum(provider == "slow" for _, provider, _ in record.entries)
    if sent >= slow:
        raise StackError("the slow site has no backlog any more: it proves nothing (more --messages)")
    times = sorted(at for at, provider, _ in record.entries if provider == "slow")
    use, least = slow_use(times, times[0] + SETTLED_S, fast_end)
    later_use, later_least = slow_use(times, fast_end, time.time() - 1)
    say(f"  the slow site was sent {use:.1%} of its limit beside the fast ones ({least:.1%} in the worst {WINDOW_S} s), {later_use:.1%} when they were done "
        f"({later_least:.1%}); memory then at most {max(peaks)} MB")
    written = ends(stack) - before
    sample, hours, copies = forecast(stack, began_ms)
    rewritten = copies / hours if hours else float("nan")
    say(f"  {written} copies into tiers for {slow - sent} that wait; {sample} of them looked at: {hours / max(1, sample):.2f} h to wait on average, "
        f"{rewritten:.2f} times rewritten in an hour")
    return {"slow": slow, "fast_each": each, "alone_s": round(alone["seconds"], 1), "beside_s": round(beside["seconds"], 1), "ratio": round(ratio, 3),
            "worst_site_ratio": round(worst, 3), "alone_mb": alone["peak_mb"], "beside_mb": beside["peak_mb"], "later_mb": max(peaks),
            "slow_use": round(use, 3), "slow_least": round(least, 3), "slow_use_later": round(later_use, 3), "slow_least_later": round(later_least, 3),
            "tier_copies": written, "waiting": slow - sent,
            "wait_hours": round(hours / max(1, sample), 2), "rewritten_per_hour": round(rewritten, 2)}

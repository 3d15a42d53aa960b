"""What a backlog in delay tiers costs those who do not wait: fresh mail, retries that fall due, memory."""
import re
import subprocess
import time

from stack.stack import StackError, rss_kb

FAR = "6h"           # when what waits is due: not while this runs
DUE_AFTER_S = 60     # when the retries are due: all have been moved to a tier by then
TIER_UNIT = "1s"     # so that what is due in a minute hops as often as what is due in half an hour with 30 s
MOVE_SECONDS = 3600


def say(text):
    print(text, flush=True)


class Waiting:
    """One worker, with or without a backlog in its tiers."""

    def __init__(self, bench, name):
        self.bench, self.stack = bench, bench.stack
        bench.config(name, tier_unit=TIER_UNIT)
        self.stack.create_topics()
        self.sink = bench.open_sink()
        self.stack.start_worker("worker")
        self.stack.wait_worker("worker")

    def watch(self, what, wanted, seconds):
        """Until so many more are at the sink: rate from the first to the last, and the worker's peak memory."""
        base, started, first, peak = self.sink.count(), None, 0, 0
        deadline = time.monotonic() + seconds
        while True:
            now, done = time.monotonic(), self.sink.count() - base
            peak = max(peak, rss_kb(self.stack.processes["worker"].pid))
            if started is None and done > 0:
                started, first = now, done
            if done >= wanted:
                return {"per_second": round((done - first) / max(now - started, 0.001)), "peak_rss_mb": round(peak / 1024)}
            if now > deadline or self.stack.processes["worker"].poll() is not None:
                raise StackError(f"{what}: {done} of {wanted} after {seconds} s\n" + self.stack.log_tail("worker"))
            time.sleep(0.02)

    def fresh(self, count):
        """Published while the worker stands still, so that the clock measures it and not the publisher."""
        self.bench.end_worker()
        self.bench.wait_published(self.bench.publish(1000, count))
        self.stack.start_worker("worker")
        return self.watch("fresh mail", count, 600)

    def due(self, count):
        self.bench.wait_published(self.bench.publish(1000, count, "--not-before", f"{DUE_AFTER_S}s"))
        return self.watch("retries", count, DUE_AFTER_S + 600)

    def wait_in_tiers(self, count):
        """Until the worker has moved all of them out of its queue."""
        self.bench.wait_published(self.bench.publish(1000, count, "--not-before", FAR))
        started = time.monotonic()
        while self.in_tiers() < count:
            if time.monotonic() - started > MOVE_SECONDS or self.stack.processes["worker"].poll() is not None:
                raise StackError(f"{self.in_tiers()} of {count} are in tiers\n" + self.stack.log_tail("worker"))
            time.sleep(1)
        return time.monotonic() - started

    def in_tiers(self):
        """Records that were ever put into a tier: ends of the partitions."""
        done = subprocess.run(["kcat", "-b", self.stack.bootstrap, "-Q", *self.partitions()], stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, check=True)
        return sum(int(end) for end in re.findall(r"offset (\d+)", done.stdout))

    def partitions(self):
        with open(self.stack.config, encoding="utf-8") as file:
            prefix = re.search(r'prefix: "([^"]+)"', file.read()).group(1)
        words = []
        for tier in range(12):
            for shard in range(16):
                words += ["-t", f"{prefix}d.{tier:02}:{shard}:-1"]
        return words


def measure(waiting, count):
    result = {"fresh": waiting.fresh(count), "due": waiting.due(count)}
    for what, got in result.items():
        say(f"  {what:8}{got['per_second']:>10}/s   worker's memory {got['peak_rss_mb']} MB")
    return result


def end(waiting):
    waiting.bench.end_worker()
    waiting.stack.end("sink")


def bench_backlog(bench, options):
    results = {}
    say("empty tiers:")
    waiting = Waiting(bench, "empty")
    results["empty"] = measure(waiting, options.messages)
    end(waiting)
    waiting = Waiting(bench, "backlog")
    seconds = waiting.wait_in_tiers(options.waiting)
    say(f"{options.waiting} wait in tiers (moved there at {options.waiting / max(seconds, 0.001):.0f}/s):")
    results["backlog"] = {**measure(waiting, options.messages), "waiting": options.waiting,
                          "moved_per_second": round(options.waiting / max(seconds, 0.001))}
    end(waiting)
    for what in ("fresh", "due"):
        ratio = results["backlog"][what]["per_second"] / results["empty"][what]["per_second"]
        results[f"{what}_ratio"] = round(ratio, 3)
        say(f"{what}: {100 * ratio:.1f} % of the rate with empty tiers")
    return results

"""What completion costs: worker CPU for each message, and speed, with duplicates off, rare and never."""
import os

MODES = ("off", "rare", "never")
LATENCY_MS = 20


class SlowSink:
    """A simulated provider; what it has accepted are the lines of its record."""

    def __init__(self, bench):
        self.stack = bench.stack
        self.lines = 0
        path = self.stack.path("slow.tsv")
        if os.path.exists(path):
            os.unlink(path)
        self.stack.start_sim(f"record: {path}\nproviders:\n  - name: slow\n    listen: [\"127.0.3.1:{bench.sink_port}\"]\n"
                             f"    host-name: mx.bench.test\n    profile: postfix\n    latency: {{message: {LATENCY_MS}ms}}\n")
        self.stack.processes["sink"] = self.stack.processes.pop("sim")
        self.file = open(path, "rb")

    def count(self):
        self.lines += self.file.read().count(b"\n")
        return max(0, self.lines - 1)


def stream(mode):
    return f"streams:\n  - {{name: bulk, class: bulk, pool: main, duplicates: {mode}}}\n  - {{name: tx, class: transactional, pool: main}}\n"


def measure(bench, say, name, count, make_sink):
    """mode -> {cpu_us, per_second, kafka_us}: the best of each, since whatever disturbs makes it worse."""
    best = {}
    for i in range(bench.options.repeat):
        for mode in MODES:
            bench.config(f"{name}-{mode}-{i}", stream(mode))
            bench.stack.create_topics()
            got = bench.drain(1000, count, make_sink)
            one = {"cpu_us": got["cpu"] * 1e6 / count, "per_second": got["per_second"], "kafka_us": got["kafka"] * 1e6 / count}
            say(f"  {name:10}{mode:8}{one['per_second']:>10.0f}/s   worker {one['cpu_us']:6.1f} us   kafka {one['kafka_us']:6.1f} us")
            kept = best.setdefault(mode, dict(one))
            kept.update(cpu_us=min(kept["cpu_us"], one["cpu_us"]), per_second=max(kept["per_second"], one["per_second"]),
                        kafka_us=min(kept["kafka_us"], one["kafka_us"]))
    return best


def table(say, best):
    off = best["off"]
    result = {}
    for mode, one in best.items():
        result[mode] = {**{key: round(value, 1) for key, value in one.items()}, "cpu_ratio": round(one["cpu_us"] / off["cpu_us"], 3),
                        "speed_ratio": round(one["per_second"] / off["per_second"], 3)}
        say(f"  {mode:8}{one['per_second']:>10.0f}/s ({100 * result[mode]['speed_ratio']:5.1f} %)   worker {one['cpu_us']:6.1f} us "
            f"({100 * (result[mode]['cpu_ratio'] - 1):+5.1f} %)   kafka {one['kafka_us']:6.1f} us")
    return result


def bench_completion(bench, options):
    def say(text):
        print(text, flush=True)
    count = options.messages
    say(f"preloaded, {options.sessions} sessions, {count} messages of 1 KB, {options.repeat} times in turn")
    fast = measure(bench, say, "fast", count, None)
    say(f"the same, {count // 2} messages, into a provider that takes {LATENCY_MS} ms to answer")
    slow = measure(bench, say, "slow", count // 2, lambda: SlowSink(bench))
    say("the best of each:")
    return {"fast": table(say, fast), f"latency_{LATENCY_MS}ms": table(say, slow)}

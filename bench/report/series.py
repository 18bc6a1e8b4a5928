"""Turns a record into what its pictures and tables show; pure, and tested on recorded data."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct

from bench.load.sampler import GENERATOR, ITEMS, OTHERS, Sample, gained, sizes_between
from bench.report.record import Record

SPECTRUM = (0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9995, 0.9999, 0.99999)
_OPEN, _POST = "open", "post"
_STEPS = "floodgate_step_seconds"
_STORY = ("verify", "admit", "match", "claim", "route", "open", "ask", "post", "settle")
_STEADY_SHARE = 0.9
# CPU is counted in hundredths of a second: over less than this it is noise.
_STRETCH_SECONDS_MIN = 0.25

Line = Sequence[tuple[float, float]]


class Scale(Struct, frozen=True):
    """How far the axes go; two records that are laid side by side share one."""

    seconds: float
    rate: float
    milliseconds: float
    cores: float
    items: float
    commits: float
    mebibytes: float
    cost_us: float
    step_ms: float

    @classmethod
    def of(cls, *records: Record) -> "Scale":
        """Find the scale that holds all of these."""

        def highest(lines: Callable[[Record], Mapping[str, Line]]) -> float:
            points = [y for r in records for line in lines(r).values() for _, y in line]
            return max(points, default=1.0) or 1.0

        def longest(bars: Callable[[Record], Mapping[str, float]]) -> float:
            return max([*(value for r in records for value in bars(r).values()), 1.0])

        latencies = [r.recording.latency().highest / 1000 for r in records]
        return cls(
            seconds=max(1, *(len(r.recording.seconds) for r in records)),
            rate=highest(rates),
            milliseconds=max(*latencies, 10.0),
            cores=max(sum(y for _, y in at) for r in records for at in _by_time(cpu(r))),
            items=highest(batch_sizes),
            commits=highest(commits_per_payment),
            mebibytes=highest(memory),
            cost_us=longest(cpu_per_answer),
            step_ms=longest(step_times),
        )


def _by_time(lines: Mapping[str, Line]) -> Sequence[Sequence[tuple[float, float]]]:
    return list(zip(*lines.values(), strict=True)) or [[(0.0, 1.0)]]


def rates(record: Record) -> dict[str, Line]:
    """Give what was offered, answered, good, shed and failed in each second."""
    names = ("offered", "answered", "good", "shed", "failed")
    seconds = record.recording.seconds
    return {
        name: [(at + 0.5, float(getattr(s, name))) for at, s in enumerate(seconds)]
        for name in names
    }


def percentiles(record: Record) -> dict[str, Line]:
    """Give the percentiles of each second's latencies, in milliseconds."""
    wanted = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    seconds = list(enumerate(record.recording.seconds))
    return {
        name: [
            (at + 0.5, second.latency.percentile(part) / 1000)
            for at, second in seconds
            if second.latency.total
        ]
        for name, part in wanted.items()
    }


def spectrum(record: Record) -> Line:
    """Give latencies in milliseconds by share, as far as there are enough of them to say so."""
    latency = record.recording.latency()
    enough = [part for part in SPECTRUM if (1 - part) * latency.total >= 1]
    return [(part, latency.percentile(part) / 1000) for part in enough]


def curve(record: Record) -> dict[str, Line]:
    """Give, by what was due in a second, how much of it was served well and how much refused."""
    seconds = [s for s in record.recording.seconds if s.offered]
    return {
        "good": [(s.offered, s.served) for s in seconds],
        "shed": [(s.offered, s.refused) for s in seconds if s.refused],
    }


def _during(record: Record) -> Sequence[Sample]:
    """Give the samples of the run itself: what the generator did before it counts for nothing."""
    samples = record.samples
    if not samples:
        return samples
    first = min(range(len(samples)), key=lambda number: abs(samples[number].at))
    return samples[first:]


def _steps(samples: Sequence[Sample]) -> Iterator[tuple[float, float, Sample, Sample]]:
    """Give middle, length and ends of each stretch between two samples that is no mere moment."""
    for before, after in itertools.pairwise(samples):
        if after.at - before.at >= _STRETCH_SECONDS_MIN:
            yield (before.at + after.at) / 2, after.at - before.at, before, after


def parts_of(record: Record) -> list[str]:
    """Name the parts that used CPU, the busiest first."""
    used = cpu_used(record)
    return sorted(used, key=lambda part: -used[part])


def cpu(record: Record) -> dict[str, Line]:
    """Give how many cores each part kept busy, over time."""
    return {
        part: [
            (at, max(after.cpu.get(part, 0.0) - before.cpu.get(part, 0.0), 0.0) / length)
            for at, length, before, after in _steps(_during(record))
        ]
        for part in parts_of(record)
    }


def cpu_used(record: Record) -> dict[str, float]:
    """Give the CPU seconds that each part used over the run."""
    samples = _during(record)
    if not samples:
        return {}
    first, last = samples[0].cpu, samples[-1].cpu
    used = {part: max(spent - first.get(part, 0.0), 0.0) for part, spent in last.items()}
    # What the generator says itself is without the requests that it signed before.
    return used | ({GENERATOR: record.recording.cpu_seconds} if GENERATOR in used else {})


def cpu_per_answer(record: Record) -> dict[str, float]:
    """Give the microseconds of CPU that each part used for one answer that was no refusal.

    What refusing cost is in it: divided by the refusals, too, a flood would look cheap.
    """
    served = max(record.recording.answered - record.recording.shed, 1)
    used = cpu_used(record)
    return {part: used[part] / served * 1e6 for part in parts_of(record) if part != OTHERS}


def memory(record: Record) -> dict[str, Line]:
    """Give the MiB that each part held for itself, over time."""
    looked = [sample for sample in _during(record) if sample.memory]
    return {
        part: [(s.at, s.memory[part] / 2**20) for s in looked if part in s.memory]
        for part in parts_of(record)
        if any(part in s.memory for s in looked)
    }


def transactions(record: Record) -> int:
    """Count everything that the database committed during the run; after a crash it counts anew."""
    pairs = itertools.pairwise(_during(record))
    return sum(max(after.commits - before.commits, 0) for before, after in pairs)


def _begun_between(record: Record, begin: float, end: float) -> float:
    """Estimate the answers of a stretch, but for refusals, from those of its seconds."""
    return sum(
        (second.answered - second.shed) * max(min(end, at + 1) - max(begin, at), 0.0)
        for at, second in enumerate(record.recording.seconds)
    )


def _commits_between(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    """Give the commits for one payment: flushes of what opens and of what posts, by payments."""
    flushes, items = (
        gained(before, after, f"{ITEMS}_{each}", "queue") for each in ("count", "sum")
    )
    opened = items.get(_OPEN, 0.0)
    return (flushes[_OPEN] + flushes.get(_POST, 0.0)) / opened if opened else 0.0


def commits_per_payment(record: Record) -> dict[str, Line]:
    """Give over time the commits for one payment, and all transactions by answers.

    Answers are those that were no refusals; where nothing happens there is nothing.
    """
    own, everything = [], []
    for at, _, before, after in _steps(_during(record)):
        if commits := _commits_between(before.metrics, after.metrics):
            own.append((at, commits))
        begun = _begun_between(record, before.at, after.at)
        if begun >= 1 and after.commits >= before.commits:
            everything.append((at, (after.commits - before.commits) / begun))
    return {"for one payment": own, "all transactions, by answers": everything}


def batch_sizes(record: Record) -> dict[str, Line]:
    """Give each queue's mean number of items in a flush, over time."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for at, _, before, after in _steps(_during(record)):
        for queue, size in sizes_between(before.metrics, after.metrics).items():
            lines.setdefault(queue, []).append((at, size))
    return dict(lines)


def _ends(record: Record) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """Give what `/metrics` said at both ends of the run."""
    samples = _during(record)
    return (samples[0].metrics, samples[-1].metrics) if samples else ({}, {})


def step_times(record: Record) -> dict[str, float]:
    """Give the mean milliseconds of each step of a request, in the order of the story."""
    ends = _ends(record)
    sums, counts = (gained(*ends, f"{_STEPS}_{each}", "step") for each in ("sum", "count"))
    taken = {step: sums[step] / count * 1e3 for step, count in counts.items() if count}
    return {step: taken[step] for step in dict.fromkeys([*_STORY, *taken]) if step in taken}


def at_the_peak(record: Record) -> tuple[float, float]:
    """Give what was offered in a second, and what of it was served well, near the peak.

    Both are means over the same seconds: one that was fuller by chance is no rate.
    """
    seconds = record.recording.seconds
    busiest = max((s.offered for s in seconds), default=0)
    near = [s for s in seconds if s.offered >= busiest * _STEADY_SHARE]
    count = max(len(near), 1)
    return sum(s.offered for s in near) / count, sum(s.served for s in near) / count


def figures(record: Record) -> dict[str, tuple[float, str]]:
    """Give the figures of the summary, each with its unit."""
    run = record.recording
    latency = run.latency()
    offered, goodput = at_the_peak(record)
    per_answer = cpu_per_answer(record)
    shown = {
        "offered at the peak": (offered, "/s"),
        "goodput at the peak": (goodput, "/s"),
        "answered": (float(run.answered), ""),
        "good": (float(run.good), ""),
        "shed": (float(run.shed), ""),
        "failed": (float(run.failed), ""),
        "tried again": (float(run.retries), ""),
        "p50": (latency.percentile(0.5) / 1000, "ms"),
        "p90": (latency.percentile(0.9) / 1000, "ms"),
        "p99": (latency.percentile(0.99) / 1000, "ms"),
        "p99.9": (latency.percentile(0.999) / 1000, "ms"),
        "longest": (latency.highest / 1000, "ms"),
        "commits per payment": (_commits_between(*_ends(record)), ""),
        "transactions per answer, all": (
            transactions(record) / max(run.answered - run.shed, 1),
            "",
        ),
        "starts missed": (float(run.missed), ""),
        "generator behind by at most": (run.late_seconds * 1000, "ms"),
    }
    if run.shed:
        shown["p99 of refusals"] = (run.refusals.percentile(0.99) / 1000, "ms")
    if record.capacity:
        shown["capacity, closed loop"] = (record.capacity, "/s")
    for queue, size in sizes_between(*_ends(record)).items():
        shown[f"items in a flush: {queue}"] = (size, "")
    for part, spent in per_answer.items():
        shown[f"CPU per answer: {part}"] = (spent, "µs")
    if OTHERS in cpu_used(record):
        samples = _during(record)
        lasted = max(samples[-1].at - samples[0].at, 1.0)
        shown["cores that others took"] = (cpu_used(record)[OTHERS] / lasted, "")
    return shown


def in_words(value: float, unit: str) -> str:
    """Write a figure as people read it: three digits that matter, thousands apart."""
    digits = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} {unit}".rstrip()

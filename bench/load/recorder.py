"""What a load run measured, second by second and kind by kind; the parts of a run add up."""

from collections.abc import Sequence
from typing import Self

import msgspec
from msgspec import Struct, field

from bench.load.histogram import Histogram
from bench.load.traffic import KINDS, SHED, Answer

# An answer that comes later than this is throughput, but does nobody good.
GOOD_SECONDS = 1.0
_COUNTS = ("offered", "served", "refused", "answered", "good", "shed", "failed")


class Second(Struct):
    """One second, seen from when calls were due and from when their answers came.

    By when they were due: `offered`, `served` of them well, `refused` of them, and the `latency` of
    what was no refusal.  By when the answer came: `answered`, of these `good` (2xx in time), `shed`
    (429, 503) and `failed` (any other trouble, no answer among it).
    """

    offered: int = 0
    served: int = 0
    refused: int = 0
    answered: int = 0
    good: int = 0
    shed: int = 0
    failed: int = 0
    latency: Histogram = field(default_factory=Histogram)


class KindResult(Struct):
    """How the calls of one kind ended: HTTP statuses (0 for none), latencies but of refusals."""

    statuses: dict[int, int] = field(default_factory=dict)
    latency: Histogram = field(default_factory=Histogram)


class Recording(Struct, kw_only=True):
    """A whole run; `missed` starts found no connection, and make the run invalid.

    `late_seconds` is how far behind its schedule a generator fell at worst; the latencies count
    from the schedule all the same.  `cpu_seconds` is what the generators used.
    """

    seconds: list[Second] = field(default_factory=list)
    kinds: dict[str, KindResult] = field(default_factory=dict)
    refusals: Histogram = field(default_factory=Histogram)
    missed: int = 0
    late_seconds: float = 0.0
    cpu_seconds: float = 0.0
    retries: int = 0

    @property
    def offered(self) -> int:
        """Every arrival of the schedule."""
        return sum(second.offered for second in self.seconds)

    @property
    def answered(self) -> int:
        """Every answer, whatever it said."""
        return sum(second.answered for second in self.seconds)

    @property
    def good(self) -> int:
        """Every answer that did somebody good."""
        return sum(second.good for second in self.seconds)

    @property
    def shed(self) -> int:
        """Every call that was turned away."""
        return sum(second.shed for second in self.seconds)

    @property
    def failed(self) -> int:
        """Every call that went wrong."""
        return sum(second.failed for second in self.seconds)

    def due(self, at: float) -> None:
        """Count an arrival of the schedule."""
        self._second(at).offered += 1

    def ended(self, kind: str, statuses: Sequence[int], *, at: float, latency: float) -> None:
        """Count the end of a call that was due at `at`; `latency` is in seconds from then."""
        last = statuses[-1]
        microseconds = max(int(latency * 1e6), 0)
        self.retries += len(statuses) - 1
        result = self.kinds.setdefault(kind, KindResult())
        result.statuses[last] = result.statuses.get(last, 0) + 1
        if last in SHED:
            self.refusals.record(microseconds)
        elif last:
            result.latency.record(microseconds)
            if not KINDS[kind].patient:
                self._second(at).latency.record(microseconds)
        due, then = self._second(at), self._second(at + latency)
        then.answered += last > 0
        if last in SHED:
            due.refused += 1
            then.shed += 1
        elif not 200 <= last < 300:
            then.failed += 1
        elif latency <= GOOD_SECONDS or KINDS[kind].patient:
            due.served += 1
            then.good += 1

    def latency(self) -> Histogram:
        """Every latency of the run but those of patient kinds and of refusals."""
        return Histogram().add(second.latency for second in self.seconds)

    def add(self, other: "Recording") -> Self:
        """Add another part of the same run."""
        for number, second in enumerate(other.seconds):
            mine = self._second(float(number))
            for name in _COUNTS:
                setattr(mine, name, getattr(mine, name) + getattr(second, name))
            mine.latency.add([second.latency])
        for kind, result in other.kinds.items():
            own = self.kinds.setdefault(kind, KindResult())
            for status, count in result.statuses.items():
                own.statuses[status] = own.statuses.get(status, 0) + count
            own.latency.add([result.latency])
        self.refusals.add([other.refusals])
        self.missed += other.missed
        self.retries += other.retries
        self.late_seconds = max(self.late_seconds, other.late_seconds)
        self.cpu_seconds += other.cpu_seconds
        return self

    def _second(self, at: float) -> Second:
        while len(self.seconds) <= at:
            self.seconds.append(Second())
        return self.seconds[int(at)]


class Progress(Struct):
    """How far a run is: the second it has reached, and what was counted so far."""

    at: float
    offered: int
    answered: int
    good: int
    shed: int
    failed: int


class Run(Struct):
    """What a generator hands on: the plan's name, the measurements, the log of answers."""

    run: str
    recording: Recording
    answers: list[Answer]


def progress_of(recording: Recording, at: float) -> bytes:
    """Write a line of progress."""
    past = recording.seconds[: int(at) + 1]
    line = Progress(
        at,
        sum(second.offered for second in past),
        recording.answered,
        recording.good,
        recording.shed,
        recording.failed,
    )
    return msgspec.json.encode(line) + b"\n"

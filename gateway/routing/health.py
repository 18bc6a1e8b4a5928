"""How well each channel answers, as one worker knows it: sick, resting, on trial, or well.

A channel is held against its own usual share of bad answers, for all cards together and for each
bank.  A card that is declined and a payer who goes away are no fault of the channel; silence is,
whatever became of the payment.  What other workers heard counts as well, but rests and trials are
each worker's own.  Times are whole seconds that only have to ascend; everything here is pure.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal, NamedTuple

from gateway.domain import limits
from gateway.domain.outcome import Outcome, Verdict
from gateway.domain.payment import Certainty, Payment, Status
from gateway.routing.config import HealthTerms

Answer = Literal["good", "refused", "error", "unknown", "open"]
End = Literal["paid", "declined"]
# A channel and a bank at it, or all of them; and five seconds of its life, by their number.
Key = tuple[str, str | None]
Bucket = tuple[int, Key]

SHORT_SECONDS: Final = 60
LONG_SECONDS: Final = 300
_BUCKET_SECONDS: Final = 5
_BUCKETS: Final = LONG_SECONDS // _BUCKET_SECONDS
# The usual share begins as that of so many good answers, and forgets what is older than so many.
_USUAL_ANSWERS_MIN: Final = 200
_USUAL_ANSWERS_MAX: Final = 20_000
_REST_SECONDS_MAX: Final = 600
_MILLION: Final = 1_000_000

_ANSWERS: Final[dict[Verdict, Answer]] = {
    Verdict.SUCCEEDED: "good",
    Verdict.AUTHORIZED: "good",
    Verdict.FAILED: "refused",
    Verdict.PENDING: "open",
    Verdict.REQUIRES_ACTION: "open",
    Verdict.NOT_FOUND: "unknown",
    Verdict.UNKNOWN: "unknown",
}


def answer_of(outcome: Outcome) -> Answer | None:
    """Say what an outcome tells of the channel; None when it tells nothing.

    What never left because we are full ourselves is not the channel's fault, nor is an attempt that
    was closed because its time was over.
    """
    if not outcome.sent:
        return "error" if outcome.code == "never_sent" else None
    return _ANSWERS.get(outcome.verdict)


def end_of(before: Payment, outcome: Outcome, at: datetime) -> End | None:
    """Say how a payment ended that the channel had left open when it was asked; else None.

    A payer who goes away is no end that tells anything.  What was unknown at first counts as that,
    and the answer to the question itself may still be under way for as long as it may take.
    """
    if before.status is not Status.REQUIRES_ACTION:
        left_open = before.status is Status.PROCESSING and before.certainty is Certainty.PENDING
        age = (at - before.created_at).total_seconds()
        if not left_open or age <= limits.CHANNEL_ANSWER_SECONDS:
            return None
    if outcome.verdict in {Verdict.SUCCEEDED, Verdict.AUTHORIZED}:
        return "paid"
    return "declined" if outcome.verdict is Verdict.FAILED else None


class Tally(NamedTuple):
    """Answers of one span of time, and how payments ended in it that were left open at first.

    `milliseconds` is the sum of the waits for the answers.
    """

    good: int = 0
    refused: int = 0
    error: int = 0
    unknown: int = 0
    open: int = 0
    milliseconds: int = 0
    paid: int = 0
    declined: int = 0

    @property
    def answers(self) -> int:
        """How many answers there were."""
        return self.good + self.refused + self.bad + self.open

    @property
    def bad(self) -> int:
        """How many of them were the channel's fault."""
        return self.error + self.unknown

    @property
    def successes(self) -> int:
        """How many payments the channel took, at once or in the end."""
        return self.good + self.paid

    @property
    def ends(self) -> int:
        """How many payments it took, refused, or left in the dark."""
        return self.successes + self.refused + self.declined + self.bad

    @property
    def bad_share(self) -> int:
        """How many of them were bad, in basis points."""
        return self.bad * 10_000 // max(1, self.answers)


def place_of(now: int) -> int:
    """Number the bucket of a second."""
    return now // _BUCKET_SECONDS


_COLUMN: Final = {name: place for place, name in enumerate(Tally._fields)}
_MILLISECONDS: Final = _COLUMN["milliseconds"]
_BAD: Final = frozenset({"error", "unknown"})


class Ring:
    """Tallies of the last five minutes, in buckets of five seconds."""

    __slots__ = ("_buckets", "_cleared", "_newest")

    def __init__(self) -> None:
        self._buckets = [[0] * len(Tally._fields) for _ in range(_BUCKETS)]
        self._newest = 0
        self._cleared = -1

    def add(self, answer: Answer | End, milliseconds: int, now: int) -> None:
        """Count one answer, or one end."""
        place = now // _BUCKET_SECONDS
        bucket = self._buckets[place % _BUCKETS] if place == self._newest else self._at(now)
        bucket[_COLUMN[answer]] += 1
        bucket[_MILLISECONDS] += milliseconds

    def put(self, place: int, counts: Sequence[int], now: int) -> Tally:
        """Take in what all workers counted in one bucket; gives what is new in it.

        What lies before everything was forgotten stays forgotten.
        """
        self._at(now)
        if not max(self._cleared, self._newest - _BUCKETS) < place <= self._newest:
            return Tally()
        bucket = self._buckets[place % _BUCKETS]
        more = [max(0, count - had) for count, had in zip(counts, bucket, strict=True)]
        bucket[:] = map(sum, zip(bucket, more, strict=True))
        return Tally(*more)

    def last(self, seconds: int, now: int) -> Tally:
        """Sum the buckets of so many seconds up to now."""
        self._at(now)
        count = seconds // _BUCKET_SECONDS
        chosen = [self._buckets[(self._newest - back) % _BUCKETS] for back in range(count)]
        return Tally(*map(sum, zip(*chosen, strict=True)))

    def clear(self) -> None:
        """Forget everything."""
        for bucket in self._buckets:
            bucket[:] = [0] * len(bucket)
        self._cleared = self._newest

    def _at(self, now: int) -> list[int]:
        """Give the bucket of this second, emptying those that nobody counted into meanwhile."""
        place = max(place_of(now), self._newest)
        if place == self._newest:
            return self._buckets[place % _BUCKETS]
        for passed in range(max(self._newest + 1, place - _BUCKETS + 1), place + 1):
            self._buckets[passed % _BUCKETS][:] = [0] * len(Tally._fields)
        self._newest = place
        return self._buckets[place % _BUCKETS]


class Patient:
    """One channel, or one bank's cards at it."""

    __slots__ = (
        *("_good_probes", "_known", "_known_at", "_rest", "_rests_until"),
        *("_usual_answers", "_usual_bad", "is_well", "ring"),
    )

    def __init__(self) -> None:
        self.ring = Ring()
        self._usual_bad = 0  # millionths
        self._usual_answers = _USUAL_ANSWERS_MIN
        self.is_well = True  # it serves like any other
        self._rests_until = 0
        self._rest = 0
        self._good_probes = 0
        self._known_at = -1
        self._known = Tally()

    def known(self, now: int) -> Tally:
        """Sum the last five minutes; within a second the sum stays as it is."""
        if self._known_at != now:
            self._known_at, self._known = now, self.ring.last(LONG_SECONDS, now)
        return self._known

    @property
    def usual_share(self) -> int:
        """Its usual share of bad answers, in basis points."""
        return self._usual_bad // 100

    def is_on_trial(self, now: int) -> bool:
        """Tell whether some payments may try it."""
        return not self.is_well and now >= self._rests_until

    def heard(self, answer: Answer, milliseconds: int, now: int, terms: HealthTerms) -> None:
        """Take in one answer; on trial it is weighed at once."""
        self.ring.add(answer, milliseconds, now)
        is_bad = answer in _BAD
        if self.is_well:
            self._learn(1, is_bad)
            if is_bad and self._is_too_bad(now, terms):
                self._lie_down(now, terms)
            return
        if now < self._rests_until:
            return
        if is_bad:
            self._lie_down(now, terms)
            return
        self._good_probes += 1
        if self._good_probes >= terms.probes:
            self.is_well, self._rest = True, 0
            self.ring.clear()

    def told(self, place: int, counts: Sequence[int], now: int, terms: HealthTerms) -> None:
        """Take in what all workers heard in one bucket; a trial is judged by our own answers."""
        more = self.ring.put(place, counts, now)
        self._known_at = -1
        if not self.is_well or not more.answers:
            return
        if more.bad and self._is_too_bad(now, terms):
            self._lie_down(now, terms)
        else:
            self._learn(more.answers, more.bad)

    def _learn(self, answers: int, bad: int) -> None:
        """Move the usual share a little; a whole outage hardly moves it."""
        weight = min(answers, _USUAL_ANSWERS_MAX)
        known = self._usual_answers = min(self._usual_answers + weight, _USUAL_ANSWERS_MAX)
        share = _MILLION * bad // answers
        self._usual_bad += (share - self._usual_bad) * weight // known

    def _is_too_bad(self, now: int, terms: HealthTerms) -> bool:
        for seconds, allowed in ((SHORT_SECONDS, terms.short), (LONG_SECONDS, terms.long)):
            tally = self.ring.last(seconds, now)
            above = tally.bad_share - self.usual_share
            if tally.answers >= terms.answers_min and above > allowed:
                return True
        return False

    def _lie_down(self, now: int, terms: HealthTerms) -> None:
        self._rest = min(max(terms.rest_seconds, self._rest * 2), _REST_SECONDS_MAX)
        self._rests_until = now + self._rest
        self.is_well = False
        self._good_probes = 0


class Ward:
    """Every channel that was asked, and every bank at it."""

    def __init__(self) -> None:
        self._patients: dict[Key, Patient] = {}
        self._fresh: dict[Bucket, list[int]] = {}
        self._shared: int | None = None

    def heard(
        self, key: Key, answer: Answer, *, milliseconds: int, now: int, terms: HealthTerms
    ) -> bool:
        """Take in one answer for the channel and the bank; tell whether one of them turned."""
        turned = False
        for each in _with_all(key):
            patient = self._patients.get(each) or self._patient(each)
            before = patient.is_well
            patient.heard(answer, milliseconds, now, terms)
            turned |= before is not patient.is_well
        self._count(key, answer, milliseconds, now)
        return turned

    def ended(self, key: Key, end: End, now: int) -> None:
        """Take in how a payment ended that was left open when the channel was asked."""
        for each in _with_all(key):
            self._patient(each).ring.add(end, 0, now)
        self._count(key, end, 0, now)

    def fresh(self, now: int) -> tuple[dict[Bucket, list[int]], range]:
        """Give what was counted since the last time, and the buckets that others counted into.

        An answer is counted once, for its bank.  What others heard before the first time is left
        alone: their trials may have ended since.
        """
        fresh, self._fresh = self._fresh, {}
        newest = place_of(now)
        oldest = newest if self._shared is None else self._shared - 1
        return fresh, range(max(oldest, newest - _BUCKETS + 1), newest + 1)

    def keep(self, fresh: Mapping[Bucket, Sequence[int]], now: int) -> None:
        """Take back what could not be shared, as far as it still counts."""
        for (place, key), counts in fresh.items():
            if place > place_of(now) - _BUCKETS:
                _add(self._fresh, (place, key), counts)

    def told(self, shared: Mapping[Bucket, Sequence[int]], *, now: int, terms: HealthTerms) -> bool:
        """Take in what all workers counted; tell whether any of the channels turned."""
        sums: dict[Bucket, list[int]] = {}
        for part in (shared, self._fresh):
            for (place, key), counts in part.items():
                for each in _with_all(key):
                    _add(sums, (place, each), counts)
        turned = False
        for (place, key), counts in sums.items():
            patient = self._patient(key)
            before = patient.is_well
            patient.told(place, counts, now, terms)
            turned |= before is not patient.is_well
        self._shared = place_of(now)
        return turned

    def _patient(self, key: Key) -> Patient:
        patient = self._patients.get(key)
        if patient is None:
            patient = self._patients[key] = Patient()
        return patient

    def _count(self, key: Key, answer: Answer | End, milliseconds: int, now: int) -> None:
        """Remember what the other workers have not heard of yet."""
        bucket = now // _BUCKET_SECONDS, key
        counts = self._fresh.get(bucket)
        if counts is None:
            counts = self._fresh[bucket] = [0] * len(Tally._fields)
        counts[_COLUMN[answer]] += 1
        counts[_MILLISECONDS] += milliseconds

    def health(
        self, key: Key, *, draw: int, now: int, terms: HealthTerms
    ) -> Literal["sick", "probe"] | None:
        """Say how a channel is for this bank and this payment: well, sick, or to be tried by it."""
        found: Literal["sick", "probe"] | None = None
        for each in _with_all(key):
            patient = self._patients.get(each)
            if patient is None or patient.is_well:
                continue
            if not patient.is_on_trial(now) or draw % 10_000 >= terms.probe_share:
                return "sick"
            found = "probe"
        return found

    def tally(self, key: Key, now: int) -> Tally:
        """Give what is known of the last five minutes: of the bank's cards, or of all of them."""
        patient = self._patients.get(key) or self._patients.get((key[0], None))
        return patient.known(now) if patient is not None else Tally()

    def all_well(self) -> bool:
        """Tell whether nobody is sick."""
        return all(patient.is_well for patient in self._patients.values())

    def __iter__(self) -> Iterator[tuple[Key, Patient]]:
        return iter(self._patients.items())


def _with_all(key: Key) -> tuple[Key, ...]:
    """Name those of whom an answer speaks: the bank's cards, and all cards at the channel."""
    return (key,) if key[1] is None else (key, (key[0], None))


def _add(sums: dict[Bucket, list[int]], bucket: Bucket, counts: Sequence[int]) -> None:
    had = sums.get(bucket)
    sums[bucket] = [*counts] if had is None else [*map(sum, zip(had, counts, strict=True))]

"""How well each channel answers, in one worker's memory: sick, resting, on trial, or well.

A channel is held against its own usual share of bad answers, for all cards together and for each
bank.  A card that is declined and a payer who goes away are no fault of the channel.  Times are
whole seconds that only have to ascend; everything here is pure.
"""

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from gateway.domain.outcome import Outcome, Verdict
from gateway.routing.config import HealthTerms

Answer = Literal["good", "refused", "error", "unknown", "open"]
Key = tuple[str, str | None]

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


class Tally(NamedTuple):
    """Answers of one span of time; `milliseconds` is the sum of their waits."""

    good: int = 0
    refused: int = 0
    error: int = 0
    unknown: int = 0
    open: int = 0
    milliseconds: int = 0

    @property
    def answers(self) -> int:
        """How many answers there were."""
        return self.good + self.refused + self.bad + self.open

    @property
    def bad(self) -> int:
        """How many of them were the channel's fault."""
        return self.error + self.unknown

    @property
    def bad_share(self) -> int:
        """How many of them were bad, in basis points."""
        return self.bad * 10_000 // max(1, self.answers)


_COLUMN: Final = {name: place for place, name in enumerate(Tally._fields)}


class Ring:
    """Tallies of the last five minutes, in buckets of five seconds."""

    __slots__ = ("_buckets", "_newest")

    def __init__(self) -> None:
        self._buckets = [[0] * len(Tally._fields) for _ in range(_BUCKETS)]
        self._newest = 0

    def add(self, answer: Answer, milliseconds: int, now: int) -> None:
        """Count one answer."""
        bucket = self._at(now)
        bucket[_COLUMN[answer]] += 1
        bucket[_COLUMN["milliseconds"]] += milliseconds

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

    def _at(self, now: int) -> list[int]:
        """Give the bucket of this second, emptying those that nobody counted into meanwhile."""
        place = max(now // _BUCKET_SECONDS, self._newest)
        for passed in range(max(self._newest + 1, place - _BUCKETS + 1), place + 1):
            self._buckets[passed % _BUCKETS][:] = [0] * len(Tally._fields)
        self._newest = place
        return self._buckets[place % _BUCKETS]


class Patient:
    """One channel, or one bank's cards at it."""

    __slots__ = (
        *("_good_probes", "_known", "_known_at", "_rest", "_rests_until"),
        *("_usual_answers", "_usual_bad", "ring"),
    )

    def __init__(self) -> None:
        self.ring = Ring()
        self._usual_bad = 0  # millionths
        self._usual_answers = _USUAL_ANSWERS_MIN
        self._rests_until: int | None = None
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
    def is_well(self) -> bool:
        """Tell whether it serves like any other."""
        return self._rests_until is None

    @property
    def usual_share(self) -> int:
        """Its usual share of bad answers, in basis points."""
        return self._usual_bad // 100

    def is_on_trial(self, now: int) -> bool:
        """Tell whether some payments may try it."""
        return self._rests_until is not None and now >= self._rests_until

    def heard(self, answer: Answer, milliseconds: int, now: int, terms: HealthTerms) -> None:
        """Take in one answer; on trial it is weighed at once."""
        self.ring.add(answer, milliseconds, now)
        is_bad = answer in {"error", "unknown"}
        if not self.is_on_trial(now):
            if self.is_well:
                self._learn(is_bad=is_bad)
                if is_bad and self._is_too_bad(now, terms):
                    self._lie_down(now, terms)
            return
        if is_bad:
            self._lie_down(now, terms)
            return
        self._good_probes += 1
        if self._good_probes >= terms.probes:
            self._rests_until, self._rest = None, 0
            self.ring.clear()

    def _learn(self, *, is_bad: bool) -> None:
        """Move the usual share a little; a whole outage hardly moves it."""
        self._usual_answers = min(self._usual_answers + 1, _USUAL_ANSWERS_MAX)
        self._usual_bad += (_MILLION * is_bad - self._usual_bad) // self._usual_answers

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
        self._good_probes = 0


class Ward:
    """Every channel that was asked, and every bank at it."""

    def __init__(self) -> None:
        self._patients: dict[Key, Patient] = {}

    def heard(
        self, key: Key, answer: Answer, *, milliseconds: int, now: int, terms: HealthTerms
    ) -> bool:
        """Take in one answer for the channel and the bank; tell whether one of them turned."""
        turned = False
        for each in {key, (key[0], None)}:
            patient = self._patients.get(each)
            if patient is None:
                patient = self._patients[each] = Patient()
            before = patient.is_well
            patient.heard(answer, milliseconds, now, terms)
            turned |= before is not patient.is_well
        return turned

    def health(
        self, key: Key, *, draw: int, now: int, terms: HealthTerms
    ) -> Literal["sick", "probe"] | None:
        """Say how a channel is for this bank and this payment: well, sick, or to be tried by it."""
        found: Literal["sick", "probe"] | None = None
        for each in {key, (key[0], None)}:
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

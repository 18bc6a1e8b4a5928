"""How a channel falls sick, rests, is tried again and recovers; and what is no fault of its own."""

from datetime import timedelta
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.domain.outcome import Outcome, Verdict
from gateway.domain.payment import Certainty, Status
from gateway.routing.config import HealthTerms
from gateway.routing.health import (
    Answer,
    Bucket,
    End,
    Patient,
    Ring,
    Tally,
    Ward,
    answer_of,
    end_of,
)
from tests.unit.nouns import NOON, STANDING

TERMS = HealthTerms()
KEY = ("simulator", None)


@pytest.mark.parametrize(
    ("outcome", "answer"),
    [
        (Outcome(Verdict.SUCCEEDED), "good"),
        (Outcome(Verdict.AUTHORIZED), "good"),
        (Outcome(Verdict.FAILED), "refused"),
        (Outcome(Verdict.REQUIRES_ACTION), "open"),
        (Outcome(Verdict.PENDING), "open"),
        (Outcome(code="no_answer"), "unknown"),
        (Outcome(code="http_503"), "unknown"),
        (Outcome(Verdict.FAILED, code="never_sent", sent=False), "error"),
        (Outcome(Verdict.FAILED, code="courier_full", sent=False), None),
        (Outcome(Verdict.CLOSED), None),
    ],
)
def test_what_an_outcome_tells_of_the_channel(outcome: Outcome, answer: str | None) -> None:
    """A card that is declined and a payer who goes away are no fault of the channel."""
    assert answer_of(outcome) == answer


# What a payment was, how many seconds old, what is said of it now, and what that tells.
ENDS = """
requires_action  pending  0    succeeded        paid
requires_action  pending  0    failed           declined
requires_action  pending  99   authorized       paid
requires_action  pending  99   closed           -
requires_action  pending  99   unknown          -
requires_action  pending  99   pending          -
processing       pending  99   succeeded        paid
processing       pending  99   failed           declined
processing       pending  3    succeeded        -
processing       unknown  99   succeeded        -
processing       unknown  99   failed           -
succeeded        -        99   succeeded        -
requires_capture -        99   succeeded        -
expired          -        99   succeeded        -
"""


@pytest.mark.parametrize("line", ENDS.strip().splitlines())
def test_what_the_end_of_a_payment_tells_of_the_channel(line: str) -> None:
    """What was left open counts as what it became; silence stays silence."""
    status, certainty, age, verdict, end = line.split()
    before = replace(
        STANDING.payment,
        status=Status(status),
        certainty=Certainty(certainty) if certainty != "-" else None,
    )
    found = end_of(before, Outcome(Verdict(verdict)), NOON + timedelta(seconds=int(age)))
    assert (found or "-") == end


def heard(patient: Patient, answers: str, now: int) -> None:
    """Let it answer at one moment: g(ood), r(efused), e(rror), u(nknown), o(pen)."""
    words: dict[str, Answer] = {
        "g": "good",
        "r": "refused",
        "e": "error",
        "u": "unknown",
        "o": "open",
    }
    for letter in answers:
        patient.heard(words[letter], 50, now, TERMS)


# What it answered in a moment, one column each, after a calm hour; and whether it is well then.
LIVES = """
calm             short     still
g*1000           u*20      sick
g*1000           e*20      sick
g*1000           u*19      well
g*1000           r*500     well
g*1000           o*500     well
g*1000           gggu*10   sick
gggggggggu*1000  ggggu*10  well
gggggggggu*1000  gguu*10   sick
"""


def times(words: str) -> str:
    letters, _, count = words.partition("*")
    return letters * int(count)


@pytest.mark.parametrize("line", LIVES.strip().splitlines()[1:])
def test_a_channel_is_held_against_its_own_usual_share(line: str) -> None:
    calm, short, still = line.split()
    patient = Patient()
    for minute, letters in enumerate(times(calm)[at : at + 100] for at in range(0, 10**4, 100)):
        heard(patient, letters, minute * 36)
    assert patient.is_well
    heard(patient, times(short), 10_000)
    assert ("well" if patient.is_well else "sick") == still


def test_a_slow_trouble_shows_in_five_minutes() -> None:
    patient = Patient()
    heard(patient, "g" * 5_000, 0)
    for step in range(1, 60):
        heard(patient, "ggggu", 1_000 + step * 5)
    assert not patient.is_well, "a fifth is no alarm for a minute, but it is for five"


def test_a_sick_channel_rests_is_tried_and_recovers() -> None:
    ward = Ward()

    def hear(answer: Answer, now: int, count: int = 1) -> bool:
        turns = [
            ward.heard(KEY, answer, milliseconds=5, now=now, terms=TERMS) for _ in range(count)
        ]
        return any(turns)

    def health(draw: int, now: int) -> str | None:
        return ward.health(KEY, draw=draw, now=now, terms=TERMS)

    assert health(0, 1_000) is None
    hear("good", 1_000, 500)
    assert hear("unknown", 1_100, 40), "its state turned"
    assert not ward.all_well()
    resting, over = 1_100 + TERMS.rest_seconds - 1, 1_100 + TERMS.rest_seconds
    assert health(0, resting) == "sick"
    assert health(TERMS.probe_share - 1, over) == "probe", "a few payments may try it"
    assert health(TERMS.probe_share, over) == "sick"
    hear("error", over)
    again = over + 2 * TERMS.rest_seconds
    assert health(0, again - 1) == "sick", "it rests twice as long"
    assert not hear("good", again, TERMS.probes - 1)
    assert hear("good", again)
    assert health(9_999, again) is None
    assert ward.all_well()
    hear("unknown", again, 5)
    assert ward.all_well(), "what lies before the recovery does not count any more"


def test_one_banks_trouble_is_that_banks() -> None:
    ward = Ward()
    for number in range(600):
        bank: tuple[str, str | None] = ("simulator", "ABC" if number % 20 == 0 else "ICBC")
        answer: Answer = "unknown" if bank[1] == "ABC" else "good"
        ward.heard(bank, answer, milliseconds=5, now=1_000, terms=TERMS)
    health = {
        name: ward.health(("simulator", name), draw=5_000, now=1_000, terms=TERMS)
        for name in ("ABC", "ICBC", None)
    }
    assert health == {"ABC": "sick", "ICBC": None, None: None}
    assert ward.tally(("simulator", "CCB"), 1_000).answers == 600, (
        "the channel's own, for a new bank"
    )


def test_the_end_of_a_payment_makes_nobody_sick_but_counts_as_success() -> None:
    ward = Ward()
    for _ in range(30):
        ward.heard(KEY, "open", milliseconds=5, now=1_000, terms=TERMS)
    for end in ("paid", "paid", "declined"):
        ward.ended(KEY, end, 1_001)
    tally = ward.tally(KEY, 1_002)
    assert (tally.successes, tally.ends, tally.answers, tally.bad) == (2, 3, 30, 0)
    assert ward.all_well()


class Shared:
    """What Redis does with the tallies of all workers, and may be away."""

    def __init__(self) -> None:
        self.sums: dict[Bucket, list[int]] = {}

    def share(self, ward: Ward, now: int, *, is_away: bool = False) -> bool:
        fresh, places = ward.fresh(now)
        if is_away:
            ward.keep(fresh, now)
            return False
        for bucket, counts in fresh.items():
            had = self.sums.get(bucket, [0] * len(counts))
            self.sums[bucket] = [a + b for a, b in zip(had, counts, strict=True)]
        told = {bucket: sums for bucket, sums in self.sums.items() if bucket[0] in places}
        return ward.told(told, now=now, terms=TERMS)


def test_what_others_hear_of_a_channel_saves_our_payments() -> None:
    shared, busy, idle, bank = Shared(), Ward(), Ward(), ("simulator", "ABC")
    for ward in (busy, idle):
        assert not shared.share(ward, 1_000)
    for _ in range(TERMS.answers_min):
        busy.heard(bank, "unknown", milliseconds=5, now=1_001, terms=TERMS)
    assert not busy.all_well()
    shared.share(busy, 1_001)
    assert shared.share(idle, 1_001), "it has turned"
    assert idle.health(KEY, draw=0, now=1_002, terms=TERMS) == "sick"
    over = 1_001 + TERMS.rest_seconds
    for _ in range(TERMS.probes):
        idle.heard(bank, "good", milliseconds=5, now=over, terms=TERMS)
    assert idle.all_well(), "its own trial is over"
    assert not shared.share(idle, over), "and what lay before that is forgotten"
    assert idle.all_well()


def test_a_worker_that_begins_hears_of_what_comes() -> None:
    shared, old, new = Shared(), Ward(), Ward()
    for _ in range(40):
        old.heard(KEY, "unknown", milliseconds=5, now=1_000, terms=TERMS)
    shared.share(old, 1_000)
    assert not shared.share(new, 1_020)
    assert new.tally(KEY, 1_020) == Tally()


ROUNDS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(["good", "refused", "open", "paid", "declined"]),
        st.integers(0, 4),
        st.sampled_from([False, False, False, True]),
    ),
    max_size=60,
)


@given(ROUNDS)
def test_all_workers_know_the_sum_of_what_each_was_told(
    rounds: list[tuple[int, Answer | End, int, bool]],
) -> None:
    """Nothing counts twice; what is shared late because Redis was away may miss the others."""
    shared, wards, now, told = Shared(), [Ward(), Ward(), Ward()], 1_000, Tally()
    own = [Tally()] * len(wards)
    for ward in wards:
        shared.share(ward, now)
    for number, word, pause, is_away in rounds:
        now += pause
        if word in {"paid", "declined"}:
            wards[number].ended(KEY, cast("End", word), now)
        else:
            answer = cast("Answer", word)
            wards[number].heard(KEY, answer, milliseconds=0, now=now, terms=TERMS)
        told = told._replace(**{word: getattr(told, word) + 1})
        own[number] = own[number]._replace(**{word: getattr(own[number], word) + 1})
        for each in wards:
            shared.share(each, now, is_away=is_away)
    for ward in (*wards, *wards):
        shared.share(ward, now)
    was_away = any(is_away for *_, is_away in rounds)
    for ward, heard_itself in zip(wards, own, strict=True):
        known = ward.tally(KEY, now + 1)
        for least, count, most in zip(heard_itself, known, told, strict=True):
            assert least <= count <= most
            assert was_away or count == most


STEPS = st.tuples(
    st.sampled_from(["good", "refused", "error", "unknown", "open"]), st.integers(0, 40)
)


@given(st.lists(STEPS, max_size=120))
def test_a_ring_is_the_sum_of_what_it_was_told(steps: list[tuple[Answer, int]]) -> None:
    ring, now, told = Ring(), 0, []
    for answer, pause in steps:
        now += pause
        ring.add(answer, 7, now)
        told.append((answer, now))
    for seconds in (60, 300):
        began = now // 5 - seconds // 5
        recent = [answer for answer, at in told if at // 5 > began]
        tally = ring.last(seconds, now)
        assert tally.answers == len(recent)
        assert tally.bad == sum(answer in {"error", "unknown"} for answer in recent)
        assert tally.milliseconds == 7 * len(recent)
    assert ring.last(300, now + 600) == Tally()


@given(st.lists(STEPS, max_size=300))
def test_shares_stay_shares_and_the_well_stay_well(steps: list[tuple[Answer, int]]) -> None:
    patient, now = Patient(), 0
    for answer, pause in steps:
        now += pause
        patient.heard(answer, 0, now, TERMS)
        assert 0 <= patient.usual_share <= 10_000
        assert 0 <= patient.ring.last(60, now).bad_share <= 10_000
    if not any(answer in {"error", "unknown"} for answer, _ in steps):
        assert patient.is_well

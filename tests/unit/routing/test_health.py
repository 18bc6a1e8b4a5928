"""How a channel falls sick, rests, is tried again and recovers; and what is no fault of its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.outcome import Outcome, Verdict
from gateway.routing.config import HealthTerms
from gateway.routing.health import Answer, Patient, Ring, Tally, Ward, answer_of

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

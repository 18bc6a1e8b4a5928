"""What makes a load run red: each way in which a log and the books can disagree."""

import pytest

from bench.load.judge import Kept, ProofShown, Verdict, against, is_later, unanswered
from bench.load.prove import INVALID, PROVED, RED, exit_status
from bench.load.recorder import Recording
from bench.load.traffic import Answer
from bench.report.terminal import banner

PAID = Answer(1, "pay", (201,), "pay_1", "succeeded", 500)
HELD = Kept("pay_1", "succeeded", 500)
PROOFS = [ProofShown(id_, "", holds=True, examined=1) for id_ in "ag"]


def test_a_log_that_the_books_confirm_is_held_against_nobody() -> None:
    assert list(against([PAID], {"r-1": HELD}, "r")) == []


@pytest.mark.parametrize(
    ("answers", "kept", "words"),
    [
        ([PAID], {}, "is lost"),
        ([PAID], {"r-1": Kept("pay_2", "succeeded", 500)}, "kept as pay_2"),
        ([PAID], {"r-1": Kept("pay_1", "succeeded", 501)}, "kept with 501"),
        ([PAID], {"r-1": Kept("pay_1", "failed", 500)}, "became failed"),
        ([Answer(1, "pay", (503,))], {"r-1": HELD}, "turned away, and yet it began"),
        (
            [PAID, Answer(2, "pay", (201,), "pay_1", "succeeded", 500)],
            {"r-1": HELD, "r-2": HELD},
            "answered 2 arrivals",
        ),
    ],
)
def test_every_disagreement_is_named(
    answers: list[Answer], kept: dict[str, Kept], words: str
) -> None:
    (offence,) = against(answers, kept, "r")
    assert words in offence


def test_a_later_state_is_no_offence_and_an_earlier_one_is() -> None:
    open_ = Answer(1, "pay", (201,), "pay_1", "processing", 500)
    assert is_later(open_, "succeeded")
    assert is_later(Answer(1, "pay", (201,), "pay_1", "expired", 500), "requires_review")
    assert not is_later(PAID, "processing")
    refund = Answer(1, "refund", (201,), "re_1", "processing", 50)
    assert is_later(refund, "failed")
    assert not is_later(Answer(1, "refund", (201,), "re_1", "succeeded", 50), "failed")


def test_what_began_without_an_answer_is_kept_and_counted() -> None:
    silent = Answer(1, "pay", (0,))
    assert list(against([silent], {"r-1": HELD}, "r")) == []
    assert unanswered([silent], {"r-1": HELD}, "r") == 1


def test_the_worst_decides_what_a_run_is_worth() -> None:
    fair, missed = Recording(), Recording(missed=3)
    for recording in (fair, missed):
        recording.ended("pay", [201], at=0.0, latency=0.1)
    green = Verdict(proofs=PROOFS)
    assert exit_status(green, fair) == PROVED
    assert banner(green, fair)[0].startswith("PROVED")
    assert exit_status(green, missed) == INVALID
    assert banner(green, missed)[0].startswith("INVALID: 3")
    red = Verdict(proofs=PROOFS)
    red.offend(f"{number} is lost" for number in range(50))
    assert exit_status(red, missed) == RED
    assert banner(red, missed)[0].startswith("RED: 50")
    assert len(red.offences) == 20


def test_a_run_of_which_nothing_was_answered_proves_nothing() -> None:
    silent = Recording()
    silent.due(0.0)
    silent.ended("pay", [0], at=0.0, latency=1.0)
    for recording in (Recording(), silent):
        assert exit_status(Verdict(proofs=PROOFS), recording) == INVALID
        assert banner(Verdict(proofs=PROOFS), recording)[0].startswith("INVALID: nothing")
    assert exit_status(Verdict(), silent) == RED


def test_a_proof_that_fails_or_an_acquirer_that_was_not_asked_is_red() -> None:
    assert not Verdict(proofs=[*PROOFS, ProofShown("d", "", holds=False, examined=1)]).holds
    assert not Verdict(proofs=PROOFS[:1]).holds

"""The auditor finds what it is there to find: each lie about money that a gateway could tell."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.e2e.harness import Reply, Shop
from tests.faults.auditor import Auditor, End, repeats, unexplained
from tests.faults.auditor import objections as endings
from tests.faults.feed import objections
from tests.faults.merchants import Asked, Diary
from tests.faults.plan import POLICIES, Act, Story

SHOP = Shop("http://127.0.0.1:1", "mer_1", None, None)  # type: ignore[arg-type]  # it calls nobody
PAYMENT: dict[str, Any] = {
    "object": "payment",
    "id": "pay_1",
    "merchant": "mer_1",
    "reference": "order-1",
    "amount": 1999,
    "currency": "CNY",
    "amount_authorized": 1999,
    "amount_captured": 1999,
    "amount_refunded": 0,
    "status": "succeeded",
    "method": {"type": "card", "token": "tok_ok"},
    "metadata": {},
    "description": None,
    "created_at": "2026-05-01T12:00:00Z",
    "expires_at": "2026-05-01T12:01:00Z",
}
REFUND: dict[str, Any] = {
    "object": "refund",
    "id": "re_1",
    "payment": "pay_1",
    "merchant": "mer_1",
    "reference": "refund-1",
    "amount": 500,
    "currency": "CNY",
    "reason": None,
    "status": "succeeded",
    "created_at": "2026-05-01T12:00:30Z",
}
ACCOUNTS = [
    {"code": "1121", "balance": 1999},
    {"code": "2201", "balance": 1987},
    {"code": "4001", "balance": 12},
]


def story(token: str = "tok_ok", *acts: Act, manual: bool = False) -> Story:
    return Story(
        number=1,
        at=0.0,
        shop=0,
        token=token,
        amount=1999,
        manual=manual,
        open_seconds=5.0,
        twins=1,
        is_impatient=False,
        scenes=(acts,),
    )


def replied(resource: Any, *, replay: bool = False) -> Reply:
    headers = {"Idempotent-Replayed": "true"} if replay else {}
    return Reply(201, headers, json.dumps(resource).encode())


def findings(
    *answers: Reply, end: dict[str, Any] | None, of: Story, refunds: list[Any] | None = None
) -> list[str]:
    diary = Diary()
    asked = diary.asked["order-1"] = Asked(of, SHOP, "/v1/payments", b"{}", "order-1")
    for answer in answers:
        diary.heard(asked, answer)
    ends = {} if end is None else {"order-1": End(end, refunds or [])}
    return Auditor(diary, ends).findings()


def test_nothing_is_wrong_with_a_plain_payment() -> None:
    assert findings(replied(PAYMENT), end=PAYMENT, of=story()) == []


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "a decline that took money": ({}, "tok_declined", "ended succeeded"),
    "success without its money": ({"amount_captured": 0}, "tok_ok", "captured 0"),
    "another amount": ({"amount_captured": 2000}, "tok_ok", "captured 2000"),
    "a success taken back": ({"status": "expired", "amount_captured": 0}, "tok_ok", "is expired"),
    "a refund that nobody made": ({"amount_refunded": 5}, "tok_ok", "says 5 refunded"),
    "another reference": ({"currency": "EUR"}, "tok_ok", "currency was CNY, is EUR"),
}


@pytest.mark.parametrize("lie", WRONG)
def test_a_lie_is_found(lie: str) -> None:
    changes, token, expected = WRONG[lie]
    found = findings(replied(PAYMENT), end=PAYMENT | changes, of=story(token))
    assert any(expected in finding for finding in found), found


def test_a_lost_payment_is_found() -> None:
    assert findings(replied(PAYMENT), end=None, of=story()) == ["pay_1 was answered and is gone"]


def test_a_second_payment_of_one_key_is_found() -> None:
    second = PAYMENT | {"id": "pay_2"}
    found = findings(replied(PAYMENT), replied(second), end=PAYMENT, of=story())
    assert any("order-1: made 2" in finding for finding in found), found


def test_a_payment_that_nobody_was_told_of_is_found() -> None:
    found = findings(replied(PAYMENT), end=PAYMENT | {"id": "pay_2"}, of=story())
    assert any("nobody was told so" in finding for finding in found), found


def test_a_refund_taken_back_is_found() -> None:
    diary = Diary()
    asked = diary.asked["order-1"] = Asked(story(), SHOP, "/v1/payments", b"{}", "order-1")
    diary.heard(asked, replied(PAYMENT))
    diary.saw(REFUND)
    ends = {"order-1": End(PAYMENT, [REFUND | {"status": "failed"}])}
    found = Auditor(diary, ends).findings()
    assert any("was answered succeeded, is failed" in finding for finding in found), found


@pytest.mark.parametrize("asked_for_it", [False, True])
def test_a_hold_is_let_go_only_on_demand(*, asked_for_it: bool) -> None:
    held = PAYMENT | {"status": "requires_capture", "amount_captured": 0}
    acts = [Act("cancel")] if asked_for_it else []
    found = findings(
        replied(held), end=held | {"status": "canceled"}, of=story("tok_ok", *acts, manual=True)
    )
    assert bool(found) is not asked_for_it


def test_a_repeated_answer_is_one_that_was_true() -> None:
    asked = Asked(story(), SHOP, "/v1/payments", b"{}", "order-1")
    before, again = [replied(PAYMENT)], replied(PAYMENT, replay=True)
    assert list(repeats(asked, before, again, [PAYMENT])) == []
    other = replied(PAYMENT | {"amount": 1}, replay=True)
    assert "never was" in next(repeats(asked, before, other, [PAYMENT]))
    between = replied(PAYMENT | {"amount_refunded": 5}, replay=True)
    assert list(repeats(asked, [], between, [PAYMENT])) == []
    assert "as if it were new" in next(repeats(asked, before, replied(PAYMENT), [PAYMENT]))
    spaced = Reply(201, again.headers, again.body + b" ")
    assert "other bytes" in next(repeats(asked, before, spaced, [PAYMENT]))


BACK = {"status": "succeeded", "amount": 1999}
BESIDE: dict[str, Any] = {"amount": 1999, "amount_refunded": 1999, "refunds": [BACK]}
WAITS = BESIDE | {"amount_refunded": 0, "refunds": []}
TWICE = BESIDE | {"amount_refunded": 3998, "refunds": [BACK] * 2}
FAILED = WAITS | {"refunds": [BACK | {"status": "failed"}]}


@pytest.mark.parametrize(
    ("token", "policy", "further", "finding"),
    [
        ("tok_paid_twice", "refund", [BESIDE], None),
        ("tok_paid_twice", "adopt", [BESIDE], None),
        ("tok_paid_twice", "review", [WAITS], None),
        ("tok_twice_refund_fails", "refund", [FAILED], None),
        ("tok_paid_twice", "review", [BESIDE], "went back by"),
        ("tok_paid_twice", "adopt", [WAITS], "went back by []"),
        ("tok_paid_twice", "refund", [FAILED], "went back by [('failed'"),
        ("tok_paid_twice", "refund", [TWICE], "went back by"),
        ("tok_paid_twice", "refund", [BESIDE | {"amount_refunded": 0}], "says 0 of what"),
        ("tok_paid_twice", "refund", [BESIDE | {"amount": 2000}], "was paid 2000 beside it"),
        ("tok_paid_twice", "refund", [BESIDE] * 2, "was paid again 2 times"),
        ("tok_ok", "refund", [BESIDE], "was paid again 1 times"),
    ],
)
def test_what_is_paid_twice_goes_back_once_or_waits(
    token: str, policy: str, further: list[Any], finding: str | None
) -> None:
    of = replace(story(token), shop=POLICIES.index(policy))
    found = list(endings(of, End(PAYMENT, [], further)))
    assert [finding in each for each in found if finding] == [True] * len(found)
    assert bool(found) is (finding is not None)


def test_money_that_one_side_misses_is_found() -> None:
    ends = [End(PAYMENT, [])]
    assert list(unexplained(SHOP, (1999, 0), ends, ACCOUNTS)) == []
    assert "acquirer moved (3998, 0)" in next(unexplained(SHOP, (3998, 0), ends, ACCOUNTS))
    back = [End(PAYMENT, [], [BESIDE])]
    assert list(unexplained(SHOP, (3998, 1999), back, ACCOUNTS)) == []
    assert "acquirer moved (3998, 0)" in next(unexplained(SHOP, (3998, 0), back, ACCOUNTS))
    short = [*ACCOUNTS[:1], {"code": "2201", "balance": 1986}, ACCOUNTS[2]]
    assert "accounts say" in next(unexplained(SHOP, (1999, 0), ends, short))


def events(*sequences: int, changed: int = 0) -> list[dict[str, Any]]:
    return [
        {"sequence": n, "id": f"evt_{n}", "type": "payment.succeeded", "data": n == changed}
        for n in sequences
    ]


@pytest.mark.parametrize(
    ("seen", "end", "table", "finding"),
    [
        (events(1, 2), events(1, 2, 3), events(1, 2, 3), None),
        (events(), events(), events(), None),
        (events(1, 3), events(1, 2, 3), events(1, 2, 3), "followed is not gap-free"),
        (events(2, 1), events(1, 2), events(1, 2), "followed is not gap-free"),
        (events(1), events(1, 3), events(1, 3), "at the end is not gap-free"),
        (events(1, 2, 3), events(1, 2), events(1, 2), "event 3 (evt_3) was read and is gone"),
        (events(1, 2), events(1, 2, changed=2), events(1, 2), "event 2 was"),
        (events(1), events(1), events(1, 2), "the feed has 1 events, the table 2"),
    ],
)
def test_a_feed_that_is_not_one_is_found(
    seen: Any, end: Any, table: Any, finding: str | None
) -> None:
    found = list(objections(seen, end, table))
    assert [finding in each for each in found if finding] == [True] * len(found)
    assert bool(found) is (finding is not None)

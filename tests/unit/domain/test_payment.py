"""A payment's states as a table, and the strictness of the body that asks for one."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import limits
from gateway.domain.payment import (
    OPEN,
    TRANSITIONS,
    CardMethod,
    CreatePayment,
    Fact,
    Payer,
    QrMethod,
    Status,
    after,
    words_of,
)

# Rows are what a payment is, columns what happens to it; a dot is a fact that the table refuses.
TABLE = """
                 capture_started captured        authorized       action_required pending    unknown    declined canceled expired conflicted      adopted   paid_again       reversed
processing       .               succeeded       requires_capture requires_action processing processing failed   canceled expired requires_review .         processing       .
requires_action  .               succeeded       requires_capture .               .          .          failed   canceled expired requires_review .         requires_action  .
requires_capture processing      succeeded       .                .               .          .          failed   canceled expired requires_review .         requires_capture .
requires_review  .               succeeded       requires_capture .               .          .          failed   canceled expired .               succeeded requires_review  canceled
succeeded        .               .               .                .               .          .          .        .        .       .               .         succeeded        canceled
failed           .               requires_review .                .               .          .          .        .        .       requires_review .         failed           .
canceled         .               requires_review .                .               .          .          .        .        .       requires_review .         canceled         .
expired          .               requires_review .                .               .          .          .        .        .       requires_review .         expired          .
"""  # noqa: E501 - a table is read in whole lines
HEAD, *ROWS = [line.split() for line in TABLE.strip().splitlines()]
CELLS = [
    (Status(row[0]), Fact(fact), Status(cell) if cell != "." else None)
    for row in ROWS
    for fact, cell in zip(HEAD, row[1:], strict=True)
]
ENDED = {Status.FAILED, Status.CANCELED, Status.EXPIRED}
BODY: dict[str, Any] = {
    "amount": 10_000,
    "currency": "CNY",
    "reference": "order 1",
    "method": {"type": "card", "token": "tok_ok"},
}


@pytest.mark.parametrize(("status", "fact", "becomes"), CELLS)
def test_the_table_of_states(status: Status, fact: Fact, becomes: Status | None) -> None:
    assert after(status, fact) is becomes


def test_the_table_is_complete() -> None:
    assert {(status, fact) for status, fact, _ in CELLS} == {(s, f) for s in Status for f in Fact}
    assert TRANSITIONS.keys() == set(Status)


@given(st.lists(st.sampled_from(Fact)))
def test_after_success_money_only_goes_back_and_after_an_end_it_only_comes(
    facts: list[Fact],
) -> None:
    status = Status.PROCESSING
    for fact in facts:
        becomes = after(status, fact)
        if fact is Fact.PAID_AGAIN:
            assert becomes is status, "money beside a payment does not change it"
            continue
        if status is Status.SUCCEEDED:
            assert becomes is (Status.CANCELED if fact is Fact.REVERSED else None)
        if status in ENDED:
            money = fact in {Fact.CAPTURED, Fact.CONFLICTED}
            assert becomes is (Status.REQUIRES_REVIEW if money else None)
        status = becomes or status
        assert status in TRANSITIONS


def test_what_is_open_can_still_end_in_every_way() -> None:
    for status in OPEN:
        assert {Status.SUCCEEDED, *ENDED} <= set(TRANSITIONS[status].values())


def decoded(changes: dict[str, Any]) -> CreatePayment:
    return msgspec.json.decode(msgspec.json.encode(BODY | changes), type=CreatePayment)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"amount": limits.AMOUNT_MINOR_MAX},
        {"reference": "r" * limits.REFERENCE_CHARS_MAX},
        {"reference": "订单 1"},
        {"method": {"type": "qr"}},
        {"capture": "manual"},
        {"metadata": {"key": "value"}},
        {"metadata": {str(n): "" for n in range(limits.METADATA_PAIRS_MAX)}},
        {"payer": {"id": "1", "ip": "::1", "device": "d", "name": "张三"}},
        {"expires_at": "2026-05-01T20:00:00+08:00"},
        {"return_url": "https://shop.example/back?order=1"},
        {"description": None, "payer": None, "expires_at": None, "return_url": None},
        {"metadata": None},  # as Go writes an empty map
    ],
    ids=str,
)
def test_a_body_that_is_taken(changes: dict[str, Any]) -> None:
    assert decoded(changes).currency == "CNY"


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": 0},
        {"amount": -1},
        {"amount": limits.AMOUNT_MINOR_MAX + 1},
        {"amount": 100.5},
        {"amount": "100"},
        {"amount": True},
        {"amount": None},
        {"currency": "cny"},
        {"currency": "CNY\n"},
        {"currency": "CN"},
        {"reference": ""},
        {"reference": "r" * (limits.REFERENCE_CHARS_MAX + 1)},
        {"reference": "a\x00b"},
        {"reference": "a\n"},
        {"method": None},
        {"method": {}},
        {"method": {"type": "cash"}},
        {"method": {"type": "card"}},
        {"method": {"type": "card", "token": "4111111111111111"}},
        {"method": {"type": "card", "token": "tok_"}},
        {"method": {"type": "card", "token": "tok_ok\n"}},
        {"method": {"type": "card", "token": "tok_ok", "cvc": "123"}},
        {"method": {"type": "card", "token": "tok_ok", "bin": "62284"}},
        {"method": {"type": "card", "token": "tok_ok", "bin": "6228480402564890018"}},
        {"method": {"type": "qr", "token": "tok_ok"}},
        {"capture": "later"},
        {"metadata": {"key": 1}},
        {"metadata": {"": "empty key"}},
        {"metadata": {"k": "v" * (limits.METADATA_VALUE_CHARS_MAX + 1)}},
        {"metadata": {"k" * (limits.METADATA_KEY_CHARS_MAX + 1): "v"}},
        {"metadata": {str(n): "" for n in range(limits.METADATA_PAIRS_MAX + 1)}},
        {"payer": {"passport": "x"}},
        {"expires_at": "2026-05-01T20:00:00"},
        {"expires_at": 1_777_636_800},
        {"return_url": "javascript:alert(1)"},
        {"return_url": "https://shop.example/a b"},
        {"merchant": "mer_1"},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_a_body_that_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        decoded(changes)


@pytest.mark.parametrize("name", BODY)
def test_a_body_without_what_is_needed_is_refused(name: str) -> None:
    body = msgspec.json.encode({key: value for key, value in BODY.items() if key != name})
    with pytest.raises(msgspec.ValidationError, match=name):
        msgspec.json.decode(body, type=CreatePayment)


def test_a_payer_never_shows_in_a_log() -> None:
    assert "张三" not in repr(Payer(name="张三"))
    assert "张三" not in repr(decoded({"payer": {"name": "张三"}}))


def test_a_method_is_told_to_channels_as_its_type_and_what_was_said() -> None:
    assert words_of(CardMethod("tok_ok")) == {"type": "card", "token": "tok_ok"}
    assert words_of(QrMethod()) == {"type": "qr"}


@pytest.mark.parametrize("token", ["tok_ok", "pm_card_visa", "pm_1N3cXy2eZvKYlo2C7xK9Lm0P"])
def test_a_token_is_a_providers_word(token: str) -> None:
    assert msgspec.convert({"type": "card", "token": token}, CardMethod) == CardMethod(token)


@pytest.mark.parametrize(
    "token",
    [
        "4242424242424242",
        "tok_4242424242424242",
        "pm_card_4242424242424242",
        "pm_424242424242",
        "tok_",
        "card_visa",
        "pm_ok\n",
        "pm_\uff14\uff12",
        "tok_ok; 1",
    ],
)
def test_a_card_number_is_no_token(token: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"type": "card", "token": token}, CardMethod)

"""Stripe's bill: every page of it, each line with our number, and nothing of one cut short."""

import json
from typing import Any

import pytest

from gateway.channels.port import BillRefused
from gateway.channels.stripe.bill import read

NUMBER, REFUND = "019dd3b9d20070008000000700000010", "019dd3b9d20070008000000700000020"
BACK = {"floodgate_attempt": NUMBER, "floodgate_refund": REFUND}


def booking(**changes: Any) -> dict[str, Any]:
    return {
        "id": "txn_1",
        "type": "charge",
        "amount": 1999,
        "fee": 88,
        "net": 1911,
        "currency": "eur",
        "created": 1777636800,
        "source": {
            "id": "ch_1",
            "payment_intent": "pi_1",
            "metadata": {"floodgate_attempt": NUMBER},
        },
    } | changes


def page(*bookings: Any, has_more: bool = False) -> bytes:
    return json.dumps({"object": "list", "data": bookings, "has_more": has_more}).encode()


def test_a_bill_is_read_page_by_page() -> None:
    gone = booking(
        type="refund", amount=-500, fee=0, net=-500, source={"id": "re_1", "metadata": BACK}
    )
    fee = booking(id="txn_3", type="stripe_fee", amount=-10, fee=0, net=-10, source=None)
    body = page(booking(), has_more=True) + b"\n" + page(gone, fee)
    lines = [
        (
            each.kind,
            each.number,
            each.refund_number,
            each.channel_transaction,
            each.amount,
            each.fee,
        )
        for each in read(body)
    ]
    assert lines == [
        ("payment", NUMBER, None, "pi_1", 1999, 88),
        ("refund", NUMBER, REFUND, "re_1", -500, 0),
        ("stripe_fee", "", None, "txn_3", -10, 0),
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"<html>",
        page(booking(), has_more=True),
        page(booking(net=1)),
        page(booking(source="ch_1")),
        page(booking(source=None)),
    ],
)
def test_a_bill_that_is_not_whole_is_refused(body: bytes) -> None:
    with pytest.raises(BillRefused):
        list(read(body))

"""What each call answers, with an example, for the OpenAPI document and the page of the face.

Examples are made of the nouns themselves, so they cannot show a member that is not there.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Generic, Literal, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import asdict, replace

from gateway.domain.outcome import Advice, Failure
from gateway.domain.payment import (
    CapturePayment,
    CardMethod,
    CreatePayment,
    CreatePayments,
    Payer,
    Payment,
    Status,
)
from gateway.domain.refund import CreateRefund, FurtherTransaction, Refund, RefundStatus
from gateway.events.deliveries import Delivery, Redelivery
from gateway.events.webhooks import Endpoint, Health
from gateway.flow.route import ShownCandidate, ShownDecision
from gateway.flow.timeline import Moment
from gateway.match.table import CreateEndpoint, Redeliver

Item = TypeVar("Item")


class Page(Struct, Generic[Item], frozen=True):
    """One page of a list; `next_cursor` is null on the last one."""

    data: list[Item]
    next_cursor: str | None = None


class Account(Struct, frozen=True, kw_only=True):
    """An account of the merchant, in minor units; `balance` is positive on its normal side."""

    object: Literal["account"] = "account"
    id: str
    code: str
    name: str
    channel: str | None
    currency: str
    normal_side: Literal["debit", "credit"]
    debits: int
    credits: int
    balance: int


class Entry(Struct, frozen=True, kw_only=True):
    """One side of a movement between two accounts, in minor units."""

    object: Literal["entry"] = "entry"
    id: str
    journal: str
    kind: str
    account: str
    account_name: str
    counter_account: str
    direction: Literal["debit", "credit"]
    amount: int
    currency: str
    payment: str
    created_at: datetime


class ToldPayment(Payment, frozen=True, kw_only=True):
    """A payment as it stood at an event."""

    sequence: int


class ToldRefund(Refund, frozen=True, kw_only=True):
    """A refund as it stood at an event."""

    sequence: int


class Event(Struct, frozen=True, kw_only=True):
    """A state change: the object as it stood then, exactly as webhooks deliver it.

    `sequence` counts a merchant's events from 1 without a gap.
    """

    object: Literal["event"] = "event"
    id: str
    sequence: int
    type: str
    created_at: datetime
    data: Any


class PaidItem(Struct, frozen=True):
    """The result of an item of a batch that was understood; `payment` says what became of it."""

    status: Literal[201]
    payment: Payment


class RefusedItem(Struct, frozen=True):
    """The result of an item of a batch that was refused, as it would have been alone."""

    status: int
    problem: dict[str, Any]


class BatchResults(Struct, frozen=True):
    """The results of a batch, in its order."""

    results: list[Any]


class DeletedEndpoint(Struct, frozen=True, kw_only=True):
    """A webhook endpoint that is no longer there."""

    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    id: str
    deleted: Literal[True] = True


class Told(Struct, frozen=True):
    """What a call answers when all is well."""

    type: Any
    example: Any


_AT: Final = datetime(2026, 11, 22, 10, 30, 0, 250_000, tzinfo=UTC)
_MERCHANT: Final = "mer_01a206b0c4b87d21800000010b3c4470"
PAYMENT_ID: Final = "pay_01a206b0c7ff7d22800000015e1f0a80"
_REFUND_ID: Final = "re_01a206b0d2a17d2380000001a94c21f0"
_EVENT_ID: Final = "evt_01a206b0c8537d248000000177b1c5e0"
_ENDPOINT_ID: Final = "we_01a206b0bb107d25800000012f60d930"
_JOURNAL: Final = "01a206b0c7ff7d2280000001c29a4d31"

_PAYMENT: Final = Payment(
    id=PAYMENT_ID,
    merchant=_MERCHANT,
    reference="order-4711",
    amount=1999,
    currency="CNY",
    amount_authorized=1999,
    amount_captured=1999,
    fee=12,
    status=Status.SUCCEEDED,
    certainty=None,
    method=CardMethod("tok_ok"),
    channel="simulator",
    metadata={"seat": "12A"},
    description="Two tickets",
    created_at=_AT,
    updated_at=_AT + timedelta(milliseconds=48),
    expires_at=_AT + timedelta(seconds=60),
)
_HELD: Final = replace(
    _PAYMENT, status=Status.REQUIRES_CAPTURE, amount_captured=0, fee=0, updated_at=_AT
)
_FAILED: Final = replace(
    _PAYMENT,
    status=Status.FAILED,
    amount_authorized=0,
    amount_captured=0,
    fee=0,
    failure=Failure(
        "insufficient_funds",
        "The card has not enough money.",
        Advice.OTHER_METHOD,
        "insufficient_funds",
    ),
)
_CANCELED: Final = replace(_HELD, status=Status.CANCELED, amount_authorized=0)
_REFUND: Final = Refund(
    id=_REFUND_ID,
    payment=PAYMENT_ID,
    merchant=_MERCHANT,
    reference="return-4711",
    amount=500,
    currency="CNY",
    status=RefundStatus.SUCCEEDED,
    certainty=None,
    reason="One ticket was given back",
    created_at=_AT + timedelta(hours=2),
    updated_at=_AT + timedelta(hours=2, milliseconds=61),
)
_FURTHER_ID: Final = "xtr_01a206b0c7ff7a6180000001b2c90fd0"
_FURTHER: Final = FurtherTransaction(
    id=_FURTHER_ID,
    payment=PAYMENT_ID,
    merchant=_MERCHANT,
    channel="simulator",
    channel_transaction="sim_5be01c4d2f3a9e8871c06d34",
    amount=1999,
    amount_refunded=1999,
    currency="CNY",
    refunds=(
        replace(
            _REFUND,
            reference=f"further-{_REFUND_ID}",
            amount=1999,
            reason="It was paid beside the order's own payment.",
            further_transaction=_FURTHER_ID,
        ),
    ),
    created_at=_AT + timedelta(minutes=1),
)
_ENDPOINT: Final = Endpoint(
    id=_ENDPOINT_ID,
    url="https://shop.example/floodgate",
    events=["payment.succeeded", "refund.succeeded"],
    status="enabled",
    previous_secret_until=None,
    health=Health("healthy", 0, None, None, _AT + timedelta(seconds=1), None, 0),
    created_at=_AT - timedelta(days=3),
)
_SECRET: Final = "whsec_Zm9yIHRoaXMgcGFnZSBhbG9uZSwgbm90IGEgc2VjcmV0IQ=="
_ENTRY: Final = Entry(
    id=f"ent_{_JOURNAL}.0.1",
    journal=f"jrn_{_JOURNAL}",
    kind="capture",
    account="2201.CNY",
    account_name="merchant pending",
    counter_account="1121.simulator.CNY",
    direction="credit",
    amount=1987,
    currency="CNY",
    payment=PAYMENT_ID,
    created_at=_PAYMENT.updated_at,
)
_ACCOUNT: Final = Account(
    id="2201.CNY",
    code="2201",
    name="merchant pending",
    channel=None,
    currency="CNY",
    normal_side="credit",
    debits=0,
    credits=1987,
    balance=1987,
)
_EVENT: Final = Event(
    id=_EVENT_ID,
    sequence=42,
    type="payment.succeeded",
    created_at=_PAYMENT.updated_at,
    data=asdict(_PAYMENT) | {"sequence": 42},
)
_MOMENT: Final = Moment(
    at=_AT,
    kind="request",
    summary="19.99 CNY asked for order order-4711",
    details={"payment": PAYMENT_ID},
)
_DECISION: Final = ShownDecision(
    version=3,
    channel="simulator",
    by="score",
    bank="ABC",
    candidates=[
        ShownCandidate(
            channel="simulator",
            reason=None,
            score=941_800,
            health=None,
            answers=1204,
            success_share=9_520,
            latency=48,
        ),
        ShownCandidate(
            channel="wechat",
            reason="method",
            score=None,
            health=None,
            answers=0,
            success_share=None,
            latency=None,
        ),
    ],
)
_DELIVERY: Final = Delivery(
    event=_EVENT_ID,
    sequence=42,
    type="payment.succeeded",
    status="delivered",
    tries=1,
    last_tried_at=_AT + timedelta(seconds=1),
    last_status=204,
    last_error=None,
    next_try_at=None,
)

_REFUSED: Final = RefusedItem(
    409,
    {
        "type": "/docs#problem-reference_exists",
        "title": "The reference is already used",
        "status": 409,
        "detail": "Another payment has this reference.",
        "code": "reference_exists",
        "retry": "never",
        "request_id": "req_5c7e0f6f3fd04a3dbe7a9d10",
        "param": "reference",
        "payment": PAYMENT_ID,
    },
)

ANSWERS: Final[Mapping[str, Told]] = {
    "create_payment": Told(Payment, _PAYMENT),
    "create_payments": Told(BatchResults, BatchResults([PaidItem(201, _PAYMENT), _REFUSED])),
    "get_payment": Told(Payment, _PAYMENT),
    "sync_payment": Told(Payment, _PAYMENT),
    "capture_payment": Told(Payment, _PAYMENT),
    "cancel_payment": Told(Payment, _CANCELED),
    "list_payments": Told(Page[Payment], Page([_PAYMENT, _FAILED], PAYMENT_ID)),
    "refund_payment": Told(Refund, _REFUND),
    "get_refund": Told(Refund, _REFUND),
    "list_refunds": Told(Page[Refund], Page([_REFUND])),
    "list_further_transactions": Told(Page[FurtherTransaction], Page([_FURTHER])),
    "show_timeline": Told(Page[Moment], Page([_MOMENT])),
    "simulate_routing": Told(ShownDecision, _DECISION),
    "list_accounts": Told(Page[Account], Page([_ACCOUNT])),
    "list_entries": Told(Page[Entry], Page([_ENTRY], f"{_JOURNAL}.0.1")),
    "list_events": Told(Page[Event], Page([_EVENT], "42")),
    "redeliver_event": Told(Redelivery, Redelivery(queued=1)),
    "redeliver_to_endpoint": Told(Redelivery, Redelivery(queued=310)),
    "create_endpoint": Told(Endpoint, replace(_ENDPOINT, secret=_SECRET)),
    "rotate_endpoint_secret": Told(Endpoint, replace(_ENDPOINT, secret=_SECRET)),
    "get_endpoint": Told(Endpoint, _ENDPOINT),
    "enable_endpoint": Told(Endpoint, _ENDPOINT),
    "list_endpoints": Told(Page[Endpoint], Page([_ENDPOINT])),
    "delete_endpoint": Told(DeletedEndpoint, DeletedEndpoint(id=_ENDPOINT_ID)),
    "list_deliveries": Told(Page[Delivery], Page([_DELIVERY])),
}


def _item(reference: str) -> msgspec.Raw:
    item = {
        "idempotency_key": reference,
        "amount": 1999,
        "currency": "CNY",
        "reference": reference,
        "method": CardMethod("tok_ok"),
    }
    return msgspec.Raw(msgspec.json.encode(item))


REQUESTS: Final[Mapping[str, Struct]] = {
    "create_payment": CreatePayment(
        amount=1999,
        currency="CNY",
        reference="order-4711",
        method=CardMethod("tok_ok"),
        description="Two tickets",
        payer=Payer(id="user-88", ip="192.0.2.7"),
        metadata={"seat": "12A"},
    ),
    "simulate_routing": CreatePayment(
        amount=1999,
        currency="CNY",
        reference="order-4711",
        method=CardMethod("tok_ok", "62284801"),
    ),
    "create_payments": CreatePayments((_item("order-4711"), _item("order-4712"))),
    "capture_payment": CapturePayment(amount=1500),
    "refund_payment": CreateRefund(
        amount=500, reference="return-4711", reason="One ticket was given back"
    ),
    "create_endpoint": CreateEndpoint(
        url="https://shop.example/floodgate", events=("payment.succeeded", "refund.succeeded")
    ),
    "redeliver_to_endpoint": Redeliver(created_after=_AT),
}


def plain(example: Any) -> Any:
    """Write an example as it looks in JSON; what a request leaves out stays away."""
    shown = msgspec.json.decode(msgspec.json.encode(example))
    if isinstance(example, Struct) and type(example) in map(type, REQUESTS.values()):
        return {name: value for name, value in shown.items() if value is not None}
    return shown

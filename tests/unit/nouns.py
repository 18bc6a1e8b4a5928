"""One payment of 100.00 yuan by card, with everything around it, as the tests' point of departure.

Tests change what they need with `msgspec.structs.replace`.
"""

from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from gateway.channels.port import BillLine
from gateway.domain.payment import CardMethod, CreatePayment, Payment, Standing
from gateway.domain.stages import Attempt, Matched, Merchant, Received, Verified
from gateway.match.table import OPERATIONS

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
EXPIRY = NOON + timedelta(minutes=1)
HEX = "019dd3b9d20070008000000700000010"
MERCHANT = Merchant(7, f"mer_{HEX}", 60)
PAYMENT = Payment(
    id=f"pay_{HEX}",
    merchant=MERCHANT.id,
    reference="order 1",
    amount=10_000,
    currency="CNY",
    method=CardMethod("tok_ok"),
    channel="simulator",
    created_at=NOON,
    updated_at=NOON,
    expires_at=EXPIRY,
)
STANDING = Standing(payment=PAYMENT, merchant=7, version=0, capture=True, commission_bps=60)
ATTEMPT = Attempt(
    id=f"att_{HEX}",
    payment_id=PAYMENT.id,
    merchant=7,
    channel="simulator",
    amount=10_000,
    currency="CNY",
    expires_at=EXPIRY,
)
COMMAND = CreatePayment(
    amount=10_000, currency="CNY", reference="order 1", method=CardMethod("tok_ok")
)
RECEIVED = Received("POST", "/v1/payments", (), b"{}", NOON, "req_1")
VERIFIED = Verified(RECEIVED, MERCHANT, f"key_{HEX}", b"digest", "k")
CREATE = next(operation for operation in OPERATIONS if operation.name == "create_payment")
MATCHED = Matched(VERIFIED, CREATE, (), COMMAND)


def bill_lines(paid: tuple[str, int], back: tuple[str, int]) -> list[BillLine]:
    """A payment of 100 yuan and a refund of 9.99 on an acquirer's bill; its own number, and fee."""
    (paid_as, fee), (back_as, fee_back) = paid, back
    payment = BillLine(
        kind="payment",
        number="aaaa",
        refund_number=None,
        channel_transaction=paid_as,
        amount=10_000,
        fee=fee,
        currency="CNY",
        booked_at=datetime(2026, 4, 30, 16, 0, 1, tzinfo=UTC),
    )
    refund = replace(
        payment,
        kind="refund",
        refund_number="bbbb",
        channel_transaction=back_as,
        amount=-999,
        fee=fee_back,
        booked_at=datetime(2026, 5, 1, 15, 59, 59, tzinfo=UTC),
    )
    return [payment, refund]

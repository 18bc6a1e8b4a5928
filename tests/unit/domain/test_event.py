"""The closed list of event types is what payments and refunds can become, and nothing else."""

from typing import get_args

from gateway.domain.event import EventType
from gateway.domain.payment import Status
from gateway.domain.refund import RefundStatus


def test_every_status_has_its_event() -> None:
    payments = {f"payment.{status.value}" for status in Status}
    refunds = {f"refund.{status.value}" for status in RefundStatus}
    further = {f"further_{event}" for event in refunds}
    assert set(get_args(EventType)) == payments | refunds | further | {"payment.late_success"}

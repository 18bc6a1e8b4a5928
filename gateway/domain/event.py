"""What merchants can be told of: the closed list of event types, for ledger, match and events."""

from typing import Literal

EventType = Literal[
    "payment.processing",
    "payment.requires_action",
    "payment.requires_capture",
    "payment.succeeded",
    "payment.failed",
    "payment.canceled",
    "payment.expired",
    "payment.requires_review",
    "payment.late_success",
    "refund.processing",
    "refund.succeeded",
    "refund.failed",
    "refund.requires_review",
    "further_refund.processing",
    "further_refund.succeeded",
    "further_refund.failed",
    "further_refund.requires_review",
]

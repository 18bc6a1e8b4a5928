"""Every signed call of the API as data: method, path, operation, and the command it carries.

The match step, the OpenAPI document and the tests are all driven from this table.
"""

from datetime import datetime
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from gateway.domain import limits
from gateway.domain.event import EventType
from gateway.domain.payment import (
    CapturePayment,
    CreatePayment,
    CreatePayments,
    Reference,
    Status,
)
from gateway.domain.refund import CreateRefund
from gateway.domain.stages import Operation


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """A call that carries no command of its own."""


PageLimit = Annotated[int, Meta(ge=1, le=limits.PAGE_ITEMS_MAX)]
Cursor = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[0-9a-z_.]+\Z")]
Instant = Annotated[str, Meta(min_length=10, max_length=40)]


class ListPayments(Struct, frozen=True, forbid_unknown_fields=True):
    """The query of `GET /v1/payments`."""

    reference: Reference | None = None
    status: Status | None = None
    created_after: Instant | None = None
    created_before: Instant | None = None
    limit: PageLimit = limits.PAGE_ITEMS_DEFAULT
    cursor: Cursor | None = None


class ListEntries(Struct, frozen=True, forbid_unknown_fields=True):
    """The query of `GET /v1/ledger/entries`."""

    account: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    payment: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    limit: PageLimit = limits.PAGE_ITEMS_DEFAULT
    cursor: Cursor | None = None


class ListEvents(Struct, frozen=True, forbid_unknown_fields=True):
    """The query of `GET /v1/events`; `after` is the last sequence already seen."""

    after: Annotated[int, Meta(ge=0, le=2**62)] = 0
    limit: PageLimit = limits.PAGE_ITEMS_DEFAULT


class CreateEndpoint(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/webhook_endpoints`; `*` stands for every type of event."""

    url: Annotated[str, Meta(min_length=1, max_length=limits.URL_CHARS_MAX)]
    events: Annotated[
        tuple[Literal[EventType, "*"], ...],
        Meta(min_length=1, max_length=limits.WEBHOOK_EVENT_TYPES_MAX),
    ]


class Redeliver(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a redelivery: from `created_after` on, until `created_before` or now."""

    created_after: Annotated[datetime, Meta(tz=True)]
    created_before: Annotated[datetime, Meta(tz=True)] | None = None


class ListDeliveries(Struct, frozen=True, forbid_unknown_fields=True):
    """The query of `GET /v1/webhook_endpoints/{id}/deliveries`; `cursor` is a sequence."""

    status: Literal["pending", "delivered", "dead"] | None = None
    limit: PageLimit = limits.PAGE_ITEMS_DEFAULT
    cursor: Annotated[int, Meta(ge=1, le=2**62)] | None = None


CREATE_PAYMENT: Final = Operation(
    "create_payment",
    "POST",
    "/v1/payments",
    "Take a payment",
    CreatePayment,
    "body",
    201,
)

OPERATIONS: Final = (
    CREATE_PAYMENT,
    Operation(
        "create_payments",
        "POST",
        "/v1/payments/batch",
        f"Take up to {limits.BATCH_PAYMENTS_MAX} payments, each with its own key and answer",
        CreatePayments,
        "body",
    ),
    Operation(
        "list_payments",
        "GET",
        "/v1/payments",
        "List payments, newest first",
        ListPayments,
        "query",
    ),
    Operation("get_payment", "GET", "/v1/payments/{id}", "Show one payment", Nothing, "nothing"),
    Operation(
        "capture_payment",
        "POST",
        "/v1/payments/{id}/capture",
        "Take money that is authorized, all of it or a part",
        CapturePayment,
        "body",
    ),
    Operation(
        "cancel_payment",
        "POST",
        "/v1/payments/{id}/cancel",
        "End a payment that is open or authorized",
        Nothing,
        "body",
    ),
    Operation(
        "refund_payment",
        "POST",
        "/v1/payments/{id}/refunds",
        "Give back a part or all of a payment",
        CreateRefund,
        "body",
        201,
    ),
    Operation(
        "list_refunds",
        "GET",
        "/v1/payments/{id}/refunds",
        "List the refunds of a payment, oldest first",
        Nothing,
        "nothing",
    ),
    Operation(
        "list_further_transactions",
        "GET",
        "/v1/payments/{id}/further_transactions",
        "List what the channel booked beside a payment's own money, oldest first",
        Nothing,
        "nothing",
    ),
    Operation("get_refund", "GET", "/v1/refunds/{id}", "Show one refund", Nothing, "nothing"),
    Operation(
        "sync_payment", "POST", "/v1/payments/{id}/sync", "Ask the channel now", Nothing, "body"
    ),
    Operation(
        "show_timeline",
        "GET",
        "/v1/payments/{id}/timeline",
        "Tell everything that happened to a payment, in order",
        Nothing,
        "nothing",
    ),
    Operation(
        "simulate_routing",
        "POST",
        "/v1/routing/simulate",
        "Say through which channel a payment would go, and why; nothing moves",
        CreatePayment,
        "body",
    ),
    Operation(
        "list_accounts",
        "GET",
        "/v1/ledger/accounts",
        "List the merchant's accounts",
        Nothing,
        "nothing",
    ),
    Operation(
        "list_entries",
        "GET",
        "/v1/ledger/entries",
        "List the merchant's entries, newest attempt or refund first",
        ListEntries,
        "query",
    ),
    Operation(
        "list_events",
        "GET",
        "/v1/events",
        "Read the gap-free event feed, oldest first",
        ListEvents,
        "query",
    ),
    Operation(
        "redeliver_event",
        "POST",
        "/v1/events/{id}/redeliver",
        "Send an event again to every endpoint that asks for its type",
        Nothing,
        "body",
    ),
    Operation(
        "create_endpoint",
        "POST",
        "/v1/webhook_endpoints",
        "Add a webhook endpoint; its secret is shown in this answer only",
        CreateEndpoint,
        "body",
        201,
    ),
    Operation(
        "list_endpoints",
        "GET",
        "/v1/webhook_endpoints",
        "List the webhook endpoints with their health",
        Nothing,
        "nothing",
    ),
    Operation(
        "get_endpoint",
        "GET",
        "/v1/webhook_endpoints/{id}",
        "Show one webhook endpoint with its health",
        Nothing,
        "nothing",
    ),
    Operation(
        "delete_endpoint",
        "DELETE",
        "/v1/webhook_endpoints/{id}",
        "Delete a webhook endpoint",
        Nothing,
        "nothing",
    ),
    Operation(
        "enable_endpoint",
        "POST",
        "/v1/webhook_endpoints/{id}/enable",
        "Serve a disabled or spared endpoint again, from where it stood",
        Nothing,
        "body",
    ),
    Operation(
        "rotate_endpoint_secret",
        "POST",
        "/v1/webhook_endpoints/{id}/rotate_secret",
        "Make a new secret, shown in this answer only; the one before stays valid for a day",
        Nothing,
        "body",
    ),
    Operation(
        "redeliver_to_endpoint",
        "POST",
        "/v1/webhook_endpoints/{id}/redeliver",
        "Send every event of a span of time again",
        Redeliver,
        "body",
    ),
    Operation(
        "list_deliveries",
        "GET",
        "/v1/webhook_endpoints/{id}/deliveries",
        "List what became of the deliveries to an endpoint, newest event first",
        ListDeliveries,
        "query",
    ),
)

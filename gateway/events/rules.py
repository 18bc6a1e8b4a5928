"""The laws of webhooks: what is sent and signed, what an answer means, and when to try again.

Standard Webhooks 1.0 (github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md).
"""

import base64
import enum
import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

import msgspec
from msgspec import Struct

from gateway.domain import limits

SECRET_PREFIX: Final = "whsec_"
# Why nothing was sent: what the endpoint's key was hidden under is lost.
SECRET_UNREADABLE: Final = "secret_unreadable"
TRIES_MAX: Final = len(limits.WEBHOOK_TRY_WAIT_SECONDS)

_GONE: Final = 410
_THROTTLING: Final = frozenset({429, 502, 504})
_encode: Final = msgspec.json.Encoder().encode


class Message(Struct, frozen=True):
    """The body of a webhook, the same in every try."""

    type: str
    timestamp: datetime
    data: msgspec.Raw


def with_sequence(data: bytes, sequence: int) -> bytes:
    """Give an event's object, which is never empty, its `sequence` as last member."""
    return b'%b,"sequence":%d}' % (data[:-1], sequence)


def body_of(type_: str, created_at: datetime, data: bytes) -> bytes:
    """Write the bytes that are signed and sent; `data` has its sequence already."""
    return _encode(Message(type_, created_at, msgspec.Raw(data)))


def secret_text(key: bytes) -> str:
    """Write a signing key as the merchant's libraries take it: `whsec_` and base64."""
    return SECRET_PREFIX + base64.b64encode(key).decode()


def signed_headers(
    event_id: str, body: bytes, at: datetime, keys: Sequence[bytes]
) -> Mapping[str, str]:
    """Sign one try under every live key; neither an id nor a time of ours contains a dot."""
    timestamp = int(at.timestamp())
    signed = f"{event_id}.{timestamp}.".encode() + body
    signatures = (base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys)
    return {
        "Content-Type": "application/json",
        "User-Agent": "Floodgate",
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


class Verdict(enum.Enum):
    """What a receiver's answer, or its silence, means for the endpoint."""

    ACCEPTED = "accepted"
    FAILED = "failed"
    THROTTLED = "throttled"
    GONE = "gone"


def verdict_of(status: int | None) -> Verdict:
    """Read an HTTP status; None when there was no answer.  Redirects are failures."""
    if status is None:
        return Verdict.FAILED
    if 200 <= status < 300:  # noqa: PLR2004 - HTTP's own numbers
        return Verdict.ACCEPTED
    if status == _GONE:
        return Verdict.GONE
    return Verdict.THROTTLED if status in _THROTTLING else Verdict.FAILED


def retry_after(header: str | None, now: datetime) -> timedelta:
    """Read a Retry-After header (RFC 9110 section 10.2.3), bounded; zero when it says nothing."""
    most = timedelta(seconds=limits.WEBHOOK_RETRY_AFTER_SECONDS_MAX)
    if header is None or len(header) > limits.WEBHOOK_RETRY_AFTER_CHARS_MAX:
        return timedelta()
    if header.isascii() and header.isdigit():
        return timedelta(seconds=min(int(header), limits.WEBHOOK_RETRY_AFTER_SECONDS_MAX))
    try:
        at = parsedate_to_datetime(header)
    except (ValueError, OverflowError):  # the latter for a year or an offset that is no number
        return timedelta()
    # HTTP's dates are in GMT, also where a sender leaves that word out.
    return max(timedelta(), min((at if at.tzinfo else at.replace(tzinfo=UTC)) - now, most))


def next_try_at(
    now: datetime, tries: int, jitter: float, asked: timedelta = timedelta()
) -> datetime | None:
    """Say when to try again after this many tries; None when it was the last.

    `jitter` lies between -1 and 1; `asked` is how long the receiver wants to be left alone.
    """
    if tries >= TRIES_MAX:
        return None
    wait = limits.WEBHOOK_TRY_WAIT_SECONDS[tries] * (1 + limits.WEBHOOK_JITTER_SHARE * jitter)
    return now + max(timedelta(seconds=wait), asked)


def pause_until(
    verdict: Verdict, now: datetime, *, failures: int, failing_since: datetime, asked: timedelta
) -> datetime | None:
    """Say how long to leave an endpoint alone after a failure; None when it is not to be spared.

    A receiver that throttles is spared at once.  One that failed several times in a row, this one
    included, is spared the longer the longer it has been failing.
    """
    shortest = timedelta(seconds=limits.WEBHOOK_PAUSE_SECONDS_MIN)
    if verdict is Verdict.THROTTLED:
        return now + max(shortest, asked)
    if failures < limits.WEBHOOK_BREAKER_FAILURES:
        return None
    longest = timedelta(seconds=limits.WEBHOOK_PAUSE_SECONDS_MAX)
    return now + max(shortest, min((now - failing_since) / 4, longest))

"""How Stripe signs its events: HMAC-SHA256 of `t.body` in the header `Stripe-Signature: t=,v1=`.

Source: docs.stripe.com/webhooks/signature, "verify manually".
"""

import hashlib
import hmac
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from gateway.channels.port import NoticeRefused
from gateway.domain.limits import SIGNATURE_AGE_SECONDS_MAX

_DIGITS_MAX: Final = 12


def refuse_unsigned(secrets: Sequence[str], header: str, body: bytes, now: datetime) -> None:
    """Raise `NoticeRefused` unless one of these secrets signed the body in the last 5 minutes."""
    pairs = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    if len(times) != 1 or not _is_number(times[0]):
        raise NoticeRefused("forged")
    if abs(int(times[0]) - now.timestamp()) > SIGNATURE_AGE_SECONDS_MAX:
        raise NoticeRefused("stale")
    given = [value.encode(errors="replace") for name, _, value in pairs if name == "v1"]
    expected = _signatures(secrets, times[0], body)
    if not any(hmac.compare_digest(one, each) for each in expected for one in given):
        raise NoticeRefused("forged")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX


def _signatures(secrets: Sequence[str], time: str, body: bytes) -> Iterator[bytes]:
    signed = time.encode() + b"." + body
    for secret in secrets:
        yield hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest().encode()

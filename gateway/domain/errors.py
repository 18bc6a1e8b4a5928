"""Every error that can cross a floor, and the frozen list of codes that the public sees.

FloodgateError
+ Problem           a refusal with a public code (RFC 9457); nothing was begun unless it says so
+ Unavailable       a part we depend on does not answer; nothing is known to have happened
  - Overloaded      our own queue is full; nothing was begun
+ InDoubt           a write whose fate is not known yet; ask by id before answering

StatementRefused    PostgreSQL will never carry this statement out: a fault of ours, so a batch is
                    halved until it is the answer of the one item that it speaks of
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

Retry = Literal["same_key", "new_key", "later", "never"]


class Kind(NamedTuple):
    """What the public list says of one code: HTTP status, title and advice for a retry."""

    status: int
    title: str
    retry: Retry


PROBLEMS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "signature_missing": Kind(401, "The request is not signed", "same_key"),
        "signature_malformed": Kind(401, "The signature headers cannot be read", "same_key"),
        "signature_incomplete": Kind(401, "The signature does not cover enough", "same_key"),
        "signature_expired": Kind(401, "The signature is too old or too new", "same_key"),
        "signature_mismatch": Kind(401, "The signature does not fit the request", "same_key"),
        "digest_mismatch": Kind(401, "The Content-Digest does not fit the body", "same_key"),
        "key_unknown": Kind(401, "The key is not known", "never"),
        "request_malformed": Kind(400, "The request cannot be read", "same_key"),
        "json_malformed": Kind(400, "The body is not the JSON that is expected", "same_key"),
        "field_unknown": Kind(400, "A field is not known", "same_key"),
        "field_missing": Kind(400, "A field is missing", "same_key"),
        "field_invalid": Kind(400, "A field has a wrong value", "same_key"),
        "idempotency_key_missing": Kind(400, "The Idempotency-Key is missing", "same_key"),
        "idempotency_key_invalid": Kind(400, "The Idempotency-Key is not usable", "new_key"),
        "notice_refused": Kind(400, "The notice cannot be believed", "never"),
        "not_found": Kind(404, "There is nothing here", "never"),
        "payment_not_found": Kind(404, "There is no such payment", "never"),
        "refund_not_found": Kind(404, "There is no such refund", "never"),
        "event_not_found": Kind(404, "There is no such event", "never"),
        "endpoint_not_found": Kind(404, "There is no such webhook endpoint", "never"),
        "method_not_allowed": Kind(405, "This method is not offered here", "never"),
        "request_in_progress": Kind(409, "The same request is still running", "same_key"),
        "reference_exists": Kind(409, "The reference is already used", "never"),
        "state_conflict": Kind(409, "The payment's state does not allow this", "never"),
        "refund_exceeds_captured": Kind(409, "More than was captured", "never"),
        "too_many_endpoints": Kind(409, "There are too many webhook endpoints", "never"),
        "body_too_large": Kind(413, "The body is too large", "never"),
        "encoding_unsupported": Kind(415, "Content-Encoding is not accepted", "same_key"),
        "idempotency_key_reused": Kind(422, "The key was used for another request", "new_key"),
        "no_channel": Kind(422, "No channel can serve this payment", "never"),
        "rate_limited": Kind(429, "The merchant's quota is used up", "later"),
        "internal_error": Kind(500, "Something went wrong on our side", "same_key"),
        "overloaded": Kind(503, "The gateway is full", "later"),
        "unavailable": Kind(503, "The gateway cannot take money now", "later"),
    }
)


class FloodgateError(Exception):
    """The root of every error that we raise on purpose."""


class Problem(FloodgateError):
    """A refusal with a code of `PROBLEMS`; `extra` members stand beside the RFC's own."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        param: str | None = None,
        extra: Mapping[str, str | int] | None = None,
    ) -> None:
        self.code = code
        self.kind = PROBLEMS[code]
        self.detail = detail
        self.param = param
        self.extra = extra or {}
        super().__init__(f"{code}: {detail}")


class Unavailable(FloodgateError):
    """PostgreSQL, Redis or another part cannot be asked right now."""


class Overloaded(Unavailable):
    """A bounded queue of ours is full: nothing was begun."""


class InDoubt(FloodgateError):
    """A write was sent and its fate never came back."""


class StatementRefused(Exception):
    """PostgreSQL refuses a statement for good; nothing of it is carried out.

    `state` is the SQLSTATE (or the name of the client's own error when it was never sent), and
    `constraint` the one that was violated.  The server's own words are left out: they repeat rows.
    """

    def __init__(self, state: str, constraint: str | None = None) -> None:
        self.state = state
        self.constraint = constraint
        super().__init__(f"{state} {constraint}" if constraint else state)

"""HTTP as two nouns, for everything that leaves the process: what is sent and what comes back."""

from collections.abc import Mapping

from msgspec import Struct


class WireRequest(Struct, frozen=True, gc=False):
    """An HTTP request to send; `path` is relative to a base URL and already percent-encoded."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class WireAnswer(Struct, frozen=True, gc=False):
    """An HTTP answer as it came; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

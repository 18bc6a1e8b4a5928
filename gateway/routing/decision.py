"""A routing decision as it is stored with its attempt: what was known, what followed from it."""

from datetime import datetime
from typing import Final, Literal

import msgspec
from msgspec import Struct

Health = Literal["sick", "probe"]
Full = Literal["quota", "breaker", "lane"]


class Asked(Struct, frozen=True, kw_only=True):
    """What is asked of a channel: all of it stands in the payment's own rows.

    `draw` is a number that hangs on the payment and on how often it was tried, and on nothing else.
    """

    merchant: str
    method: str
    currency: str
    amount: int
    at: datetime
    draw: int
    bin: str | None = None


class Seen(Struct, frozen=True, omit_defaults=True):
    """One channel as it was seen at that moment.

    `objection` says in one word why it cannot serve, as far as the configuration has no say in it.
    `full` says that its quota was used up, its breaker open or its lane as full as it serves well.
    `fee` is what it would keep in minor units; of its last `answers`, `good` were successes;
    `latency` is their mean in milliseconds.
    """

    channel: str
    objection: str | None = None
    health: Health | None = None
    full: Full | None = None
    fee: int = 0
    good: int = 0
    answers: int = 0
    latency: int = 0


class Weighed(Struct, frozen=True, omit_defaults=True):
    """What followed for one channel: why it was not taken, and its score where there are scores."""

    channel: str
    reason: str | None = None
    score: int | None = None


class Decision(Struct, frozen=True, omit_defaults=True):
    """What was seen and what followed by this version of the configuration.

    `candidates` stand in the order in which they would have been taken, then those that cannot
    serve; `by` says what decided between several.
    """

    version: int
    seen: tuple[Seen, ...]
    candidates: tuple[Weighed, ...]
    chosen: str | None = None
    by: Literal["only", "order", "weights", "score"] | None = None
    bank: str | None = None


encode: Final = msgspec.json.Encoder().encode
decode: Final = msgspec.json.Decoder(Decision).decode

"""The channels that may stand in the books, and how one of them stands just now."""

from typing import Final, Literal

from msgspec import Struct

# The number is what account numbers carry.
NUMBERS: Final[dict[str, int]] = {
    "simulator": 1,
    "stripe": 2,
    "wechat": 3,
    "alipay": 4,
    "unionpay": 5,
    "crypto": 6,
    "simulator_b": 91,
}
NAMES: Final[dict[int, str]] = {number: name for name, number in NUMBERS.items()}


class LaneHealth(Struct, frozen=True):
    """How one lane of a channel stands in this process: what its breaker does, calls under way.

    Of the last `calls` calls so many `failed`: they got no answer, or one that speaks of the
    channel's own trouble.  `limit` is how many at once it serves well.
    """

    breaker: Literal["closed", "half_open", "open"]
    calls: int
    failed: int
    under_way: int
    limit: int

"""The words of UnionPay's online platform (ACP 5.1): paths, transactions, response codes."""

import enum
from collections.abc import Iterator
from types import MappingProxyType
from typing import Final

FRONT: Final = "/gateway/api/frontTransReq.do"
APP: Final = "/gateway/api/appTransReq.do"
BACK: Final = "/gateway/api/backTransReq.do"
QUERY: Final = "/gateway/api/queryTrans.do"

CONSUME: Final = "01"
REFUND: Final = "04"
VOID: Final = "31"
CNY: Final = "156"


class Flow(enum.Enum):
    """Where the payer is when he pays; the value is what the merchant says."""

    FRONT = "front"
    APP = "app"


# 07 is the web, 08 a mobile terminal.
CHANNEL_TYPE: Final = MappingProxyType({Flow.FRONT: "07", Flow.APP: "08"})

# A6: done, but with a defect that does not touch the money.
DONE: Final = frozenset({"00", "A6"})
# Sent again, still at work, timed out: what became of the transaction has to be asked.
UNDECIDED: Final = frozenset({"01", "03", "04", "05", "12", "60"})
NO_SUCH_TRANSACTION: Final = "34"


def pairs_of(body: bytes) -> dict[str, str]:
    """Read an answer: `k=v` joined by `&`, not URL-encoded; an `&` inside braces joins nothing.

    Raises ValueError (UnicodeDecodeError among them) when it is not that.
    """
    said = {}
    for pair in _split(body.decode()):
        name, equals, value = pair.partition("=")
        if not equals or name in said:
            raise ValueError("no answer")
        said[name] = value
    return said


def _split(text: str) -> Iterator[str]:
    depth = begin = 0
    for place, letter in enumerate(text):
        depth += (letter in "{[") - (letter in "}]")
        if letter == "&" and depth == 0:
            yield text[begin:place]
            begin = place + 1
    yield text[begin:]

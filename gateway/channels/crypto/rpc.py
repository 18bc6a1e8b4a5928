"""A node's JSON-RPC as far as the crypto channel speaks it: questions in one batch, their answers.

Followed: jsonrpc.org (version 2.0) and the Ethereum execution API.
"""

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Raw, Struct

_QUANTITY: Final = re.compile(r"0x[0-9a-f]{1,64}")
_DATA: Final = re.compile(r"0x(?:[0-9a-fA-F]{2})*")

_NOTHING: Final = Raw()

_encode: Final = msgspec.json.Encoder().encode


class Call(NamedTuple):
    """One question to a node."""

    method: str
    params: tuple[Any, ...] = ()


class Fault(Struct, frozen=True):
    """Why a node would not answer."""

    code: int


class Reply(Struct, frozen=True):
    """One answer; a fault of the whole batch has no `id`."""

    id: int | None = None
    result: Raw = _NOTHING
    error: Fault | None = None


class Fees(Struct, frozen=True, rename="camel"):
    """The fees of one block, of which we want only to know which one it is."""

    oldest_block: str


class Log(Struct, frozen=True, rename="camel"):
    """One event of a contract, as a transaction in a block left it there."""

    address: str
    topics: tuple[str, ...]
    data: str
    block_number: str
    transaction_hash: str
    log_index: str
    removed: bool = False


class Refused(Exception):
    """The node would not answer; `code` is its own."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(str(code))


class Foreign(Exception):
    """These are answers to somebody else's questions."""


_read: Final = msgspec.json.Decoder(Reply | tuple[Reply, ...]).decode


def batch(calls: Sequence[Call], first_id: int) -> bytes:
    """Write questions in one batch, with ids from this one on."""
    return _encode(
        [
            {"jsonrpc": "2.0", "id": number, "method": call.method, "params": call.params}
            for number, call in enumerate(calls, first_id)
        ]
    )


def answers(body: bytes, first_id: int, count: int) -> tuple[Raw, ...]:
    """Read the answers to a batch, in the order of its questions, whatever theirs is.

    Raises `Refused` when a question was not answered, `Foreign` when it was somebody else's, and
    ValueError when this is no answer.
    """
    read = _read(body)
    replies = read if isinstance(read, tuple) else (read,)
    for reply in replies:
        if reply.error is not None:
            raise Refused(reply.error.code)
    by_id = {reply.id: reply.result for reply in replies}
    wanted = range(first_id, first_id + count)
    if len(replies) != count or None in by_id or _NOTHING in by_id.values():
        raise ValueError("not one answer to each question")
    if by_id.keys() != set(wanted):
        raise Foreign
    return tuple(by_id[number] for number in wanted)


def quantity(text: str) -> int:
    """Read a number as the execution API writes it: `0x1b4` is 436; ValueError when it is none."""
    if _QUANTITY.fullmatch(text) is None:
        raise ValueError("no quantity")
    return int(text, 16)


def data(text: str) -> bytes:
    """Read bytes as the execution API writes them; ValueError when it is none."""
    if _DATA.fullmatch(text) is None:
        raise ValueError("no data")
    return bytes.fromhex(text[2:])

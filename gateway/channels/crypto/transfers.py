"""What has come to a deposit address of the crypto channel, and how much of it is there for good.

The token says `Transfer(address indexed from, address indexed to, uint256 value)` (EIP-20) of each
movement.  A transfer is known by its transaction and its place in the block; a block that the chain
gives up takes its transfers along, so only what lies deep enough counts as money.
"""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from gateway.channels.crypto.deposits import keccak, word
from gateway.channels.crypto.rpc import Log, data, quantity

TRANSFER: Final = keccak(b"Transfer(address,address,uint256)")
_TOPICS: Final = 3
_VALUE_BYTES: Final = 32


class Tally(Struct, frozen=True):
    """Sums in the token's own units: all that is `seen`, and the part that is `final`."""

    seen: int
    final: int


def topics_to(deposit: bytes) -> tuple[str | None, ...]:
    """Say which events are transfers to this address, whoever they come from."""
    return _hex(TRANSFER), None, _hex(word(deposit))


def tally(logs: Iterable[Log], token: bytes, deposit: bytes, final_block: int) -> Tally:
    """Add up what came, each transfer once; ValueError for an event that nobody asked for."""
    seen: dict[tuple[bytes, int], tuple[int, int]] = {}
    for log in logs:
        if log.removed:
            continue
        if data(log.address) != token or not _is_transfer(log, deposit):
            raise ValueError("an event that was not asked for")
        key = data(log.transaction_hash), quantity(log.log_index)
        seen[key] = quantity(log.block_number), int.from_bytes(data(log.data))
    return Tally(
        seen=sum(units for _, units in seen.values()),
        final=sum(units for block, units in seen.values() if block <= final_block),
    )


def _is_transfer(log: Log, deposit: bytes) -> bool:
    topics = [data(topic) for topic in log.topics]
    return (
        len(topics) == _TOPICS
        and (topics[0], topics[2]) == (TRANSFER, word(deposit))
        and len(data(log.data)) == _VALUE_BYTES
    )


def _hex(raw: bytes) -> str:
    return "0x" + raw.hex()

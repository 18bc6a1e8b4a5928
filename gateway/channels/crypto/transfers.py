"""What has come to a deposit address of the crypto channel, and how much of it is there for good.

The token says `Transfer(address indexed from, address indexed to, uint256 value)` (EIP-20) of each
movement.  A transfer is known by its transaction and its place in the block; a block that the chain
gives up takes its transfers along, so only what lies deep enough counts as money.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from msgspec import Struct

from gateway.channels.crypto.deposits import keccak, word
from gateway.channels.crypto.rpc import Log, data, quantity

TRANSFER: Final = keccak(b"Transfer(address,address,uint256)")
_TOPICS: Final = 3
_VALUE_BYTES: Final = 32


class Transfer(Struct, frozen=True, order=True):
    """One movement to the address: its place in the chain, its transaction, the token's units."""

    block: int
    index: int
    transaction: str
    units: int


class Came(Struct, frozen=True):
    """All that came, in the chain's order: what is `final`, and what the chain may yet give up."""

    final: tuple[Transfer, ...]
    moving: tuple[Transfer, ...]

    @property
    def final_units(self) -> int:
        """The sum of what is there for good."""
        return sum(transfer.units for transfer in self.final)

    @property
    def seen_units(self) -> int:
        """The sum of everything."""
        return self.final_units + sum(transfer.units for transfer in self.moving)


def topics_to(deposit: bytes) -> tuple[str | None, ...]:
    """Say which events are transfers to this address, whoever they come from."""
    return _hex(TRANSFER), None, _hex(word(deposit))


def came(logs: Iterable[Log], token: bytes, deposit: bytes, final_block: int) -> Came:
    """Read what came, each transfer once; ValueError for an event that nobody asked for."""
    transfers = sorted({_transfer(log, token, deposit) for log in logs if not log.removed})
    if len({(t.transaction, t.index) for t in transfers}) != len(transfers):
        raise ValueError("a transfer in two places")
    return Came(
        final=tuple(each for each in transfers if each.block <= final_block),
        moving=tuple(each for each in transfers if each.block > final_block),
    )


def beyond(transfers: Sequence[Transfer], units: int) -> Iterator[tuple[Transfer, int]]:
    """Give the transfers that go beyond a sum, and by how much each of them does."""
    before = 0
    for transfer in transfers:
        after = before + transfer.units
        if after > units:
            yield transfer, after - max(before, units)
        before = after


def _transfer(log: Log, token: bytes, deposit: bytes) -> Transfer:
    topics, value = [data(topic) for topic in log.topics], data(log.data)
    is_ours = len(topics) == _TOPICS and (topics[0], topics[2]) == (TRANSFER, word(deposit))
    if not is_ours or data(log.address) != token or len(value) != _VALUE_BYTES:
        raise ValueError("an event that was not asked for")
    return Transfer(
        block=quantity(log.block_number),
        index=quantity(log.log_index),
        transaction=_hex(data(log.transaction_hash)),
        units=int.from_bytes(value),
    )


def _hex(raw: bytes) -> str:
    return "0x" + raw.hex()

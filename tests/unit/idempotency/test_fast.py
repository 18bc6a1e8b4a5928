"""Claims of which Redis may have heard are given back later; of which it cannot have, are not."""

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from gateway.domain import limits
from gateway.domain.errors import Unavailable
from gateway.drivers.redis import Redis
from gateway.drivers.redis_line import Command
from gateway.idempotency.fast import FastClaims

PRINT, OTHER = b"p" * 32, b"o" * 32


class Slow:
    """A Redis that answers when it may, loses its first answer if that is said, or refuses."""

    is_away = False

    def __init__(self, *, loses_first: bool = False) -> None:
        self.may = asyncio.Event()
        self.asked: list[Sequence[Command]] = []
        self.refused: list[bytes] = []
        self._loses = loses_first

    async def ask(self, commands: Sequence[Command]) -> list[Unavailable | None]:
        self.asked.append(commands)
        await self.may.wait()
        if self._loses:
            self._loses = False
            raise Unavailable("it does not answer")
        return [Unavailable() if command[0] in self.refused else None for command in commands]


@pytest.mark.parametrize("together", [False, True])
async def test_a_claim_for_which_the_queue_is_full_is_not_given_back(
    monkeypatch: pytest.MonkeyPatch, *, together: bool
) -> None:
    monkeypatch.setattr(limits, "QUEUE_ITEMS_MAX", 1)
    redis = Slow()
    claims = FastClaims(cast("Redis", redis))
    waiting = asyncio.create_task(claims.claim(7, "waits", PRINT))
    await asyncio.sleep(0)
    if together:
        told = await claims.claim_all([(7, "full", PRINT), (7, "too", PRINT)])
        assert told == [(None, None)] * 2
    else:
        assert await claims.claim(7, "full", PRINT) == (None, None)
    redis.may.set()
    await waiting
    await claims.claim(7, "next", PRINT)
    assert [[command[0] for command in commands] for commands in redis.asked] == [[b"SET"]] * 2


async def test_a_claim_that_was_not_answered_is_given_back_once_and_first() -> None:
    redis = Slow(loses_first=True)
    redis.may.set()
    claims = FastClaims(cast("Redis", redis))
    assert await claims.claim(7, "lost", PRINT) == (None, None)
    for _ in range(2):
        await claims.claim(7, "next", PRINT)
    words = [[command[0] for command in commands] for commands in redis.asked]
    assert words == [[b"SET"], [b"EVAL", b"SET"], [b"SET"]]
    assert redis.asked[1][0][2:] == (1, b"idem:{7:lost}", b"P" + PRINT)


@pytest.mark.parametrize(
    ("refused", "is_asked_again"),
    [
        ([b"EVAL", b"SET"], True),  # it loads what it holds, or is nobody's master any more
        ([b"EVAL"], False),  # one that is refused for ever is in nobody's way
        ([b"SET"], False),  # it is full: to forget needs no room
    ],
)
async def test_a_claim_is_given_back_when_redis_refuses_nothing_any_more(
    refused: list[bytes], *, is_asked_again: bool
) -> None:
    redis = Slow(loses_first=True)
    redis.may.set()
    claims = FastClaims(cast("Redis", redis))
    await claims.claim(7, "lost", PRINT)
    redis.refused = refused
    await claims.claim(7, "refused", OTHER)
    redis.refused = []
    await claims.claim(7, "next", PRINT)
    forgotten = [command[3] for command in redis.asked[2] if command[0] == b"EVAL"]
    assert (b"idem:{7:lost}" in forgotten) is is_asked_again

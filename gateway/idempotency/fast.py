"""Claims and answers in Redis: quick, shared by all workers, and allowed to be lost at any time.

One value per key, one round trip for everything that gathered meanwhile::

    P + fingerprint (32) + token (8)          the request is running; lives as long as the lease
    D + fingerprint (32) + status (3) + body  the answer; lives for a day

The hash tag is the whole idempotency key, so a big merchant spreads over a cluster.  A claim and an
answer are one plain command each, which costs Redis half of what a script does.

A Redis that was away for a moment may hold claims of requests that have ended meanwhile: their
answers it never heard, or it hung and hears of the claims late.  They are given back when it
answers again, or who asks once more would be told for the rest of the lease that they are running.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from gateway.domain import limits
from gateway.domain.errors import Overloaded, Unavailable
from gateway.domain.identity import chance
from gateway.domain.stages import Answer
from gateway.drivers.batching import Batcher
from gateway.drivers.redis import Redis
from gateway.drivers.redis_line import Command

_LEASE_MS: Final = b"%d" % (limits.CLAIM_LEASE_SECONDS * 1000)
_KEEP_MS: Final = b"%d" % (limits.ANSWER_KEEP_SECONDS * 1000)
_KEPT: Final = (b"GET", b"PX", _KEEP_MS)
_FINGERPRINT: Final = slice(1, 33)
_STATUS: Final = slice(33, 36)

# What is done to a claim only while it is ours; seldom, so each is sent with its text.
_REPLACE: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
"""
_REMOVE: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""
# Takes away a request's claim, whoever of its tries made it: PostgreSQL decides then.
_FORGET: Final = """
if string.sub(redis.call('GET', KEYS[1]) or '', 1, 33) == ARGV[1] then
    redis.call('DEL', KEYS[1])
end
"""


class Remembered(Struct, frozen=True):
    """What Redis holds of a key: the fingerprint, and the answer once there is one."""

    fingerprint: bytes
    answer: Answer | None


class FastClaims:
    """Claims of many requests that share one round trip."""

    def __init__(self, redis: Redis, *, observe: Callable[[int], None] | None = None) -> None:
        self._redis = redis
        self._left: dict[bytes, bytes] = {}  # fingerprints of claims that Redis may hold in vain
        self._batcher: Batcher[Command, bytes | None] = Batcher(
            self._ask,
            items_max=limits.REDIS_BATCH_ITEMS_MAX,
            queue_items_max=limits.QUEUE_ITEMS_MAX,
            observe=observe,
        )

    def waiting(self) -> int:
        """Say how many commands wait for a round trip."""
        return self._batcher.waiting()

    async def claim(
        self, merchant: int, key: str, fingerprint: bytes
    ) -> tuple[bytes | None, Remembered | None]:
        """Reserve a key, or learn what is remembered of it.

        Gives our token and None when the key is ours now, None and what was found when it is not,
        and None and None when Redis could not be asked.
        """
        if self._redis.is_away:
            return None, None
        token, name = chance(8), _name(merchant, key)
        try:
            found = await self._batcher.submit(_claim(name, _claimed(fingerprint, token)))
        except Overloaded:  # Redis heard nothing of it
            return None, None
        except Unavailable:
            self._leave(name, fingerprint)
            return None, None
        return (token, None) if found is None else (None, _read(found))

    async def claim_all(
        self, uses: Sequence[tuple[int, str, bytes]]
    ) -> Sequence[tuple[bytes | None, Remembered | None]]:
        """Reserve the keys of many requests that came together, each as `claim` does.

        Each is named by merchant, key and fingerprint.
        """
        if self._redis.is_away:
            return [(None, None)] * len(uses)
        tokens = [chance(8) for _ in uses]
        names = [_name(merchant, key) for merchant, key, _ in uses]
        told = await self._batcher.submit_all(
            [
                _claim(name, _claimed(fingerprint, token))
                for name, (*_, fingerprint), token in zip(names, uses, tokens, strict=True)
            ]
        )
        for name, (*_, fingerprint), found in zip(names, uses, told, strict=True):
            if isinstance(found, BaseException) and not isinstance(found, Overloaded):
                self._leave(name, fingerprint)
        return [
            (token, None)
            if found is None
            else (None, None if isinstance(found, BaseException) else _read(found))
            for token, found in zip(tokens, told, strict=True)
        ]

    async def finish(
        self, merchant: int, key: str, fingerprint: bytes, answer: Answer, *, claimed: bool = True
    ) -> None:
        """Remember the answer, whoever held the claim: its content is durable already.

        The first success stays the answer: another one tells of the same a moment later, and is
        taken back at once.  Where we end in between it stays, and is as true.  `claimed` says
        whether Redis gave the request a claim.
        """
        name, in_vain = _name(merchant, key), fingerprint if claimed else None
        value = _answered(fingerprint, answer)
        held = await self._end(name, in_vain, (b"SET", name, value, *_KEPT))
        if held is not None and _has_succeeded(held):
            await self._end(name, None, (b"SET", name, held, *_KEPT))

    async def finish_all(self, ends: Sequence[tuple[int, str, bytes, Answer, bool]]) -> None:
        """Remember the answers of many requests, each as `finish` does."""
        names = [_name(merchant, key) for merchant, key, *_ in ends]
        told: Sequence[bytes | BaseException | None] = [Unavailable()] * len(ends)
        if not self._redis.is_away:
            told = await self._batcher.submit_all(
                [
                    (b"SET", name, _answered(fingerprint, answer), *_KEPT)
                    for name, (_, _, fingerprint, answer, _) in zip(names, ends, strict=True)
                ]
            )
        again = []
        for name, (_, _, fingerprint, _, claimed), held in zip(names, ends, told, strict=True):
            if isinstance(held, BaseException):
                self._leave(name, fingerprint if claimed else None)
            elif held is not None and _has_succeeded(held):
                again.append((b"SET", name, held, *_KEPT))
        if again:
            await self._batcher.submit_all(again)

    async def refuse(
        self, merchant: int, key: str, fingerprint: bytes, *, token: bytes, answer: Answer
    ) -> None:
        """Remember a refusal, if the claim is still ours: else another try may have succeeded."""
        name, claim = _name(merchant, key), _claimed(fingerprint, token)
        value = _answered(fingerprint, answer)
        await self._end(name, fingerprint, (b"EVAL", _REPLACE, 1, name, claim, value, _KEEP_MS))

    async def release(self, merchant: int, key: str, fingerprint: bytes, token: bytes) -> None:
        """Give the claim back, if it is still ours: nothing was begun under it."""
        name, claim = _name(merchant, key), _claimed(fingerprint, token)
        await self._end(name, fingerprint, (b"EVAL", _REMOVE, 1, name, claim))

    async def _end(self, name: bytes, fingerprint: bytes | None, command: Command) -> bytes | None:
        """End a claim; one of which Redis does not hear is given back later."""
        if not self._redis.is_away:
            try:
                return await self._batcher.submit(command)
            except Unavailable:
                pass
        self._leave(name, fingerprint)
        return None

    def _leave(self, name: bytes, fingerprint: bytes | None) -> None:
        """Note down a claim that is in vain; where there are too many its lease ends by itself."""
        if fingerprint is not None and len(self._left) < limits.CLAIMS_LEFT_MAX:
            self._left[name] = fingerprint

    async def _ask(self, commands: Sequence[Command]) -> Sequence[bytes | BaseException | None]:
        """Run commands, and before them give back what Redis may still hold in vain."""
        if not self._left:
            return await self._redis.ask(commands)
        left = [*itertools.islice(self._left.items(), limits.REDIS_BATCH_ITEMS_MAX)]
        forgetting = [(b"EVAL", _FORGET, 1, name, b"P" + fingerprint) for name, fingerprint in left]
        replies = await self._redis.ask([*forgetting, *commands])
        told = replies[len(left) :]
        # Where it refuses all it is starting, or may not write: it holds what it held before.
        refuses_all = all(isinstance(reply, BaseException) for reply in told)
        for (name, _), reply in zip(left, replies, strict=False):
            if not (refuses_all and isinstance(reply, BaseException)):
                self._left.pop(name, None)
        return told


def _name(merchant: int, key: str) -> bytes:
    return f"idem:{{{merchant}:{key}}}".encode()


def _claim(name: bytes, value: bytes) -> Command:
    return (b"SET", name, value, b"NX", b"GET", b"PX", _LEASE_MS)


def _has_succeeded(held: bytes) -> bool:
    return held[:1] == b"D" and held[_STATUS].startswith(b"2")


def _claimed(fingerprint: bytes, token: bytes) -> bytes:
    return b"P" + fingerprint + token


def _answered(fingerprint: bytes, answer: Answer) -> bytes:
    return b"D%b%d%b" % (fingerprint, answer.status, answer.body)


def _read(value: bytes) -> Remembered | None:
    """Read what is remembered; what makes no sense is nothing, and PostgreSQL decides."""
    fingerprint = value[_FINGERPRINT]
    if value[:1] == b"P":
        return Remembered(fingerprint, None)
    if value[:1] != b"D" or not value[_STATUS].isdigit():
        return None
    return Remembered(fingerprint, Answer(int(value[_STATUS]), value[36:], replayed=True))

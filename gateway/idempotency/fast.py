"""Claims and answers in Redis: quick, shared by all workers, and allowed to be lost at any time.

One value per key, one script call for everything that gathered meanwhile::

    P + fingerprint (32) + token (8)          the request is running; lives as long as the lease
    D + fingerprint (32) + status (3) + body  the answer; lives for a day

The hash tag is the whole idempotency key, so a big merchant spreads over a cluster.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal

from msgspec import Struct

from gateway.domain import limits
from gateway.domain.errors import Unavailable
from gateway.domain.identity import chance
from gateway.domain.stages import Answer
from gateway.drivers.batching import Batcher
from gateway.drivers.redis import Redis

_LIVES_MS: Final = (
    limits.CLAIM_LEASE_SECONDS * 1000,
    limits.ANSWER_KEEP_SECONDS * 1000,
)
_FINGERPRINT: Final = slice(1, 33)

_SCRIPT: Final = """
local told, call, lease, keep = {}, redis.call, ARGV[1], ARGV[2]
for i, key in ipairs(KEYS) do
    local verb, value = ARGV[2 * i + 1], ARGV[2 * i + 2]
    told[i] = false
    if verb == 'claim' then
        told[i] = call('SET', key, value, 'NX', 'GET', 'PX', lease)
    elseif verb == 'finish' then
        local held = call('SET', key, value, 'GET', 'PX', keep) or ''
        local succeeded = string.sub(held, 1, 1) == 'D' and string.sub(held, 34, 34) == '2'
        if succeeded then call('SET', key, held, 'PX', keep) end
    elseif verb == 'refuse' then
        local claim = string.sub(value, 1, 41)
        if call('GET', key) == claim then
            call('SET', key, string.sub(value, 42), 'PX', keep)
        end
    elseif call('GET', key) == value then
        call('DEL', key)
    end
end
return told
"""


# What the script does for one key.
Verb = Literal[b"claim", b"finish", b"refuse", b"release"]
# One key's part of a script call: the verb, the key's name and the value.
Errand = tuple[Verb, bytes, bytes]


class Remembered(Struct, frozen=True):
    """What Redis holds of a key: the fingerprint, and the answer once there is one."""

    fingerprint: bytes
    answer: Answer | None


class FastClaims:
    """Claims of many requests that share one round trip."""

    def __init__(self, redis: Redis, *, observe: Callable[[int], None] | None = None) -> None:
        self._redis = redis
        self._batcher: Batcher[Errand, bytes | None] = Batcher(
            self._run,
            items_max=limits.REDIS_BATCH_ITEMS_MAX,
            queue_items_max=limits.QUEUE_ITEMS_MAX,
            observe=observe,
        )

    def waiting(self) -> int:
        """Say how many errands wait for a script call."""
        return self._batcher.waiting()

    async def _run(self, errands: Sequence[Errand]) -> Sequence[bytes | None]:
        keys: list[bytes] = []
        arguments: list[bytes | int] = [*_LIVES_MS]
        for verb, key, value in errands:
            keys.append(key)
            arguments += (verb, value)
        return await self._redis.call(_SCRIPT, keys, arguments)

    async def claim(
        self, merchant: int, key: str, fingerprint: bytes
    ) -> tuple[bytes | None, Remembered | None]:
        """Reserve a key, or learn what is remembered of it.

        Gives our token and None when the key is ours now, None and what was found when it is not,
        and None and None when Redis could not be asked.
        """
        if self._redis.is_away:
            return None, None
        token = chance(8)
        value = _claimed(fingerprint, token)
        try:
            found = await self._batcher.submit((b"claim", _name(merchant, key), value))
        except Unavailable:
            return None, None
        return (token, None) if found is None else (None, _read(found))

    def finish(
        self, merchant: int, key: str, fingerprint: bytes, answer: Answer
    ) -> Awaitable[None]:
        """Remember the answer, whoever held the claim: its content is durable already.

        The first success stays the answer: another one tells of the same a moment later.
        """
        value = _answered(fingerprint, answer)
        return self._try((b"finish", _name(merchant, key), value))

    async def refuse(
        self, merchant: int, key: str, fingerprint: bytes, *, token: bytes, answer: Answer
    ) -> None:
        """Remember a refusal, if the claim is still ours: else another try may have succeeded."""
        value = _claimed(fingerprint, token) + _answered(fingerprint, answer)
        await self._try((b"refuse", _name(merchant, key), value))

    async def release(self, merchant: int, key: str, fingerprint: bytes, token: bytes) -> None:
        """Give the claim back, if it is still ours: nothing was begun under it."""
        value = _claimed(fingerprint, token)
        await self._try((b"release", _name(merchant, key), value))

    async def _try(self, errand: Errand) -> None:
        if self._redis.is_away:
            return
        try:
            await self._batcher.submit(errand)
        except Unavailable:
            # The lease ends by itself, and PostgreSQL remembers what matters.
            return


def _name(merchant: int, key: str) -> bytes:
    return f"idem:{{{merchant}:{key}}}".encode()


def _claimed(fingerprint: bytes, token: bytes) -> bytes:
    return b"P" + fingerprint + token


def _answered(fingerprint: bytes, answer: Answer) -> bytes:
    return b"D" + fingerprint + str(answer.status).encode() + answer.body


def _read(value: bytes) -> Remembered:
    fingerprint = value[_FINGERPRINT]
    if value[:1] == b"P":
        return Remembered(fingerprint, None)
    return Remembered(fingerprint, Answer(int(value[33:36]), value[36:], replayed=True))

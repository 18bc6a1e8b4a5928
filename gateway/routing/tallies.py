"""What all workers heard of each channel, summed in Redis: a bucket of five seconds in each hash.

A worker adds what it heard every second and reads what the others did, so that what one learns of a
channel by its payments saves those of the others.  Without Redis each worker knows what it heard.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from gateway.drivers.redis import Redis
from gateway.routing.health import LONG_SECONDS, Bucket, Tally

_KEEP_SECONDS: Final = 2 * LONG_SECONDS
_ADD: Final = """
for i = 2, #ARGV, 3 do
    local key = KEYS[tonumber(ARGV[i])]
    redis.call('HINCRBY', key, ARGV[i + 1], ARGV[i + 2])
    redis.call('EXPIRE', key, ARGV[1])
end
local told = {}
for i, key in ipairs(KEYS) do
    told[i] = table.concat(redis.call('HGETALL', key), ' ')
end
return told
"""


class RedisTallies:
    """The tallies of all workers; a field's name is `channel/bank/column`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def add(
        self, counted: Mapping[Bucket, Sequence[int]], places: Sequence[int]
    ) -> Mapping[Bucket, Sequence[int]]:
        """Add to the buckets and give the sums of those at these places; raises `Unavailable`."""
        added: list[bytes | int] = [_KEEP_SECONDS]
        for (place, (channel, bank)), counts in counted.items():
            for column, count in enumerate(counts):
                if count and place in places:
                    field = f"{channel}/{bank or ''}/{column}".encode()
                    added += (places.index(place) + 1, field, count)
        keys = [f"health:{{tallies}}:{place}".encode() for place in places]
        sums = await self._redis.call(_ADD, keys, added)
        told: dict[Bucket, list[int]] = {}
        for place, text in zip(places, sums, strict=True):
            pairs = iter((text or b"").decode().split())
            for words, total in zip(pairs, pairs, strict=True):
                name, issuer, number = words.split("/")
                bucket = (place, (name, issuer or None))
                told.setdefault(bucket, [0] * len(Tally._fields))[int(number)] = int(total)
        return told

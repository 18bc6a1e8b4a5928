"""What workers heard of channels, summed in a real Redis; without it each knows its own."""

from collections.abc import AsyncIterator

import pytest

from gateway.domain.errors import Unavailable
from gateway.drivers.redis import Redis
from gateway.routing.health import Tally
from gateway.routing.tallies import RedisTallies

ALL, ABC = ("wechat", None), ("wechat", "ABC")


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    redis = Redis(redis_url, budget_seconds=2, pause_seconds=60)
    yield redis
    await redis.close()


async def test_each_bucket_is_the_sum_of_what_all_workers_add(redis: Redis) -> None:
    tallies = RedisTallies(redis)
    first, second = Tally(good=3, unknown=1, milliseconds=40), Tally(refused=2, paid=1)
    told = await tallies.add({(10, ALL): first, (11, ABC): second}, range(10, 12))
    assert told == {(10, ALL): [*first], (11, ABC): [*second]}
    told = await tallies.add({(10, ALL): first, (11, ALL): first}, range(10, 12))
    twice = [*map(sum, zip(first, first, strict=True))]
    assert told == {(10, ALL): twice, (11, ABC): [*second], (11, ALL): [*first]}
    assert await tallies.add({}, range(11, 13)) == {(11, ABC): [*second], (11, ALL): [*first]}
    assert await tallies.add({(10, ALL): first}, range(11, 12)) == await tallies.add(
        {}, range(11, 12)
    ), "what is too old is not looked at any more"


async def test_a_redis_that_is_away_is_told() -> None:
    nobody = Redis("redis://127.0.0.1:1", budget_seconds=0.5, pause_seconds=60)
    with pytest.raises(Unavailable):
        await RedisTallies(nobody).add({(10, ALL): Tally(good=1)}, range(10, 11))
    await nobody.close()

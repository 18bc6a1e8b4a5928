"""A channel's quota: of a second for each worker's share, of a day for all workers together."""

from collections import Counter
from collections.abc import Mapping
from datetime import date, timedelta

from gateway.domain.errors import Unavailable
from gateway.routing.config import ChannelTerms
from gateway.routing.quota import Quotas
from tests.unit.nouns import NOON

SECOND = timedelta(seconds=1)


class SharedCounts:
    """What Redis does, and may be away."""

    def __init__(self) -> None:
        self.sums: dict[date, Counter[str]] = {}
        self.is_away = False

    async def add(self, day: date, counts: Mapping[str, int]) -> Mapping[str, int]:
        if self.is_away:
            raise Unavailable("away")
        sums = self.sums.setdefault(day, Counter())
        sums.update(counts)
        return {name: sums[name] for name in counts}


def test_a_second_has_its_share_and_the_next_one_begins_anew() -> None:
    quotas, terms = Quotas(SharedCounts(), workers=2), ChannelTerms(per_second=5)
    for _ in range(2):
        assert not quotas.wait_seconds("a", terms, NOON)
        quotas.took("a", terms, NOON)
    assert quotas.wait_seconds("a", terms, NOON) == 1, "half of five, for one of two workers"
    assert not quotas.wait_seconds("b", terms, NOON)
    assert not quotas.wait_seconds("a", terms, NOON + SECOND)
    small = ChannelTerms(per_second=1)
    assert not quotas.wait_seconds("a", small, NOON + SECOND), "everybody may have at least one"


async def test_a_day_is_counted_by_all_workers_together() -> None:
    counts, terms = SharedCounts(), ChannelTerms(per_day=5)
    one, other = Quotas(counts, workers=2), Quotas(counts, workers=2)
    for quotas in (one, one, one, other):
        quotas.took("a", terms, NOON)
    assert not one.wait_seconds("a", terms, NOON)
    for quotas in (one, other, one):
        await quotas.share(["a"], NOON)
    assert counts.sums[NOON.date()]["a"] == 4, "each payment is added once"
    one.took("a", terms, NOON)
    assert one.wait_seconds("a", terms, NOON)
    assert not other.wait_seconds("a", terms, NOON), "it will hear of that within a second"
    await one.share(["a"], NOON)
    await other.share(["a"], NOON)
    assert other.wait_seconds("a", terms, NOON)
    assert not one.wait_seconds("a", terms, NOON + timedelta(days=1))
    assert one.wait_seconds("a", terms, NOON) == 12 * 3600, "until midnight"


async def test_without_redis_each_worker_counts_what_it_knows() -> None:
    counts, terms = SharedCounts(), ChannelTerms(per_day=2)
    counts.is_away = True
    quotas = Quotas(counts, workers=1)
    for _ in range(2):
        quotas.took("a", terms, NOON)
        await quotas.share(["a"], NOON)
    assert quotas.wait_seconds("a", terms, NOON)
    counts.is_away = False
    await quotas.share(["a"], NOON)
    assert counts.sums[NOON.date()]["a"] == 2, "nothing was forgotten"


def test_what_has_no_quota_is_not_counted() -> None:
    quotas, plain = Quotas(SharedCounts(), workers=1), ChannelTerms()
    quotas.took("a", plain, NOON)
    assert not quotas.wait_seconds("a", ChannelTerms(per_second=1, per_day=1), NOON)


async def test_a_day_that_ends_while_it_is_shared_leaves_the_next_one_alone() -> None:
    terms, midnight = ChannelTerms(per_day=2), NOON + timedelta(hours=12)

    class Slow(SharedCounts):
        """Answers when the next day has begun."""

        async def add(self, day: date, counts: Mapping[str, int]) -> Mapping[str, int]:
            told = await super().add(day, counts)
            if day == NOON.date():
                quotas.took("a", terms, midnight)
            return told

    counts = Slow()
    quotas = Quotas(counts, workers=1)
    for _ in range(2):
        quotas.took("a", terms, midnight - SECOND)
    await quotas.share(["a"], midnight - SECOND)
    assert not quotas.wait_seconds("a", terms, midnight), "one of two"
    await quotas.share(["a"], midnight)
    assert counts.sums[midnight.date()]["a"] == 1

"""The clock: aware time, and ids minted at that time."""

from datetime import UTC

from gateway.domain import identity
from gateway.drivers.clock import Clock


def test_the_time_is_aware_and_in_utc() -> None:
    assert Clock().now().tzinfo is UTC


def test_an_id_is_minted_at_the_clocks_time() -> None:
    clock = Clock()
    before = int(clock.now().timestamp() * 1000)
    minted = clock.mint("att", 7)
    after = int(clock.now().timestamp() * 1000)
    assert identity.is_id(minted, "att")
    assert identity.merchant_number(minted) == 7
    assert before <= identity.milliseconds_of(minted) <= after

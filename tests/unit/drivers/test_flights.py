"""Flights are counted by lane, rest until one lands, and one that fails takes nobody with it."""

import asyncio
import logging

import pytest

from gateway.drivers.flights import Flights


async def test_flights_are_counted_by_lane_until_they_land() -> None:
    flights, may_land = Flights(), asyncio.Event()

    async def fly() -> None:
        await may_land.wait()

    for lane in ("slow", "slow", "quick"):
        flights.start(lane, fly(), "a flight")
    assert (len(flights), flights.busy) == (3, {"slow": 2, "quick": 1})
    may_land.set()
    await flights.landed()
    assert (len(flights), flights.busy) == (0, {})


async def test_whoever_rests_is_woken_by_a_landing() -> None:
    flights = Flights()
    flights.start("quick", asyncio.sleep(0), "a flight")
    async with asyncio.timeout(5):
        await flights.rest(0, 60)
    await flights.rest(0, 0.001)  # nothing lands, and it rests no longer than it may


async def test_whoever_rests_is_woken_by_those_who_share_his_landing() -> None:
    landing = asyncio.Event()
    flights, others = Flights(landing), Flights(landing)
    others.start("quick", asyncio.sleep(0), "another flight")
    async with asyncio.timeout(5):
        await flights.rest(0, 60)


async def test_a_flight_that_fails_is_logged_and_forgotten(
    caplog: pytest.LogCaptureFixture,
) -> None:
    flights = Flights()

    async def crash() -> None:
        raise ValueError

    with caplog.at_level(logging.WARNING):
        flights.start("quick", crash(), "att_1")
        await flights.landed()
    assert "att_1 did not end well" in caplog.text
    assert len(flights) == 0


async def test_what_does_not_end_is_cut_off_when_the_worker_leaves() -> None:
    flights, ends = Flights(), []

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ends.append("cut")

    flights.start("slow", hang(), "a flight")
    await flights.leave(0.001)
    await flights.landed()
    assert ends == ["cut"]

"""The lanes: each holds its own calls only, and a place that was kept is never lost."""

import pytest
from msgspec.structs import replace

from gateway.channels.lanes import Call, Lanes
from gateway.channels.port import Verb
from gateway.channels.rules import State
from gateway.domain import limits
from gateway.domain.errors import Problem
from gateway.domain.identity import mint, uuid_of
from gateway.domain.room import SEAT, Room, Seat
from gateway.domain.stages import Claimed, Routed
from tests.unit.nouns import ATTEMPT, MATCHED, STANDING

WIDE = dict.fromkeys(limits.LANE_CALLS_MAX, 4)
CLAIMED = Claimed(MATCHED, "k", b"f", None)
NAMES = ("slow", "other")


class Watch:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def lanes(watch: Watch) -> Lanes:
    return Lanes(lambda _: NAMES, calls_max=WIDE, now=watch)


def number(merchant: int = 7) -> str:
    return uuid_of(mint("att", merchant, 1_700_000_000_000))


def routed(channel: str = "slow") -> Routed:
    attempt = replace(ATTEMPT, id=f"att_{number()}", channel=channel)
    return Routed(CLAIMED, STANDING, attempt, None, None)


def begun(lanes: Lanes, verb: Verb, channel: str = "slow", merchant: int = 7) -> Call:
    call = lanes.begin(channel, verb, number(merchant))
    assert isinstance(call, Call)
    return call


def failed(lanes: Lanes, verb: Verb) -> None:
    for _ in range(limits.BREAKER_CALLS_MIN):
        call = begun(lanes, verb)
        call.went(well=False)
        call.over()


@pytest.mark.parametrize("full", [Verb.CREATE, Verb.CAPTURE, Verb.QUERY, Verb.REFUND])
def test_a_full_lane_turns_away_its_own_calls_only(lanes: Lanes, full: Verb) -> None:
    held = []
    while isinstance(call := lanes.begin("slow", full, number()), Call):
        held.append(call)
    assert call == "lane_full"
    for verb in {Verb.CREATE, Verb.CLOSE, Verb.QUERY_REFUND, Verb.REFUND}:
        assert isinstance(lanes.begin("other", verb, number()), Call)
    free = {Verb.CREATE, Verb.CAPTURE, Verb.QUERY, Verb.REFUND} - {full}
    for verb in free:
        begun(lanes, verb).over()
    held.pop().over()
    begun(lanes, full).over()


def test_one_merchant_does_not_fill_a_lane_for_the_others(lanes: Lanes) -> None:
    while isinstance(lanes.begin("slow", Verb.CREATE, number(7)), Call):
        pass
    begun(lanes, Verb.CREATE, merchant=8)


def test_a_breaker_opens_for_its_lane_alone(lanes: Lanes, watch: Watch) -> None:
    failed(lanes, Verb.CREATE)
    assert lanes.begin("slow", Verb.CREATE, number()) == "breaker_open"
    begun(lanes, Verb.QUERY).over()
    begun(lanes, Verb.CREATE, "other").over()
    watch.now += limits.BREAKER_PAUSE_SECONDS_MIN
    for _ in range(limits.BREAKER_PROBES):
        probe = begun(lanes, Verb.CREATE)
        probe.went(well=True)
        probe.over()
    assert lanes.health()["slow", "create"].breaker is State.CLOSED


def test_what_shuts_a_channel_to_a_new_payment(lanes: Lanes, watch: Watch) -> None:
    assert lanes.shut("slow", 7) is None
    while isinstance(lanes.begin("other", Verb.CREATE, number()), Call):
        pass
    assert (lanes.shut("other", 7), lanes.shut("other", 8)) == ("lane", None)
    failed(lanes, Verb.CREATE)
    assert lanes.shut("slow", 7) == "breaker"
    watch.now += limits.BREAKER_PAUSE_SECONDS_MIN
    held = []
    while lanes.shut("slow", 7) is None:
        held.append(begun(lanes, Verb.CREATE))
    assert (len(held), lanes.shut("slow", 7)) == (limits.BREAKER_PROBES, "breaker")
    for probe in held:
        probe.went(well=True)
        probe.over()
    assert lanes.shut("slow", 7) is None


def test_a_new_payment_is_told_before_anything_is_begun(lanes: Lanes, watch: Watch) -> None:
    failed(lanes, Verb.CREATE)
    watch.now += 0.2
    with pytest.raises(Problem) as refusal, lanes.place(routed()):
        pass
    assert (refusal.value.code, refusal.value.extra) == ("unavailable", {"retry_after": 1})
    with lanes.place(routed("other")):
        pass


def test_a_place_that_was_kept_serves_its_call(lanes: Lanes) -> None:
    wanted = routed()
    with lanes.place(wanted):
        while isinstance(lanes.begin("slow", Verb.CREATE, number()), Call):
            pass
        with pytest.raises(Problem, match="overloaded"), lanes.place(routed()):
            pass
        call = lanes.begin("slow", Verb.CREATE, uuid_of(wanted.attempt.id))
        assert isinstance(call, Call)
        call.went(well=True)
        call.over()


def test_probes_are_kept_with_their_places(lanes: Lanes, watch: Watch) -> None:
    failed(lanes, Verb.CREATE)
    watch.now += limits.BREAKER_PAUSE_SECONDS_MIN
    for _ in range(3 * limits.BREAKER_PROBES):
        with lanes.place(routed()):  # its payment was heard before, so nobody is asked
            assert lanes.health()["slow", "create"].breaker is State.HALF_OPEN
    with lanes.place(routed()), lanes.place(routed()), lanes.place(routed()):
        assert lanes.begin("slow", Verb.CREATE, number()) == "breaker_open"


def test_a_channel_that_gets_slow_makes_new_payments_stand_back(watch: Watch) -> None:
    lanes = Lanes(lambda _: ["slow"], now=watch)
    assert lanes.objection(7) is None
    for lasting in (0.01, *[1.0] * 16):
        held = [begun(lanes, Verb.CREATE) for _ in range(limits.LANE_CALLS_START)]
        watch.now += lasting
        for call in held:
            call.went(well=True)
            call.over()
    assert lanes.health()["slow", "create"].limit < limits.LANE_CALLS_START // 2
    held = [begun(lanes, Verb.CREATE) for _ in range(limits.LANE_CALLS_START // 2)]
    assert lanes.objection(7) == "channels_full"
    with lanes.place(routed()):  # it may still be served: so wide is the lane
        pass
    for call in held:
        call.over()
    assert lanes.objection(7) is None


def test_new_payments_are_admitted_while_any_channel_has_room(lanes: Lanes) -> None:
    while isinstance(lanes.begin("slow", Verb.CREATE, number()), Call):
        pass
    assert lanes.objection(7) is None
    while isinstance(lanes.begin("other", Verb.CREATE, number()), Call):
        pass
    assert lanes.objection(7) == "channels_full"
    assert Lanes(lambda _: ()).objection(7) is None


def test_channels_that_are_all_left_alone_are_away() -> None:
    lanes = Lanes(lambda _: ["slow"])
    failed(lanes, Verb.CREATE)
    assert lanes.objection(7) == "channels_away"


def test_a_call_lends_the_seat_of_its_request(lanes: Lanes) -> None:
    room = Room()
    seat = Seat(room, 7, weight=1, now=0.0)
    token = SEAT.set(seat)
    call = begun(lanes, Verb.REFUND)
    assert room.taken == 0
    call.over()
    assert room.taken == 1
    SEAT.reset(token)


def test_health_tells_every_lane_that_was_used(lanes: Lanes) -> None:
    call = begun(lanes, Verb.QUERY)
    call.went(well=False)
    assert lanes.health()["slow", "query"].under_way == 1
    call.over()
    begun(lanes, Verb.CREATE, "other").over()
    health = lanes.health()
    assert health.keys() == {("slow", "query"), ("other", "create")}
    told = health["slow", "query"]
    assert (told.breaker, told.under_way) == (State.CLOSED, 0)

"""A room that is shared fairly, and a limit that finds itself, on a clock that tests wind."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import limits
from gateway.domain.room import AdaptiveLimit, Hands, Room, Seat, kept

BIG, SMALL = 1, 2
GOOD = 0.05


def limit_of(start: int = 64, *, floor: int = 16, ceiling: int = 2048) -> AdaptiveLimit:
    return AdaptiveLimit(floor=floor, start=start, ceiling=ceiling, good_seconds=GOOD)


def lasted(limit: AdaptiveLimit, seconds: float, *, steps: int = 1, used: float = 1.0) -> int:
    """Let everything last so long for so many steps of the limit; gives where it stands then."""
    now = getattr(lasted, "now", 0.0)
    for _ in range(steps):
        for _ in range(limits.LIMIT_SAMPLES_MIN + 1):
            now += limits.LIMIT_STEP_SECONDS / limits.LIMIT_SAMPLES_MIN
            limit.measured(seconds, under_way=int(used * limit.value), now=now)
    lasted.now = now  # type: ignore[attr-defined]
    return limit.value


def test_a_limit_grows_while_it_is_used_and_all_is_quick() -> None:
    limit = limit_of()
    assert lasted(limit, 0.01) == 64 + 8
    assert lasted(limit, 0.01, steps=200) == 2048


def test_a_limit_that_is_not_used_stays() -> None:
    assert lasted(limit_of(), 0.01, steps=20, used=0.5) == 64


def test_a_limit_falls_in_proportion_but_not_through_its_floor() -> None:
    limit = limit_of()
    lasted(limit, 0.01)
    assert lasted(limit, GOOD / 0.9) == pytest.approx(72 * 0.9, abs=1)
    before = limit.value
    assert lasted(limit, 10.0) == pytest.approx(before * limits.LIMIT_FALL_SHARE_MIN, abs=1)
    assert min(lasted(limit, 10.0) for _ in range(10)) == 16


def test_what_is_slow_when_all_is_calm_is_good() -> None:
    limit = limit_of()
    lasted(limit, 0.3, used=0.2)
    assert limit.good_seconds == pytest.approx(limits.CALM_TOLERANCE * 0.3)
    assert lasted(limit, 0.9 * limit.good_seconds) > 64


def test_calm_is_not_learned_from_a_full_house() -> None:
    limit = limit_of()
    lasted(limit, 0.01)
    lasted(limit, 0.08, steps=3)
    assert limit.good_seconds == GOOD


def test_what_stays_slow_at_the_floor_is_not_our_doing() -> None:
    limit = limit_of()
    lasted(limit, 0.05)
    values = [lasted(limit, 1.0) for _ in range(30)]
    assert min(values) == 16
    assert values[-1] > 64
    assert limit.good_seconds >= 1.0


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 5000), st.floats(0, 2)), max_size=300))
def test_a_limit_never_leaves_its_bounds(measured: list[tuple[float, int, float]]) -> None:
    limit, now = limit_of(), 0.0
    for seconds, under_way, pause in measured:
        now += pause
        limit.measured(seconds, under_way=under_way, now=now)
        assert 16 <= limit.value <= 2048


def filled(room: Room, merchant: int, limit: int, now: float = 0.0) -> int:
    """Let a merchant take whatever it gets."""
    count = 0
    while room.admits(merchant, limit=limit):
        room.enter(merchant, weight=1, now=now)
        count += 1
    return count


def test_one_merchant_may_use_what_others_leave_but_not_what_is_kept() -> None:
    room = Room()
    assert filled(room, BIG, 80) == 80 - kept(80)
    assert not room.admits(None, limit=80)


def test_a_small_merchant_finds_its_share_beside_one_that_takes_everything() -> None:
    room, limit = Room(), 80
    filled(room, BIG, limit)
    for _ in range(30):
        room.enter(BIG, weight=1, now=0.0)  # they had been lent, and come back
    assert not room.admits(BIG, limit=limit)
    assert filled(room, SMALL, limit) == (limit - kept(limit)) // 2
    assert not room.admits(None, limit=limit)


def test_a_share_goes_by_weight() -> None:
    room = Room()
    room.enter(BIG, weight=1, now=0.0)
    room.enter(SMALL, weight=3, now=0.0)
    for _ in range(66):
        room.enter(BIG, weight=1, now=0.0)
    assert room.taken == 68
    assert not room.admits(BIG, limit=72)
    for _ in range(3):
        assert room.admits(SMALL, limit=72)
        room.enter(SMALL, weight=3, now=0.0)
    assert room.admits(SMALL, limit=72)


def test_who_was_not_seen_for_a_while_has_no_share() -> None:
    room, third = Room(), 3
    room.enter(SMALL, weight=9, now=0.0)
    room.leave(SMALL)
    for _ in range(9):
        room.enter(third, weight=1, now=0.1)
    for _ in range(4):
        room.enter(BIG, weight=1, now=0.1)
    assert not room.admits(BIG, limit=14)
    room.leave(third)
    room.enter(third, weight=1, now=5.0)  # by now the small one is forgotten
    assert room.admits(BIG, limit=14)


def test_those_who_are_coming_take_room() -> None:
    room = Room()
    assert room.admits(BIG, limit=10, coming=8)
    assert room.admits(BIG, limit=10, coming=9)
    assert not room.admits(None, limit=10, coming=9)
    assert not room.admits(BIG, limit=10, coming=20)


def test_who_holds_next_to_nothing_of_a_full_room_goes_first() -> None:
    room = Room()
    assert not room.enter(SMALL, weight=1, now=0.0)  # all there is is its own
    for _ in range(19):
        room.enter(BIG, weight=1, now=0.0)
    firsts = [room.enter(SMALL, weight=1, now=0.0) for _ in range(3)]
    assert firsts == [True, False, False]  # 2 of 21 are less than an eighth, 3 of 22 are not
    assert not room.enter(BIG, weight=1, now=0.0)


def test_a_seat_goes_first_as_it_was_when_it_was_taken_again() -> None:
    room = Room()
    seat = Seat(room, SMALL, weight=1, now=0.0)
    assert not seat.goes_first
    filled(room, BIG, 80)
    seat.lend(1.0)
    seat.back(2.0)
    assert seat.goes_first


moves = st.lists(
    st.tuples(st.integers(1, 4), st.sampled_from(["ask", "leave"]), st.floats(0, 0.5)),
    max_size=200,
)


@given(moves, st.integers(1, 40))
def test_a_room_never_holds_twice_its_limit_and_the_modest_are_never_shut_out(
    moved: list[tuple[int, str, float]], limit: int
) -> None:
    room, now = Room(), 0.0
    held = dict.fromkeys(range(1, 5), 0)
    for merchant, move, pause in moved:
        now += pause
        if move == "ask" and room.admits(merchant, limit=limit):
            room.enter(merchant, weight=1, now=now)
            held[merchant] += 1
        elif move == "leave" and held[merchant]:
            room.leave(merchant)
            held[merchant] -= 1
        assert room.taken == sum(held.values()) < 2 * limit + 1
        for name, count in held.items():
            if count * 4 < limit - kept(limit):
                assert room.admits(name, limit=limit)


def test_a_seat_is_lent_while_a_channel_is_waited_for() -> None:
    room = Room()
    seat = Seat(room, BIG, weight=1, now=0.0)
    seat.lend(1.0)
    assert room.taken == 0
    seat.back(10.0)
    assert room.taken == 1
    seat.give_up(12.0)
    assert (room.taken, seat.own_seconds, seat.calls) == (0, 3.0, 1)


def test_several_calls_at_once_lend_a_seat_once() -> None:
    room = Room()
    seat = Seat(room, BIG, weight=1, now=0.0)
    seat.widen(5, 0.0)
    assert room.taken == 5
    seat.lend(1.0)
    seat.lend(2.0)
    assert room.taken == 0
    seat.back(3.0)
    assert room.taken == 0
    seat.back(4.0)
    assert (room.taken, seat.calls) == (5, 2)
    seat.give_up(4.0)
    assert room.taken == 0


def test_a_call_that_outlives_its_request_comes_back_to_nothing() -> None:
    room = Room()
    seat = Seat(room, BIG, weight=1, now=0.0)
    seat.lend(1.0)
    seat.give_up(2.0)
    seat.back(3.0)
    assert room.taken == 0


class House:
    """A house that finishes so many a second, first come first served, on a clock of its own."""

    def __init__(self, per_second: float) -> None:
        self.room, self.hands = Room(), Hands()
        self.limit = AdaptiveLimit(
            floor=16, start=512, ceiling=2048, good_seconds=GOOD, fall_share_min=0.5
        )
        self.per_second = per_second
        self.inside: list[Seat] = []
        self.now, self.work = 0.0, 0.0

    def come(self, count: int, *, widened: int = 0) -> None:
        """Let so many ask for a seat; whoever is seated waits for its turn."""
        for _ in range(count):
            if self.room.admits(None, limit=self.limit.value):
                seat = Seat(self.room, BIG, weight=1, now=self.now, hands=self.hands)
                if widened:
                    seat.widen(widened, self.now)
                self.inside.append(seat)

    def spend(self, seconds: float, *, arriving: float = 0.0) -> None:
        """Pass the time in steps of 5 ms, with so many arrivals a second."""
        for _ in range(round(seconds / 0.005)):
            self.now += 0.005
            self.come(round(arriving * 0.005))
            self.work = min(self.work + self.per_second * 0.005, len(self.inside))
            while self.work >= 1:
                self.work -= 1
                seat = self.inside.pop(0)
                seat.lend(self.now)
                seat.back(self.now)
                seat.give_up(self.now)
            self.hands.look(self.limit, self.now)


def test_a_flood_out_of_the_quiet_is_known_before_its_first_have_left() -> None:
    house = House(per_second=600)
    house.spend(1.0, arriving=200)
    assert house.limit.value == 512
    house.spend(0.5, arriving=12_000)
    # Half a second of its work was seated at once; whoever comes now finds a good wait.
    assert house.limit.value <= 2 * GOOD * house.per_second
    house.spend(5.0, arriving=12_000)
    assert 0.5 * GOOD <= house.room.taken / house.per_second <= 2 * GOOD


def test_a_house_that_does_nothing_at_all_lets_in_less() -> None:
    house = House(per_second=0)
    house.spend(1.0, arriving=12_000)
    assert house.limit.value <= 512 // 8
    assert house.room.taken <= 512


def test_a_machine_that_stumbles_is_not_full() -> None:
    house = House(per_second=2000)
    house.limit.step(GOOD, peak=500)
    house.spend(1.0, arriving=1600)
    for _ in range(5):
        house.per_second = 0
        house.spend(0.1, arriving=1600)
        house.per_second = 4000
        house.spend(0.4, arriving=1600)
    assert house.limit.value >= 256


def test_what_is_slow_while_half_of_the_room_is_empty_is_no_reason_to_fall() -> None:
    house = House(per_second=100)
    house.come(200)
    house.spend(1.5)
    assert house.limit.value == 512


def test_a_few_that_are_slow_say_nothing_against_the_house() -> None:
    house = House(per_second=0)
    house.come(limits.LIMIT_SAMPLES_MIN - 1)
    house.spend(5.0)
    assert house.limit.value == 512


def test_what_is_no_single_new_payment_says_nothing() -> None:
    house = House(per_second=1000)
    house.come(20, widened=10)
    house.spend(0.5)
    for _ in range(20):  # repeated requests, which ask no channel
        seat = Seat(house.room, BIG, weight=1, now=house.now, hands=house.hands)
        house.spend(0.5)
        seat.give_up(house.now)
    assert house.limit.value == 512
    assert house.limit.good_seconds == GOOD


@given(
    st.lists(
        st.tuples(st.sampled_from(["sit", "lend", "back", "end", "widen"]), st.floats(0, 0.3)),
        max_size=200,
    )
)
def test_hands_count_what_the_seats_count(moved: list[tuple[str, float]]) -> None:
    room, hands, limit, now = Room(), Hands(), limit_of(), 1000.0
    seated: list[Seat] = []
    away: list[Seat] = []
    for move, pause in moved:
        now += pause
        if move == "sit":
            seated.append(Seat(room, BIG, weight=1, now=now, hands=hands))
        elif move == "back" and away:
            away[0].back(now)
            seated.append(away.pop(0))
        elif move == "lend" and seated:
            seated[0].lend(now)
            away.append(seated.pop(0))
        elif move == "end" and seated:
            seated.pop().give_up(now)
        elif move == "widen" and seated:
            seated.pop(0).widen(3, now)
        hands.look(limit, now)
        assert hands._count == len(seated)
        assert hands._spent(now) >= -1e-6
        assert 16 <= limit.value <= 2048

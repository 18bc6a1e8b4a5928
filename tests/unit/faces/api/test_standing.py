"""What stands while it floods: as many come through as there is room for; each refusal counts."""

from collections import Counter
from typing import Any

import pytest

from gateway.admission.service import Refused
from gateway.domain import limits
from gateway.faces.api.asked import Asks
from gateway.faces.api.refusals import Forms
from gateway.faces.api.standing import Standing

FULL = Refused("full", 1)
CREATE: Asks = ("POST", "/v1/payments", "key_1")
LIST: Asks = ("GET", "/v1/payments", "key_1")
LOOK_SECONDS = 0.1


class Front:
    """Keeps what stands; `told` is what it says that it refused, `needed` by what."""

    def __init__(self) -> None:
        self.stood: list[tuple[Asks, Forms, int, float]] = []
        self.counted: list[int] = []
        self.granted: dict[int, int] = {}
        self.told: list[tuple[int, int]] = []
        self.needed: set[int] = set()
        self.takes = True

    def stand(self, asks: Asks, forms: Forms, terms: tuple[int, float, int]) -> bool:
        place, until, counted = terms
        self.stood.append((asks, forms, place, until))
        self.counted.append(counted)
        return self.takes

    def grant(self, place: int, requests: int) -> None:
        self.granted[place] = requests

    def was_needed(self, place: int) -> bool:
        return place in self.needed

    def refused(self) -> list[tuple[int, int]]:
        told, self.told = self.told, []
        return told


class House:
    """Has room for so many, and says so."""

    def __init__(self) -> None:
        self.why: Refused | None = FULL
        self.room = 0
        self.counts: Counter[tuple[Asks, Refused]] = Counter()

    def refusal(self, _asks: Asks) -> Refused | None:
        return self.why

    def spare(self, _asks: Asks) -> int:
        return self.room

    def turned_away(self, asks: Asks, refused: Refused, count: int) -> None:
        self.counts[asks, refused] += count

    def forms(self, refused: Refused) -> Forms:
        return [b"%d" % refused.retry_after], [refused.reason.encode()]


class Stage:
    def __init__(self) -> None:
        self.front: Any = Front()
        self.house = House()
        self.at = 100.0
        self.standing = Standing(self.front, self.house, lambda: self.at)

    def refuse(self, asks: Asks, count: int = 2, why: Refused = FULL) -> None:
        self.standing.refuse(asks, why, self.house.forms(why), count)

    def look(self) -> bool:
        self.at += LOOK_SECONDS
        return self.standing.tend()


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_as_many_are_let_through_as_there_is_room_for(stage: Stage) -> None:
    stage.refuse(CREATE)
    (_, _, place, until) = stage.front.stood[0]
    assert (stage.front.granted, until) == ({place: 0}, 100.0 + limits.REFUSAL_STANDS_SECONDS)
    for room in (3, 0, 200):
        stage.house.room = room
        assert stage.standing.tend()
        assert stage.front.granted == {place: room}
    assert len(stage.front.stood) == 1, "it is told how many, and no more"


def test_those_who_stand_for_the_same_room_share_it(stage: Stage) -> None:
    stage.refuse(CREATE)
    stage.refuse(LIST)
    stage.house.room = 9
    stage.standing.grant()
    assert list(stage.front.granted.values()) == [5, 5]
    stage.house.room = 0
    stage.standing.grant()
    assert list(stage.front.granted.values()) == [0, 0]


def test_whether_a_channel_has_room_a_few_find_out_at_once(stage: Stage) -> None:
    stage.refuse(CREATE, why=Refused("channels_full", 1))
    stage.house.room = 200
    stage.standing.grant()
    assert list(stage.front.granted.values()) == [8]


def test_while_it_turns_away_it_is_told_anew_and_what_it_refused_is_counted(stage: Stage) -> None:
    stage.refuse(CREATE)
    place = stage.front.stood[0][2]
    stage.front.needed, stage.front.told = {place}, [(0, 7)]
    stage.house.why = Refused("full", 2)
    assert stage.look()
    assert stage.front.stood[1] == (CREATE, ([b"2"], [b"full"]), place, stage.at + 1.0)
    assert stage.house.counts == {(("POST", "/v1/payments", None), FULL): 7}
    stage.house.why = None
    assert stage.look()
    assert stage.front.stood[2][1] == ([b"2"], [b"full"]), "there is room, but not for all"


def test_what_turns_nobody_away_ends(stage: Stage) -> None:
    stage.refuse(CREATE)
    stage.refuse(LIST)
    (_, _, place, _), (_, _, other, _) = stage.front.stood
    stage.front.needed, stage.front.told = {other}, [(0, 3)]
    assert stage.look()
    ended = [(asks, where) for asks, _, where, until in stage.front.stood if until == 0]
    assert ended == [(CREATE, place)]
    assert stage.front.granted[place] == limits.CONNECTIONS_MAX
    assert stage.house.counts.total() == 3
    stage.front.needed = set()
    assert stage.look()
    assert not stage.standing
    stage.front.told = [(0, 2)]  # before the thread had heard that it ended
    assert not stage.look()
    assert stage.house.counts.total() == 5


def test_a_single_refusal_and_what_names_a_payment_do_not_stand(stage: Stage) -> None:
    stage.refuse(CREATE, 1)
    stage.refuse(("GET", "/v1/payments/pay_1", "key_1"), 9)
    assert not stage.front.stood
    assert not stage.standing.tend()


def test_whoever_names_ever_other_keys_does_not_fill_the_table(stage: Stage) -> None:
    for number in range(30):
        stage.refuse(("POST", "/v1/payments", f"key_{number}"))
    assert {place for _, _, place, _ in stage.front.stood} == set(range(8))
    assert len(stage.front.stood) == 8
    assert set(stage.front.counted) == {0}, "what is counted is no matter of keys"
    stage.look()
    stage.refuse(("POST", "/v1/payments", "key_30"))
    assert stage.standing, "a place that is free again is taken"


def test_each_reason_has_its_own_count(stage: Stage) -> None:
    quota = Refused("quota", 3)
    stage.refuse(CREATE)
    stage.refuse(CREATE, why=quota)
    stage.front.told = [(0, 1), (1, 2)]
    stage.look()
    assert stage.house.counts == {
        (("POST", "/v1/payments", None), FULL): 1,
        (("POST", "/v1/payments", None), quota): 2,
    }


def test_what_the_front_does_not_take_does_not_stand(stage: Stage) -> None:
    stage.front.takes = False
    for _ in range(9):
        stage.refuse(CREATE)
    assert not stage.standing
    stage.front.takes = True
    stage.refuse(CREATE)
    assert stage.standing, "its place was given back"

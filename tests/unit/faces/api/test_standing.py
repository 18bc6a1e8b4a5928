"""What stands while it floods: a few come to the loop all the same, and each refusal is counted."""

from collections import Counter
from typing import Any

import pytest

from gateway.admission.service import Refused
from gateway.domain import limits
from gateway.faces.api.asked import Asks
from gateway.faces.api.refusals import Forms
from gateway.faces.api.standing import Standing

FULL = Refused("full", 1)
FORMS: Forms = ([b"a", b"b"], [b"c", b"d"])
CREATE: Asks = ("POST", "/v1/payments", "key_1")


class Front:
    """Keeps what stands; `told` is what it says that it refused."""

    def __init__(self) -> None:
        self.stood: list[tuple[Asks, int, float]] = []
        self.places: list[int] = []
        self.told: list[tuple[int, int]] = []
        self.takes = True

    def stand(self, asks: Asks, _forms: Forms, terms: tuple[int, float, int]) -> bool:
        passes, until, place = terms
        self.stood.append((asks, passes, until))
        self.places.append(place)
        return self.takes

    def refused(self) -> list[tuple[int, int]]:
        told, self.told = self.told, []
        return told


class Stage:
    def __init__(self) -> None:
        self.front: Any = Front()
        self.at = 100.0
        self.counts: Counter[tuple[Asks, Refused]] = Counter()
        self.standing = Standing(self.front, self.count, lambda: self.at)

    def count(self, asks: Asks, why: Refused, count: int) -> None:
        self.counts[asks, why] += count


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_one_comes_through_at_each_look_while_nobody_finds_room(stage: Stage) -> None:
    stage.standing.refuse(CREATE, FULL, FORMS, (2, 0))
    assert stage.front.stood == [(CREATE, 1, 100.0 + limits.REFUSAL_STANDS_SECONDS)]
    assert CREATE in stage.standing
    stage.standing.refuse(CREATE, FULL, FORMS, (1, 0))
    assert stage.front.stood[-1][1] == 1


def test_as_many_come_through_as_found_room_and_more_while_none_is_refused(stage: Stage) -> None:
    stage.standing.refuse(CREATE, FULL, FORMS, (5, 3))
    assert stage.front.stood[-1][1] == 3
    for passes in (6, 12, 24, 48, 64, 64):
        stage.front.told = [(0, 7)]
        assert stage.standing.look()
        stage.standing.pass_more(CREATE, lambda _: FORMS, stage.front.stood[-1][1])
        assert stage.front.stood[-1][1] == passes
    assert stage.counts == {(("POST", "/v1/payments", None), FULL): 42}


def test_without_a_flood_it_ends(stage: Stage) -> None:
    stage.standing.refuse(CREATE, FULL, FORMS, (2, 0))
    assert stage.standing.look()
    stage.standing.pass_more(CREATE, lambda _: FORMS, 1)
    assert len(stage.front.stood) == 1
    stage.at += limits.REFUSAL_STANDS_SECONDS
    stage.front.told = [(0, 3)]
    assert not stage.standing.look()
    assert CREATE not in stage.standing
    assert stage.counts.total() == 3, "what was refused is counted when it stands no more"


def test_a_single_refusal_and_what_names_a_payment_do_not_stand(stage: Stage) -> None:
    stage.standing.refuse(CREATE, FULL, FORMS, (1, 0))
    stage.standing.refuse(("GET", "/v1/payments/pay_1", "key_1"), FULL, FORMS, (9, 0))
    assert not stage.front.stood
    assert not stage.standing.look()


def test_whoever_names_ever_other_keys_does_not_fill_the_table(stage: Stage) -> None:
    for number in range(30):
        stage.standing.refuse(("POST", "/v1/payments", f"key_{number}"), FULL, FORMS, (2, 0))
    assert len(stage.front.stood) == 8
    assert set(stage.front.places) == {0}, "what is counted is no matter of keys"


def test_each_reason_has_its_own_count(stage: Stage) -> None:
    quota = Refused("quota", 3)
    stage.standing.refuse(CREATE, FULL, FORMS, (2, 0))
    stage.standing.refuse(CREATE, quota, FORMS, (2, 0))
    stage.front.told = [(0, 1), (1, 2)]
    stage.standing.look()
    assert stage.counts == {
        (("POST", "/v1/payments", None), FULL): 1,
        (("POST", "/v1/payments", None), quota): 2,
    }


def test_what_the_front_does_not_take_does_not_stand(stage: Stage) -> None:
    stage.front.takes = False
    stage.standing.refuse(CREATE, FULL, FORMS, (2, 0))
    assert CREATE not in stage.standing

"""The interpreter at work: enumerations are what they were, and cycles are still looked for."""

import enum
import gc
from collections.abc import Iterator

import pytest

from gateway.domain.payment import Status
from gateway.drivers import interpreter
from gateway.ledger.chart import Code


class Permit(enum.Flag):
    """An enumeration whose members can be had together."""

    READ = 1
    WRITE = 2


@pytest.fixture(scope="module", autouse=True)
def settled() -> Iterator[None]:
    thresholds = gc.get_threshold()
    gc.unfreeze()  # what the run itself has frozen
    interpreter.settle()
    yield
    gc.set_threshold(*thresholds)


def test_members_are_found_as_before() -> None:
    assert Status.SUCCEEDED is Status("succeeded") is Status["SUCCEEDED"]
    assert (Status.SUCCEEDED.name, Status.SUCCEEDED.value) == ("SUCCEEDED", "succeeded")
    assert Code.MERCHANT_PENDING == Code(2201) == 2201
    assert Permit(3) == Permit.READ | Permit.WRITE
    assert [each.name for each in Status][:2] == ["PROCESSING", "REQUIRES_ACTION"]


@pytest.mark.parametrize("kind", [Status, Code, Permit])
def test_what_is_no_member_is_not_found(kind: type[enum.Enum]) -> None:
    assert not hasattr(kind, "LOST")
    assert "LOST" not in kind.__members__


def test_it_may_settle_twice_and_looks_for_cycles_still() -> None:
    interpreter.settle()
    assert gc.isenabled()
    assert gc.get_threshold()[0] > 0
    assert gc.get_freeze_count() > 0

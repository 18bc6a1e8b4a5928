"""The registry finds a channel by name, and tolerates no two alike."""

import pytest

from gateway.channels.registry import Registry
from gateway.channels.simulator.channel import SimulatorChannel

SIMULATOR = SimulatorChannel("http://127.0.0.1:1", b"s", notify_base="http://127.0.0.1:2")


def test_a_channel_is_found_by_its_name() -> None:
    registry = Registry([SIMULATOR])
    assert registry.named("simulator") is SIMULATOR
    assert list(registry) == [SIMULATOR]


def test_a_stranger_is_a_key_error() -> None:
    registry = Registry([])
    with pytest.raises(KeyError):
        registry.named("simulator")


def test_two_alike_are_refused() -> None:
    with pytest.raises(ValueError, match="share"):
        Registry([SIMULATOR, SIMULATOR])

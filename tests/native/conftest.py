"""Runs the tests of the native room on both twins."""

from collections.abc import Iterator

import pytest
from front_kit import Lobby, lobby_of
from twins import COMPILED, PURE, Implementation


@pytest.fixture(params=[COMPILED, PURE], ids=lambda implementation: implementation.name)
def implementation(request: pytest.FixtureRequest) -> Implementation:
    twins: Implementation = request.param
    return twins


@pytest.fixture
def lobby() -> Iterator[Lobby]:
    with lobby_of() as lobby:
        yield lobby

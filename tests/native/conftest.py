"""Runs the tests of the native room on both twins."""

import pytest
from twins import COMPILED, PURE, Implementation


@pytest.fixture(params=[COMPILED, PURE], ids=lambda implementation: implementation.name)
def implementation(request: pytest.FixtureRequest) -> Implementation:
    twins: Implementation = request.param
    return twins

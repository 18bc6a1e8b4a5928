"""A request is served within its claim: what hangs is answered, and its key given back."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from unit.nouns import MATCHED

from gateway.domain.errors import InDoubt
from gateway.domain.stages import Answer, Claimed
from gateway.flow.desk import Desk
from gateway.flow.once import once


class FakeClaims:
    """Claims everything, and remembers what became of the claims."""

    def __init__(self) -> None:
        self.ends: list[str] = []

    async def claim(self, matched: Any) -> Claimed:
        return Claimed(matched, "k", b"", b"token")

    async def release(self, _claimed: Claimed) -> None:
        self.ends.append("released")


async def test_a_request_that_hangs_is_answered_and_its_key_given_back() -> None:
    claims, cut = FakeClaims(), []

    async def hang(_claimed: Claimed, _desk: Desk) -> Answer:
        try:
            return await asyncio.Future()
        finally:
            cut.append("cut")

    desk = cast("Desk", SimpleNamespace(idempotency=claims))
    with pytest.raises(InDoubt):
        await once(MATCHED, desk, hang, seconds=0.001)
    assert (cut, claims.ends) == (["cut"], ["released"])


async def test_what_is_served_in_time_is_not_disturbed() -> None:
    claims = FakeClaims()

    async def serve(_claimed: Claimed, _desk: Desk) -> Answer:
        return Answer(201, b"{}")

    answer = await once(MATCHED, cast("Desk", SimpleNamespace(idempotency=claims)), serve)
    assert (answer, claims.ends) == (Answer(201, b"{}"), [])

"""A request is served within its claim: what hangs is answered, and its key given back."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.domain.errors import InDoubt, Problem
from gateway.domain.stages import Answer, Claimed, Heard
from gateway.flow.desk import Desk
from gateway.flow.once import once
from tests.unit.nouns import MATCHED


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


@pytest.mark.parametrize("known", [b"mine", b"another's", None])
async def test_redis_may_hold_a_misuse_of_the_key_and_postgresql_decides(
    known: bytes | None,
) -> None:
    class Misused(FakeClaims):
        async def claim(self, _matched: Any) -> Claimed:
            raise Problem("idempotency_key_reused", "It was.")

        def unclaimed(self, matched: Any) -> Claimed:
            return Claimed(matched, "k", b"mine", None)

    async def heard(_claimed: Claimed) -> Heard | None:
        return Heard(known, "create_payment", "019d") if known is not None else None

    async def serve(claimed: Claimed, _desk: Desk) -> Answer:
        return Answer(201, claimed.fingerprint, replayed=True)

    desk = SimpleNamespace(idempotency=Misused(), ledger=SimpleNamespace(heard=heard))
    serving = once(MATCHED, cast("Desk", desk), serve)
    if known == b"mine":
        assert await serving == Answer(201, b"mine", replayed=True)
    else:
        with pytest.raises(Problem, match="idempotency_key_reused"):
            await serving

"""The idempotency step: claim a key before anything begins, settle it with the answer.

Redis only makes it quick; the unique constraint in PostgreSQL decides (the ledger step meets it).
"""

from collections.abc import Sequence
from typing import Final

from gateway.domain.errors import Problem
from gateway.domain.stages import Answer, Claimed, Heard, Matched
from gateway.idempotency.fast import FastClaims, Remembered
from gateway.idempotency.rules import fingerprint_of, key_of, refuse_reuse

# Answers by which nothing was begun are not kept: fix the request and send it with the same key.
_NOT_KEPT: Final = frozenset({400, 401, 404, 405, 413, 415, 429, 500, 503})


class Idempotency:
    """Who asks first does the work; who asks again hears the same."""

    def __init__(self, fast: FastClaims) -> None:
        self._fast = fast

    async def claim(self, matched: Matched) -> Claimed | Answer:
        """Claim the request's key, or give the answer that was given before."""
        verified = matched.verified
        key = key_of(verified.idempotency_key)
        fingerprint = fingerprint_of(verified)
        token, remembered = await self._fast.claim(verified.merchant.number, key, fingerprint)
        if remembered is not None:
            return _recalled(remembered, fingerprint)
        return Claimed(matched, key, fingerprint, token)

    async def claim_all(self, unclaimed: Sequence[Claimed]) -> list[Claimed | Answer | Problem]:
        """Claim the keys of requests that came together; a refusal is in the place of a claim."""
        asked = await self._fast.claim_all(
            [(each.merchant.number, each.key, each.fingerprint) for each in unclaimed]
        )
        told: list[Claimed | Answer | Problem] = []
        for each, (token, remembered) in zip(unclaimed, asked, strict=True):
            if remembered is None:
                told.append(Claimed(each.matched, each.key, each.fingerprint, token))
                continue
            try:
                told.append(_recalled(remembered, each.fingerprint))
            except Problem as problem:
                # Where it was raised this list is held, which holds the problem.
                told.append(problem.with_traceback(None))
        return told

    def unclaimed(self, matched: Matched) -> Claimed:
        """Give a request with its key before Redis is asked, or where Redis has it for another."""
        key = key_of(matched.verified.idempotency_key)
        return Claimed(matched, key, fingerprint_of(matched.verified), None)

    def recall(self, claimed: Claimed, heard: Heard) -> None:
        """Check that PostgreSQL remembers the key for this very request; Problem 422 if not."""
        refuse_reuse(heard.fingerprint, claimed.fingerprint)

    async def settle(self, claimed: Claimed, answer: Answer) -> Answer:
        """Keep the answer for whoever asks again, then give it."""
        await self._fast.finish(
            claimed.merchant.number,
            claimed.key,
            claimed.fingerprint,
            answer,
            claimed=claimed.token is not None,
        )
        return answer

    async def settle_all(self, ends: Sequence[tuple[Claimed, Answer]]) -> None:
        """Keep many answers for whoever asks again."""
        await self._fast.finish_all(
            [
                (each.merchant.number, each.key, each.fingerprint, end, each.token is not None)
                for each, end in ends
            ]
        )

    async def refuse(self, claimed: Claimed, answer: Answer) -> None:
        """Keep a refusal for whoever asks again, unless another try was served meanwhile.

        Only what succeeded is durable, so a refusal never takes the place of a success.
        """
        if claimed.token is not None:
            await self._fast.refuse(
                claimed.merchant.number,
                claimed.key,
                claimed.fingerprint,
                token=claimed.token,
                answer=answer,
            )

    async def release(self, claimed: Claimed) -> None:
        """Give the claim back without an answer, so that the next try is served afresh."""
        if claimed.token is not None:
            await self._fast.release(
                claimed.merchant.number, claimed.key, claimed.fingerprint, claimed.token
            )

    def keeps(self, status: int) -> bool:
        """Tell whether an answer with this status is one to be repeated."""
        return status not in _NOT_KEPT


def _recalled(remembered: Remembered, fingerprint: bytes) -> Answer:
    """Give the answer that a key had before; `Problem` when it has none, or is not for this."""
    refuse_reuse(remembered.fingerprint, fingerprint)
    if remembered.answer is None:
        raise Problem("request_in_progress", "A request with this key is still being served.")
    return remembered.answer

"""Refusals while the house is full, before a request is looked at, as prepared bytes."""

import time
from collections.abc import Callable
from typing import Final

from gateway.admission.service import Refused, problem_of
from gateway.domain.errors import Problem
from gateway.faces.api.reply import Reply

# It stands where each answer has its own, and is as long.
_NO_ID: Final = f"req_{'-' * 24}"


class Refusals:
    """Refusals as the bytes that `make` leads to; only the id is put in for each."""

    def __init__(self, make: Callable[[Problem, str], Reply]) -> None:
        self._make = make
        self._second = 0
        self._dated: dict[tuple[Refused, bool], list[bytes]] = {}

    def written(self, refused: Refused, request_id: str, *, closes: bool = False) -> bytes:
        """Write a refusal under this id."""
        second = int(time.time())
        if self._second != second:
            self._second = second
            self._dated.clear()
        pieces = self._dated.get((refused, closes))
        if pieces is None:
            wire = self._make(problem_of(refused), _NO_ID).on_the_wire(closes=closes)
            pieces = self._dated[refused, closes] = wire.split(_NO_ID.encode())
        return request_id.encode().join(pieces)

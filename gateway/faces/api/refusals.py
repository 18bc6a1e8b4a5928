"""Refusals while the house is full, before a request is looked at, as prepared bytes."""

import time
from collections.abc import Callable
from typing import Final

from gateway.admission.service import Refused, problem_of
from gateway.domain.errors import Problem
from gateway.faces.api.reply import Reply

# It stands where each answer's id has its own letters, and is as long.
_NO_ID: Final = f"req_{'-' * 24}"
_OWN: Final = b"-" * 24

# The pieces of an answer, between which stand the letters of its id after `req_`: where the
# connection goes on, and where not.
Forms = tuple[list[bytes], list[bytes]]


class Refusals:
    """Refusals as the bytes that `make` leads to; only the id is put in for each."""

    def __init__(self, make: Callable[[Problem, str], Reply]) -> None:
        self._make = make
        self._second = 0
        self._dated: dict[Refused, Forms] = {}

    def forms(self, refused: Refused) -> Forms:
        """Write a refusal, but for the letters of its id."""
        second = int(time.time())
        if self._second != second:
            self._second = second
            self._dated.clear()
        forms = self._dated.get(refused)
        if forms is None:
            reply = self._make(problem_of(refused), _NO_ID)
            going, last = (reply.on_the_wire(closes=closes).split(_OWN) for closes in (False, True))
            forms = self._dated[refused] = going, last
        return forms

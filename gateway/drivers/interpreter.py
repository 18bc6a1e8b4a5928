"""The interpreter as a process wants it that serves requests for months, for all steps."""

import enum
import gc
from typing import Final

# Under load thousands of requests are alive at once, and nearly everything dies by its reference
# count: looking for cycles after each 700 new objects only looks at the living again and again.
_YOUNG_OBJECTS_MAX: Final = 50_000


def settle() -> None:
    """Ask less of the interpreter, once everything that lives as long as the process is there."""
    _find_members_at_once()
    _look_for_cycles_seldom()


def _look_for_cycles_seldom() -> None:
    """Leave alone what lives as long as the process, and the rest until there is much of it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS_MAX, 20, 20)


def _find_members_at_once() -> None:
    """Let `Status.SUCCEEDED` be as quick as any other attribute, as it is since Python 3.12.

    Until 3.11 the class of enumerations has a hook for attributes that are not found.  No member
    needs it, each is an attribute of its enumeration, but while it is there every look at one takes
    the slow way: 0.1 µs more, and a payment looks some fifty times.
    """
    if "__getattr__" in vars(enum.EnumType):
        delattr(enum.EnumType, "__getattr__")

"""Enumerations whose members are looked up for every payment, for every step."""

import enum
from operator import attrgetter
from typing import TYPE_CHECKING


class Word(enum.Enum):
    """An enumeration that hashes as quickly as any object, and gives its value without a call.

    `enum` would call Python for both.  Each member exists once, so equal members are the same
    object.
    """

    __hash__ = object.__hash__
    if not TYPE_CHECKING:  # to mypy whatever stands in an enumeration is one of its members
        value = property(attrgetter("_value_"))

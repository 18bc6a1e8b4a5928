"""Enumerations whose members are looked up for every payment, for every step."""

import enum


class Word(enum.Enum):
    """An enumeration that hashes as quickly as any object: `enum` would call Python for its name.

    Each member exists once, so equal members are the same object.
    """

    __hash__ = object.__hash__

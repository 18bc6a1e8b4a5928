"""The match step's quick reading: a body whose bytes hold nothing unprintable is not asked again.

Most texts of a command must be printable, and a pattern for each costs more than all the rest of
reading it.  JSON has an unprintable character only behind a backslash, but for one, DEL.  So where
neither stands in the body the same command is read without those patterns, and only where that
fails with them, so that both ways refuse alike.
"""

import functools
import operator
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import fields

from gateway.domain.payment import PRINTABLE

_ESCAPE: Final = ord("\\")
_DEL: Final = 0x7F


class QuickDecoder:
    """Reads a command as `msgspec.json.Decoder` does, and raises what that raises.

    What it gives may be of a kind of its own beneath that of the command.
    """

    __slots__ = ("_quick", "_strict")

    def __init__(self, command: type[Struct]) -> None:
        self._strict: Final = msgspec.json.Decoder(command).decode
        self._quick: Final = msgspec.json.Decoder(unasked(command)).decode

    def decode(self, body: bytes) -> Any:
        """Read a body; raises msgspec's DecodeError or ValidationError."""
        if _ESCAPE not in body and _DEL not in body:
            try:
                return self._quick(body)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                pass
        return self._strict(body)


def unasked(command: type[Struct]) -> type[Struct]:
    """Make the same command with texts that are not asked whether they are printable."""
    kinds = get_type_hints(command, include_extras=True)
    changed = [
        (field.name, quick, _default_of(field))
        for field in fields(command)
        if (quick := _quick(kinds[field.name])) != kinds[field.name]
    ]
    if not changed:
        return command
    return msgspec.defstruct(
        command.__name__, changed, bases=(command,), module=__name__, frozen=True, kw_only=True
    )


def _default_of(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return msgspec.field(default_factory=field.default_factory)
    return field.default


def _quick(kind: Any) -> Any:
    """Leave the demand to be printable out of a type, wherever it stands in there."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        return unasked(kind)
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        base, *notes = parts
        return Annotated[_quick(base), *map(_loosened, notes)]
    if origin in {Union, UnionType}:
        return functools.reduce(operator.or_, map(_quick, parts))
    if origin in {dict, tuple}:
        return origin[tuple(map(_quick, parts))]
    return kind


def _loosened(note: Meta) -> Meta:
    if note.pattern != PRINTABLE:
        return note
    return Meta(min_length=note.min_length, max_length=note.max_length)

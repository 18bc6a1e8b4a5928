"""Writes columns as PostgreSQL reads arrays, in plain Python: the specification of `_arrays_c`.

The form is that of `array_recv` and of the element types' own `…recv`: big-endian numbers, texts in
UTF-8, uuids as 16 bytes, times in microseconds since 2000.
"""

import struct
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

# The numbers under which PostgreSQL knows these types, since ever (`pg_type.dat`).
BOOL: Final = 16
BYTEA: Final = 17
INT8: Final = 20
INT2: Final = 21
INT4: Final = 23
TEXT: Final = 25
TIMESTAMPTZ: Final = 1184
UUID: Final = 2950

_HEAD: Final = struct.Struct("!iiIii")  # dimensions, whether there are nulls, type, items, from 1
_SIZE: Final = struct.Struct("!i")
_NULL: Final = _SIZE.pack(-1)
_DIGITS: Final = 32  # of a uuid
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def _number(size: int) -> Callable[[object], bytes]:
    def write(value: object) -> bytes:
        if not isinstance(value, int):
            raise TypeError("an integer was expected")
        return value.to_bytes(size, "big", signed=True)

    return write


def _bool(value: object) -> bytes:
    if not isinstance(value, bool):
        raise TypeError("a bool was expected")
    return b"\1" if value else b"\0"


def _bytes(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError("bytes were expected")
    return value


def _text(value: object) -> bytes:
    if not isinstance(value, str):
        raise TypeError("a text was expected")
    return value.encode()


def _uuid(value: object) -> bytes:
    if isinstance(value, uuid.UUID):
        return value.bytes
    if isinstance(value, bytes):
        return uuid.UUID(bytes=value).bytes
    if not isinstance(value, str):
        raise TypeError("a uuid was expected")
    if not value.isascii():
        raise ValueError("a uuid has hexadecimal digits")
    digits = value[-_DIGITS:] if value[-_DIGITS - 1 : -_DIGITS] == "_" else value
    if len(digits) == _DIGITS:
        # Of these `uuid.UUID` would take what `int` takes, such as a blank before the others.
        return uuid.UUID(bytes=bytes.fromhex(digits)).bytes
    return uuid.UUID(digits).bytes


def _time(value: object) -> bytes:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise TypeError("an aware time was expected")
    return ((value - _EPOCH) // _MICROSECOND).to_bytes(8, "big", signed=True)


_WRITERS: Final[Mapping[int, Callable[[Any], bytes]]] = MappingProxyType(
    {
        BOOL: _bool,
        BYTEA: _bytes,
        INT8: _number(8),
        INT2: _number(2),
        INT4: _number(4),
        TEXT: _text,
        TIMESTAMPTZ: _time,
        UUID: _uuid,
    }
)


def encode(element: int, values: Sequence[object]) -> bytes:
    """Write these values, of which any may be None, as an array of this type.

    A uuid may be given as `uuid.UUID`, as its 16 bytes or as its hex digits, before which a word
    may stand, such as `pay_`.  `TypeError`, `ValueError` or `OverflowError` for what is no value of
    the type.
    """
    write = _WRITERS[element]
    parts = [_HEAD.pack(1, None in values, element, len(values), 1)]
    for value in values:
        if value is None:
            parts.append(_NULL)
        else:
            data = write(value)
            parts += (_SIZE.pack(len(data)), data)
    return b"".join(parts)

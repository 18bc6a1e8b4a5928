"""Arrays of PostgreSQL, written by compiled code: whole batches go through them, column by column.

asyncpg writes each item by itself and first asks of each what kind of container it might be; for
the columns of a batch that was the largest single cost of a payment.
"""

import functools
import struct
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

import asyncpg

from native import arrays

_HEAD: Final = struct.Struct("!ii")  # dimensions, whether there are nulls; the type follows
_BOUNDS: Final = struct.Struct("!ii")
_SIZE: Final = struct.Struct("!i")
_FIRST_ITEM: Final = 20
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def _time(data: bytes) -> datetime:
    return _EPOCH + timedelta(microseconds=_number(data))


# The arrays' own numbers and names in `pg_type`, and how one of their items is read.
_ARRAYS: Final[Mapping[int, tuple[int, str, Callable[[bytes], Any]]]] = MappingProxyType(
    {
        arrays.BOOL: (1000, "_bool", lambda data: data != b"\0"),
        arrays.BYTEA: (1001, "_bytea", bytes),
        arrays.INT2: (1005, "_int2", _number),
        arrays.INT4: (1007, "_int4", _number),
        arrays.TEXT: (1009, "_text", bytes.decode),
        arrays.INT8: (1016, "_int8", _number),
        arrays.TIMESTAMPTZ: (1185, "_timestamptz", _time),
        arrays.UUID: (2951, "_uuid", lambda data: uuid.UUID(bytes=data)),
    }
)


async def write_natively(connection: "asyncpg.Connection[Any]") -> None:
    """Let a connection write and read arrays of one dimension in this way."""
    settings: Any = connection.get_settings()
    for element, (number, name, read) in _ARRAYS.items():
        encode = functools.partial(arrays.encode, element)
        decode = functools.partial(_decoded, read)
        # What `set_type_codec` does, which takes no arrays.
        settings.add_python_codec(
            number, name, "pg_catalog", [], "scalar", encode, decode, "binary"
        )


def _decoded(read: Callable[[bytes], Any], data: bytes) -> list[Any]:
    """Read an array of one dimension, or an empty one."""
    dimensions, _ = _HEAD.unpack_from(data)
    if dimensions == 0:
        return []
    assert dimensions == 1, "we keep no others"
    items: list[Any] = []
    at = _FIRST_ITEM
    for _ in range(_BOUNDS.unpack_from(data, 12)[0]):
        (size,) = _SIZE.unpack_from(data, at)
        at += 4
        items.append(None if size < 0 else read(data[at : at + size]))
        at += max(size, 0)
    return items

"""Arrays as PostgreSQL reads them: the compiled writer gives what its specification gives."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native import _arrays_c, _arrays_py, arrays

BOTH = pytest.mark.parametrize("encode", [_arrays_c.encode, _arrays_py.encode])
ZONES = st.just(UTC) | st.integers(-1439, 1439).map(lambda m: timezone(timedelta(minutes=m)))
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
TIMES = st.integers(-60_000_000_000_000_000, 250_000_000_000_000_000).map(
    lambda microseconds: EPOCH + timedelta(microseconds=microseconds)
)
IDS = st.uuids()
VALUES: dict[int, st.SearchStrategy[Any]] = {
    arrays.BOOL: st.booleans(),
    arrays.BYTEA: st.binary(max_size=300),
    arrays.INT2: st.integers(-(1 << 15), (1 << 15) - 1),
    arrays.INT4: st.integers(-(1 << 31), (1 << 31) - 1),
    arrays.INT8: st.integers(-(1 << 63), (1 << 63) - 1),
    arrays.TEXT: st.text(st.characters(exclude_categories=["Cs"]), max_size=50),
    arrays.TIMESTAMPTZ: st.builds(datetime.astimezone, TIMES, ZONES),
    arrays.UUID: IDS
    | IDS.map(str)
    | IDS.map(lambda made: made.bytes)
    | IDS.map(lambda made: f"pay_{made.hex}")
    | IDS.map(lambda made: made.hex.upper()),
}
COLUMNS = st.sampled_from(sorted(VALUES)).flatmap(
    lambda kind: st.tuples(st.just(kind), st.lists(st.none() | VALUES[kind], max_size=20))
)


@given(COLUMNS)
def test_the_twins_write_the_same(column: tuple[int, list[Any]]) -> None:
    kind, values = column
    expected = _arrays_py.encode(kind, values)
    assert _arrays_c.encode(kind, values) == _arrays_c.encode(kind, tuple(values)) == expected


def written(encode: Callable[..., bytes], value: str) -> bytes | type[Exception]:
    """What becomes of a uuid that is given as text."""
    try:
        return encode(arrays.UUID, [value])
    except ValueError:
        return ValueError


LIKE_IDS = st.text("0123456789abcdefABCDEF", min_size=29, max_size=33)
ODD = st.text("_- {}+0xé\u0660\ud800", max_size=3)


@given(st.builds("".join, st.tuples(ODD, st.just("_") | ODD, ODD, LIKE_IDS, ODD)))
def test_the_twins_read_the_same_uuids_in_a_text(value: str) -> None:
    assert written(_arrays_c.encode, value) == written(_arrays_py.encode, value)


@BOTH
def test_an_array_is_written_as_postgresql_reads_it(encode: Callable[..., bytes]) -> None:
    assert encode(arrays.INT2, [1, None, -2]).hex(" ", 4) == (
        "00000001 00000001 00000015 00000003 00000001 00000002 0001ffff ffff0000 0002fffe"
    )
    assert encode(arrays.TIMESTAMPTZ, [datetime(2000, 1, 1, 0, 0, 1, tzinfo=UTC)])[-8:].hex() == (
        "00000000000f4240"
    )


@BOTH
@pytest.mark.parametrize(
    ("kind", "value", "error"),
    [
        (arrays.BOOL, 1, TypeError),
        (arrays.BYTEA, "text", TypeError),
        (arrays.INT2, 1 << 15, OverflowError),
        (arrays.INT4, -(1 << 31) - 1, OverflowError),
        (arrays.INT8, 1 << 63, OverflowError),
        (arrays.INT8, 1.0, TypeError),
        (arrays.TEXT, b"bytes", TypeError),
        (arrays.TEXT, "\ud800", UnicodeEncodeError),
        (arrays.TIMESTAMPTZ, EPOCH.replace(tzinfo=None), TypeError),
        (arrays.TIMESTAMPTZ, "2026-01-01", TypeError),
        (arrays.UUID, "0" * 31, ValueError),
        (arrays.UUID, "g" * 32, ValueError),
        (arrays.UUID, "pay_" + "0" * 31, ValueError),
        (arrays.UUID, "pay_" + "g" * 32, ValueError),
        (arrays.UUID, "pay-" + "0" * 32, ValueError),
        (arrays.UUID, "pay_é" + "0" * 31, ValueError),
        (arrays.UUID, "é_" + "0" * 32, ValueError),
        (arrays.UUID, "pay_ " + "0" * 31, ValueError),
        (arrays.UUID, "0_" * 16, ValueError),
        (arrays.UUID, "\u0660" * 32, ValueError),
        (arrays.UUID, b"0" * 15, ValueError),
        (arrays.UUID, b"0" * 32, ValueError),
        (arrays.UUID, 7, TypeError),
        (114, "{}", KeyError),
    ],
)
def test_what_is_no_value_of_the_type_is_refused(
    encode: Callable[..., bytes], kind: int, value: object, error: type[Exception]
) -> None:
    with pytest.raises(error):
        encode(kind, [None, value])


def test_every_type_is_tried_that_can_be_written() -> None:
    assert VALUES.keys() == _arrays_py._WRITERS.keys()

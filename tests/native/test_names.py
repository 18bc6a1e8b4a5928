"""Names that JSON gives twice: the compiled look sees what its specification sees."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native import _names_c, _names_py


class Pairs(list[Any]):
    """The members of an object, of which some may have one name."""


BOTH = pytest.mark.parametrize("once", [_names_c.once, _names_py.once])
DEEP, MANY = _names_py.DEPTH_MAX, _names_py.NAMES_MAX
words = st.sampled_from(["a", "b", "ab", "", ":", ",", "{", "\\", '"', "ä", '":"'])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | words,
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(st.tuples(words, inner), max_size=4).map(Pairs)
    ),
    max_leaves=12,
)


def written(value: object) -> str:
    if isinstance(value, Pairs):
        return "{" + ", ".join(f"{json.dumps(k)} :{written(v)}" for k, v in value) + " }"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def names_once(text: str) -> bool:
    seen: list[bool] = []
    json.loads(text, object_pairs_hook=lambda pairs: seen.append(len(dict(pairs)) == len(pairs)))
    return all(seen)


@given(values)
def test_no_name_that_stands_twice_is_overlooked(value: object) -> None:
    text = written(value)
    found = _names_c.once(text.encode())
    assert found is _names_py.once(text.encode())
    if found:
        assert names_once(text)


@given(st.lists(st.sampled_from('{}[],:"\\a '), max_size=30).map("".join))
def test_what_is_no_json_is_looked_through_as_well(text: str) -> None:
    assert _names_c.once(text.encode()) is _names_py.once(text.encode())


@BOTH
@pytest.mark.parametrize("text", [None, "{}", 1])
def test_what_are_no_bytes_is_not_looked_through(once: Any, text: object) -> None:
    with pytest.raises(TypeError):
        once(text)


@BOTH
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a":1,"b":{"a":"a","c":[{"a":1},{"a":2}]},"c":"a"}', True),
        ('{"a":":","b":"\\"a\\":", "c":["a","a"]}', True),
        ('{"a":1,"b":{},"a":2}', False),
        ('{"a":{"b":1,"b":1}}', False),
        ('{"m":{":k":"v",":k":"w"}}', False),
        ('{"\\u0061":1}', False),
        ("[" * DEEP + "]" * DEEP, True),
        ("[" * (DEEP + 1) + "]" * (DEEP + 1), False),
        (json.dumps({f"n{n}": n for n in range(MANY)}), True),
        (json.dumps({f"n{n}": n for n in range(MANY + 1)}), False),
        (json.dumps([{f"n{n}": n for n in range(MANY)}] * 3), True),
        ('{"a', False),
        ('{"a\\', False),
        ("}", False),
    ],
)
def test_each_object_has_its_own_names(once: Any, text: str, *, found: bool) -> None:
    assert once(text.encode()) is found

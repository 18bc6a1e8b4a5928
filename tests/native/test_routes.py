"""The table of routes, on both twins."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twins import Implementation

from native import _routes_c, _routes_py

ROUTES = [
    ("POST", "/v1/payments", "create"),
    ("GET", "/v1/payments", "list"),
    ("POST", "/v1/payments/batch", "batch"),
    ("GET", "/v1/payments/{id}", "show"),
    ("POST", "/v1/payments/{id}/refunds", "refund"),
    ("GET", "/v1/payments/{id}/refunds/{refund_id}", "show refund"),
    ("GET", "/v1/payments/latest/timeline", "timeline"),
    ("GET", "/", "home"),
    ("GET", "/a.b/~c", None),
]


@pytest.fixture
def table(implementation: Implementation) -> Any:
    return implementation.routes.RouteTable(ROUTES)


@pytest.mark.parametrize(
    ("method", "path", "found"),
    [
        ("POST", "/v1/payments", ("create", ())),
        ("GET", "/v1/payments", ("list", ())),
        ("GET", "/v1/payments/pay_1", ("show", ("pay_1",))),
        ("GET", "/v1/payments/a:b@c!$&'()*+,;=-._~", ("show", ("a:b@c!$&'()*+,;=-._~",))),
        ("GET", "/v1/payments/...", ("show", ("...",))),
        ("POST", "/v1/payments/pay_1/refunds", ("refund", ("pay_1",))),
        ("GET", "/v1/payments/pay_1/refunds/re_1", ("show refund", ("pay_1", "re_1"))),
        ("GET", "/", ("home", ())),
        ("GET", "/a.b/~c", (None, ())),
    ],
)
def test_a_path_is_found(table: Any, method: str, path: str, found: object) -> None:
    assert table.match(method, path) == found


def test_what_says_more_wins(table: Any) -> None:
    assert table.match("POST", "/v1/payments/batch") == ("batch", ())
    assert table.match("GET", "/v1/payments/latest/timeline") == ("timeline", ())


def test_what_says_more_stands_in_nobody_s_way(table: Any) -> None:
    assert table.match("GET", "/v1/payments/batch") == ("show", ("batch",))
    assert table.match("GET", "/v1/payments/latest") == ("show", ("latest",))
    assert table.match("GET", "/v1/payments/latest/refunds/re_1") == (
        "show refund",
        ("latest", "re_1"),
    )


@pytest.mark.parametrize(
    "path",
    [
        "",
        "v1/payments",
        "/v1",
        "/v1/",
        "/v1/payments/",
        "/v1/payments//",
        "//",
        "//v1/payments",
        "/v1//payments",
        "/v1/payments//refunds",
        "/v1/payments/pay_1/",
        "/v1/payments/.",
        "/v1/payments/..",
        "/v1/./payments",
        "/v1/../v1/payments",
        "/v1/payments/./refunds",
        "/v1/payments/../refunds",
        "/v1/payments/%70ay_1",
        "/v1/payments/a%2Fb",
        "/%761/payments",
        "/v1/payments/a b",
        "/v1/payments/a?b",
        "/v1/payments/a#b",
        "/v1/payments/a\\b",
        "/v1/payments/a\n",
        "/v1/payments/é",
        "/v1/payments/\ud800",
        "/v1/payments/\x00",
        "/v1/Payments",
        "/v1/payments/pay_1/refunds/re_1/more",
        "/v1" + "/a" * 40,
    ],
)
def test_any_other_path_does_not_exist(table: Any, path: str) -> None:
    assert [table.match(method, path) for method in ("GET", "POST", "PUT")] == [None] * 3
    assert table.allowed(path) == ()


def test_a_path_tells_its_methods(table: Any) -> None:
    assert table.allowed("/v1/payments") == ("GET", "POST")
    assert table.allowed("/v1/payments/batch") == ("GET", "POST")
    assert table.allowed("/v1/payments/pay_1/refunds") == ("POST",)
    assert table.match("DELETE", "/v1/payments") is None
    assert table.match("get", "/v1/payments") is None
    assert table.match("\ud800", "/v1/payments") is None


def test_every_letter_of_a_segment(table: Any) -> None:
    plain = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~!$&'()*+,;=:@-")
    for letter in map(chr, range(0x250)):
        found = table.match("GET", f"/v1/payments/a{letter}b")
        assert found == (("show", (f"a{letter}b",)) if letter in plain else None)


def test_the_deepest_pattern(implementation: Implementation) -> None:
    table = implementation.routes.RouteTable([("GET", "/{a}" * 16, 1)])
    assert table.match("GET", "/x" * 16) == (1, ("x",) * 16)
    assert table.match("GET", "/x" * 17) is None
    with pytest.raises(ValueError, match="more than 16"):
        implementation.routes.RouteTable([("GET", "/{a}" * 17, 1)])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/v1/payments", "/v1/payments"),
        ("/v1/{a}", "/v1/{b}"),
        ("/v1/{a}/c", "/v1/b/{d}"),
        ("/{a}/b/{c}", "/a/{b}/c"),
    ],
)
def test_routes_of_which_neither_says_more_are_refused(
    implementation: Implementation, one: str, other: str
) -> None:
    with pytest.raises(ValueError, match="fit alike"):
        implementation.routes.RouteTable([("GET", one, 1), ("GET", other, 2)])
    implementation.routes.RouteTable([("GET", one, 1), ("POST", other, 2)])


@pytest.mark.parametrize(
    ("method", "pattern"),
    [
        ("GET", ""),
        ("GET", "v1"),
        ("GET", "/v1/"),
        ("GET", "//v1"),
        ("GET", "/v1/../a"),
        ("GET", "/v1/."),
        ("GET", "/v1/%41"),
        ("GET", "/v1/{}"),
        ("GET", "/v1/{a}b"),
        ("GET", "/v1/é"),
        ("GET", "/v1/a b"),
        ("get", "/v1"),
        ("", "/v1"),
    ],
)
def test_rows_that_are_not_well_formed_are_refused(
    implementation: Implementation, method: str, pattern: str
) -> None:
    with pytest.raises(ValueError, match="not a route"):
        implementation.routes.RouteTable([(method, pattern, 1)])


def test_an_empty_table_offers_nothing(implementation: Implementation) -> None:
    table = implementation.routes.RouteTable([])
    assert table.match("GET", "/") is None
    assert table.allowed("/") == ()


@pytest.mark.parametrize("wrong", [None, b"/v1/payments", 7, type("Text", (str,), {})("/")])
def test_only_text_is_looked_up(table: Any, wrong: Any) -> None:
    for call in (
        lambda: table.match("GET", wrong),
        lambda: table.match(wrong, "/"),
        lambda: table.allowed(wrong),
    ):
        with pytest.raises(TypeError):
            call()


def test_a_table_can_be_named_with_its_payload(implementation: Implementation) -> None:
    assert implementation.routes.RouteTable[int]([("GET", "/", 1)]).match("GET", "/") == (1, ())


names = st.sampled_from(["a", "b", "{x}", "{y}", "c.d", "."])
patterns = st.lists(names, max_size=4).map(lambda segments: "/" + "/".join(segments))
rows = st.lists(st.tuples(st.sampled_from(["GET", "POST"]), patterns, st.integers()), max_size=8)
paths = st.lists(
    st.sampled_from(["a", "b", "c.d", "z", "", ".", "..", "%61", "é", "\ud800"]), max_size=5
).map(lambda segments: "/" + "/".join(segments)) | st.text(max_size=5)


@settings(max_examples=500)
@given(rows, st.lists(paths, max_size=20))
def test_the_twins_agree(routes: list[tuple[str, str, int]], looked_up: list[str]) -> None:
    tables = []
    for module in (_routes_c, _routes_py):
        try:
            tables.append(module.RouteTable(routes))
        except ValueError as error:
            tables.append(str(error))
    ours, specified = tables
    if isinstance(ours, str) or isinstance(specified, str):
        assert ours == specified
        return
    for path in looked_up:
        assert ours.allowed(path) == specified.allowed(path)
        for method in ("GET", "POST", "PUT"):
            assert ours.match(method, path) == specified.match(method, path)

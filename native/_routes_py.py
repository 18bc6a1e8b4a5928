"""Matches method and path for the match step, in plain Python: the specification of `_routes_c`.

A pattern such as `/v1/payments/{id}/refunds` fits raw paths, the text that a signature covers as
`@path`.  A parameter stands for one segment that is not empty and not percent-encoded, so that no
path can be read in two ways.  Where two patterns fit, the one that says more wins; patterns of
which neither says more are refused when the table is made.
"""

import re
from collections.abc import Sequence
from itertools import combinations
from typing import Final, Generic, NamedTuple, TypeVar, final

P = TypeVar("P")

SEGMENTS_COUNT_MAX: Final = 16

# RFC 3986 section 3.3 without percent-encoding; the dot segments have a meaning of their own.
_SEGMENT: Final = r"(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~!$&'()*+,;=:@-]+"
_PATH: Final = re.compile(rf"/(?:{_SEGMENT}(?:/{_SEGMENT})*)?")
_PATTERN: Final = re.compile(r"{[a-z_]+}|" + _SEGMENT)
_METHOD: Final = re.compile(r"[A-Z]+")


class Route(NamedTuple, Generic[P]):
    """One row of a table: each segment is its text, or None where a parameter stands."""

    method: str
    segments: tuple[str | None, ...]
    payload: P


@final
class RouteTable(Generic[P]):
    """What is offered, made once from rows of method, pattern and payload.

    Raises:
        ValueError: A row is not well formed, stands twice, or is ambiguous beside another.
    """

    def __init__(self, routes: Sequence[tuple[str, str, P]]) -> None:
        self._roots: Final[dict[str, _Node[P]]] = {}
        for route in parse(routes):
            node = self._roots.setdefault(route.method, _Node())
            for segment in route.segments:
                node = node.grow(segment)
            node.route = route

    def match(self, method: str, path: str) -> tuple[P, tuple[str, ...]] | None:
        """Give the payload and the parameters in order, or None when no pattern fits."""
        _require_text(method)
        segments = _split(path)
        root = self._roots.get(method)
        route = root.find(segments, 0) if segments and root else None
        if route is None:
            return None
        pairs = zip(segments, route.segments, strict=True)
        return route.payload, tuple(given for given, wanted in pairs if wanted is None)

    def allowed(self, path: str) -> tuple[str, ...]:
        """Give the methods of this path in alphabetical order; none when it does not exist."""
        segments = _split(path)
        return tuple(
            method for method, root in sorted(self._roots.items()) if root.find(segments, 0)
        )


class _Node(Generic[P]):
    __slots__ = ("parameter", "route", "static")

    def __init__(self) -> None:
        self.static: Final[dict[str, _Node[P]]] = {}
        self.parameter: _Node[P] | None = None
        self.route: Route[P] | None = None

    def grow(self, segment: str | None) -> "_Node[P]":
        if segment is not None:
            return self.static.setdefault(segment, _Node())
        if self.parameter is None:
            self.parameter = _Node()
        return self.parameter

    def find(self, segments: Sequence[str], depth: int) -> Route[P] | None:
        if depth == len(segments):
            return self.route
        static = self.static.get(segments[depth])
        found = static.find(segments, depth + 1) if static else None
        if found is None and self.parameter is not None and segments[depth]:
            return self.parameter.find(segments, depth + 1)
        return found


def parse(routes: Sequence[tuple[str, str, P]]) -> list[Route[P]]:
    """Read the rows of a table; both twins build on what this gives."""
    parsed = [Route(method, _segments(method, pattern), load) for method, pattern, load in routes]
    for one, other in combinations(parsed, 2):
        if one.method != other.method or len(one.segments) != len(other.segments):
            continue
        pairs = list(zip(one.segments, other.segments, strict=True))
        if any(None not in pair and pair[0] != pair[1] for pair in pairs):
            continue
        more = any(ours is not None and theirs is None for ours, theirs in pairs)
        less = any(ours is None and theirs is not None for ours, theirs in pairs)
        if more == less:
            raise ValueError(f"two routes fit alike: {one[:2]} and {other[:2]}")
    return parsed


def _segments(method: str, pattern: str) -> tuple[str | None, ...]:
    texts = pattern[1:].split("/")
    well_formed = pattern == "/" or all(_PATTERN.fullmatch(text) for text in texts)
    if not (_METHOD.fullmatch(method) and pattern.startswith("/") and well_formed):
        raise ValueError(f"not a route: {method} {pattern}")
    if len(texts) > SEGMENTS_COUNT_MAX:
        raise ValueError(f"more than {SEGMENTS_COUNT_MAX} segments: {pattern}")
    return tuple(None if text.startswith("{") else text for text in texts)


def _split(path: str) -> list[str]:
    """Cut a plain path into its segments, one empty one for the root; none when it is not plain."""
    _require_text(path)
    return path[1:].split("/") if _PATH.fullmatch(path) else []


def _require_text(value: object) -> None:
    """Ask for exactly this type, as the compiled twin does."""
    if type(value) is not str:
        raise TypeError(f"expected str, got {type(value).__name__}")

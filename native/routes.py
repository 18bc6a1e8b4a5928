"""The match step's hot path: finds the route of a method and a path; here its twin is chosen."""

import os
from typing import TYPE_CHECKING, Final

COMPILED: Final = os.environ.get("FLOODGATE_PURE") != "1"

if TYPE_CHECKING or not COMPILED:
    from native._routes_py import RouteTable
else:
    try:
        from native._routes_c import RouteTable
    except ImportError as problem:
        raise ImportError(
            "native._routes_c is not built: run `pip install -e .`, "
            "or set FLOODGATE_PURE=1 to do without compiled code"
        ) from problem

__all__ = ["COMPILED", "RouteTable"]

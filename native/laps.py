"""The watch of a request's steps, and the counts of what it tells; here its twin is chosen."""

import os
from typing import TYPE_CHECKING, Final

COMPILED: Final = os.environ.get("FLOODGATE_PURE") != "1"

if TYPE_CHECKING or not COMPILED:
    from native._laps_py import Buckets, Stopwatch, lap, start
else:
    try:
        from native._laps_c import Buckets, Stopwatch, lap, start
    except ImportError as problem:
        raise ImportError(
            "native._laps_c is not built: run `pip install -e .`, "
            "or set FLOODGATE_PURE=1 to do without compiled code"
        ) from problem

__all__ = ["COMPILED", "Buckets", "Stopwatch", "lap", "start"]

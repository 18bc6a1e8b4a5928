"""The clock of every step: what time it is, and how far from 1970; here its twin is chosen."""

import os
from typing import TYPE_CHECKING, Final

COMPILED: Final = os.environ.get("FLOODGATE_PURE") != "1"

if TYPE_CHECKING or not COMPILED:
    from native._times_py import milliseconds, now
else:
    try:
        from native._times_c import milliseconds, now
    except ImportError as problem:
        raise ImportError(
            "native._times_c is not built: run `pip install -e .`, "
            "or set FLOODGATE_PURE=1 to do without compiled code"
        ) from problem

__all__ = ["COMPILED", "milliseconds", "now"]

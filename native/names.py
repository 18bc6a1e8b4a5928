"""The match step's look for names that JSON gives twice; here its twin is chosen."""

import os
from typing import TYPE_CHECKING, Final

COMPILED: Final = os.environ.get("FLOODGATE_PURE") != "1"

if TYPE_CHECKING or not COMPILED:
    from native._names_py import once
else:
    try:
        from native._names_c import once
    except ImportError as problem:
        raise ImportError(
            "native._names_c is not built: run `pip install -e .`, "
            "or set FLOODGATE_PURE=1 to do without compiled code"
        ) from problem

__all__ = ["COMPILED", "once"]

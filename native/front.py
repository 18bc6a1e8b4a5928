"""The way in for plain requests, beside the interpreter; here it is chosen where there is one.

There is no twin: what the front does not do, or where it is not, aiohttp does.
"""

import os
import sys
from typing import TYPE_CHECKING, Final

from native.bounds import Bounds

COMPILED: Final = os.environ.get("FLOODGATE_PURE") != "1" and sys.platform == "linux"

if TYPE_CHECKING or COMPILED:
    try:
        from native._front_c import Front, Request
    except ImportError as problem:
        raise ImportError(
            "native._front_c is not built: run `pip install -e .`, "
            "or set FLOODGATE_PURE=1 to do without compiled code"
        ) from problem

__all__ = ["COMPILED", "Bounds", "Front", "Request"]

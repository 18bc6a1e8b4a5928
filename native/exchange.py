"""The channel step's exchange with an acquirer as bytes; here its twin is chosen."""

import os
from typing import TYPE_CHECKING, Final

COMPILED: Final = os.environ.get("FLOODGATE_PURE") != "1"

if TYPE_CHECKING or not COMPILED:
    from native._exchange_py import read, read_request, write
else:
    try:
        from native._exchange_c import read, read_request, write
    except ImportError as problem:
        raise ImportError(
            "native._exchange_c is not built: run `pip install -e .`, "
            "or set FLOODGATE_PURE=1 to do without compiled code"
        ) from problem

__all__ = ["COMPILED", "read", "read_request", "write"]

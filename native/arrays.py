"""The hot path to PostgreSQL: writes whole columns as arrays; here its twin is chosen."""

import os
from typing import TYPE_CHECKING, Final

from native._arrays_py import BOOL, BYTEA, INT2, INT4, INT8, TEXT, TIMESTAMPTZ, UUID

COMPILED: Final = os.environ.get("FLOODGATE_PURE") != "1"

if TYPE_CHECKING or not COMPILED:
    from native._arrays_py import encode
else:
    try:
        from native._arrays_c import encode
    except ImportError as problem:
        raise ImportError(
            "native._arrays_c is not built: run `pip install -e .`, "
            "or set FLOODGATE_PURE=1 to do without compiled code"
        ) from problem

__all__ = [
    "BOOL",
    "BYTEA",
    "COMPILED",
    "INT2",
    "INT4",
    "INT8",
    "TEXT",
    "TIMESTAMPTZ",
    "UUID",
    "encode",
]

"""The verify step's hot path: reads signed requests and checks HMACs; here its twin is chosen."""

import os
from typing import TYPE_CHECKING, Final

from native.envelope import Envelope, SignatureProblem

COMPILED: Final = os.environ.get("FLOODGATE_PURE") != "1"

if TYPE_CHECKING or not COMPILED:
    from native._signature_py import HmacKey, read, signature_base
else:
    try:
        from native._signature_c import HmacKey, read, signature_base
    except ImportError as problem:
        raise ImportError(
            "native._signature_c is not built: run `pip install -e .`, "
            "or set FLOODGATE_PURE=1 to do without compiled code"
        ) from problem

__all__ = ["COMPILED", "Envelope", "HmacKey", "SignatureProblem", "read", "signature_base"]

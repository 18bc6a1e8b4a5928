"""The twins of the native room, side by side."""

from dataclasses import dataclass
from types import ModuleType

import pytest
from signing_client import SECRET, Request

from native import _routes_c, _routes_py, _signature_c, _signature_py
from native.envelope import Envelope, SignatureProblem


@dataclass(frozen=True)
class Implementation:
    """One set of twins."""

    name: str
    signature: ModuleType
    routes: ModuleType

    def accept(self, request: Request) -> Envelope:
        """Read a request that the test client signed, and check its signature."""
        envelope: Envelope = self.signature.read(*request)
        assert self.signature.HmacKey(SECRET).verify(envelope.base, envelope.signature)
        return envelope

    def refusal(self, request: Request) -> str:
        """Tell the code with which a request is refused."""
        with pytest.raises(SignatureProblem) as caught:
            self.signature.read(*request)
        assert str(caught.value) == f"{caught.value.code}: {caught.value.detail}"
        return caught.value.code


COMPILED = Implementation("compiled", _signature_c, _routes_c)
PURE = Implementation("pure", _signature_py, _routes_py)

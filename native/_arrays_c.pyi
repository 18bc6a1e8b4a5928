# The compiled twin of the drivers' writer of arrays offers what its specification offers.
from collections.abc import Sequence

def encode(element: int, values: Sequence[object]) -> bytes: ...

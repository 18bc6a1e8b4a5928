"""The nouns between the steps: a target falls apart into path and query, a POST writes."""

import msgspec
import pytest

from gateway.match.table import OPERATIONS
from tests.unit.nouns import RECEIVED


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/v1/payments", "/v1/payments", ""),
        ("/v1/payments?", "/v1/payments", ""),
        ("/v1/payments?a=1&b=?", "/v1/payments", "a=1&b=?"),
        ("/v1/a%3Fb?c", "/v1/a%3Fb", "c"),
    ],
)
def test_a_target_falls_apart(target: str, path: str, query: str) -> None:
    received = msgspec.structs.replace(RECEIVED, target=target)
    assert (received.path, received.query) == (path, query)


def test_only_a_post_needs_a_key_and_no_get_does() -> None:
    writing = {operation.method for operation in OPERATIONS if operation.writes}
    assert writing == {"POST"}
    assert "GET" in {operation.method for operation in OPERATIONS} - writing
